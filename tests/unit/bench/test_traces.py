"""Traces: the made-up ones are what they are called and the same each time; files are read, or said what is wrong."""

import json
from collections.abc import Sequence

import pytest

from bench.subjects.traces import (
    AGENT,
    DAY,
    DAYS,
    HOUR,
    MAX_DAYS,
    MAX_NAMES,
    PERSON,
    PROGRAM,
    SHAPES,
    START,
    BadTrace,
    Trace,
    made,
    read,
)

NINE = START + 9 * HOUR


def lines(*more: str) -> list[str]:
    """Lines of a trace, among two that make it long enough."""
    return ["2026-11-02T00:00:00Z,first,program", *more, "2026-11-02T12:00:00Z,last,person"]


def asks_of(trace: Trace, name: str) -> list[tuple[float, int]]:
    return [(at, kind) for at, number, kind in trace.asks if trace.names[number] == name]


@pytest.mark.parametrize("shape", SHAPES)
def test_made_up_traces(shape: str) -> None:
    """In order, within their days, the same for a seed and another for another."""
    trace = made(shape, 1)
    times = [at for at, _, _ in trace.asks]
    assert times == sorted(times)
    assert trace.start == START <= times[0] < times[-1] < trace.end == START + DAYS * DAY
    assert len(times) > 1_000
    assert {number for _, number, _ in trace.asks} <= set(range(len(trace.names)))
    assert trace.asks == made(shape, 1).asks != made(shape, 2).asks


def share(trace: Trace, is_in: Sequence[bool]) -> float:
    return sum(is_in) / len(trace.asks)


def test_shapes_are_what_they_are_called() -> None:
    """Offices rest at night and on weekends, jobs run at night, what is launched fades, hours drift."""
    office = made("office hours", 1)
    assert share(office, [(at - START) % DAY // HOUR in range(8, 18) for at, _, _ in office.asks]) > 0.95
    assert share(office, [(at - START) // DAY % 7 < 5 for at, _, _ in office.asks]) > 0.95
    batch = made("nightly batch", 1)
    assert share(batch, [(at - START) % DAY < 6 * HOUR for at, _, _ in batch.asks]) > 0.7
    launches = made("launches", 1)
    last = max(number for _, number, _ in launches.asks)
    first_at = min(at for at, number, _ in launches.asks if number == last)
    own = [at for at, number, _ in launches.asks if number == last]
    assert first_at > START + 2 * DAY
    assert sum(at < first_at + DAY for at in own) > len(own) / 3
    assert launches.changes
    drift = made("drift", 1)
    hours = {day: [(at % DAY) / HOUR for at, _, _ in drift.asks if (at - START) // DAY == day] for day in (0, 11)}
    assert sum(hours[11]) / len(hours[11]) > sum(hours[0]) / len(hours[0]) + 2


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-02T09:00:00Z,orders,person",
        "2026-11-02T10:00:00+01:00, orders , Person",
        "2026-11-02T09:00:00,orders,person",
        "2026-11-02 09:00:00,orders,person",
        "2026-11-02T09:00:00Z\torders\tperson",
        "2026-11-02T09:00:00Z orders person",
        "2026-11-02 09:00:00 orders person",
        f"{NINE:.0f},orders,person",
        f"{NINE:.3f} orders person",
        f"{NINE * 1000:.0f},orders,person",
    ],
)
def test_times_and_separators(line: str) -> None:
    """All that is told of the formats."""
    assert asks_of(read(lines(line)), "orders") == [(NINE, PERSON)]


def test_kinds_of_callers() -> None:
    """One that isn't known, or isn't told, counts as program, and is counted where it was told."""
    trace = read(
        lines(
            "2026-11-02T09:00:00Z,a,agent",
            "2026-11-02T09:00:01Z,a",
            "2026-11-02T09:00:02Z,a,robot",
            "# a comment",
            "",
        )
    )
    assert [kind for _, kind in asks_of(trace, "a")] == [AGENT, PROGRAM, PROGRAM]
    assert trace.remarks == ["1 asks by kinds of caller that aren't known, which count as program"]


def test_a_heading_and_any_order() -> None:
    """A first line with the names of the columns is skipped, lines needn't be in order."""
    trace = read(["time,name,kind", *reversed(lines("2026-11-02T09:00:00Z,a,agent"))])
    assert [trace.names[number] for _, number, _ in trace.asks] == ["first", "a", "last"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("yesterday,orders,person", "'yesterday' is no time"),
        ("nan,orders,person", "'nan' is no time since 1970"),
        ("-5,orders,person", "'-5' is no time since 1970"),
        ("1e300,orders,person", "'1e300' is no time since 1970"),
        ("2026-11-02T09:00:00Z", "1 parts in place of three"),
        ("2026-11-02T09:00:00Z,a,b,c,d", "5 parts in place of three"),
        ("2026-11-02T09:00:00Z,,person", "no name"),
        ("{}", "JSON that is no line of the access log"),
        ("{", "JSON that is no line of the access log"),
        ('{"time":1,"path":"/x","status":200}', None),
    ],
)
def test_bad_lines(line: str, why: str | None) -> None:
    """The number of the line, what is wrong with it, and what a line has."""
    if why is None:
        assert len(read(lines(line)).asks) == 2
        return
    with pytest.raises(BadTrace, match=r"^line 2: ") as error:
        read(lines(line))
    assert why in str(error.value)
    assert "A line has a time, a name and the kind of caller" in str(error.value)


def test_too_short() -> None:
    """Nothing can be said of one ask, or of an hour."""
    for some in ([], ["2026-11-02T09:00:00Z,a,person"], ["1,a,person", "3600,a,person"]):
        with pytest.raises(BadTrace, match="nothing to learn from"):
            read(some)


def logged(path: str, status: int | None = 200, at: str = "2026-11-02T09:00:00Z") -> str:
    return json.dumps({"time": at, "path": path, "status": status, "method": "GET", "token": None})


def test_the_access_log() -> None:
    """Requests about one name that were answered; a series counts as one name, the browser's are people's."""
    trace = read(
        [
            logged("/api/mappings/logs-2026.11.01/fields"),
            logged("/api/mappings/logs-2026.11.02", at="2026-11-02T14:00:00Z"),
            logged("/browse/caf%C3%A9", status=304),
            logged("/api/indices/orders/search"),
            logged("/api/mappings/a,b"),
            logged("/api/mappings/a*/describe"),
            logged("/livez"),
            logged("/api/mappings/absent", status=404),
            logged("/api/mappings/left", status=None),
        ]
    )
    assert trace.names == ["café", "logs", "orders"]
    assert [kind for _, kind in asks_of(trace, "café")] == [PERSON]
    assert len(asks_of(trace, "logs")) == 2
    assert set(trace.remarks) == {
        "left out: 3 requests that aren't about one name",
        "left out: 2 requests that weren't answered",
    }


def test_bounds() -> None:
    """Of many names those most asked for, of a long time the last; and that is said."""
    many = [f"{START + number},name-{number},program" for number in range(MAX_NAMES + 1)] * 2
    trace = read([*many, f"{START + DAY},name-0,program", f"{START},name-0,program"])
    assert (len(trace.names), "name-0" in trace.names) == (MAX_NAMES, True)
    assert trace.remarks == [f"left out: 1 names but for the {MAX_NAMES} most asked for"]
    trace = read([f"{START + day * DAY},a,program" for day in range(MAX_DAYS + 10)])
    assert trace.end - trace.start <= MAX_DAYS * DAY + HOUR
    assert trace.remarks == [f"left out: 9 asks before the last {MAX_DAYS} days"]
