"""The log of trouble: begin, one line a minute, end, and nothing for what is over at once."""

from dataclasses import replace
from datetime import timedelta

from esassistant.resource import Health
from esassistant.windows import Got, WindowReport
from healthapp.findings import Trouble
from healthapp.story import Story, summary
from healthapp.verdict import NOTHING_KNOWN, Effect, Verdict
from tests.support.fixtures import Figure
from tests.support.verdicts import NOW, SEARCHES, window

WELL = Verdict(Health.HEALTHY, "Serving fresh mappings.", "x", None, (), None)
BAD = Verdict(Health.DEGRADED, "Searches fail.", "x", None, (), "docs/operations.md#verdict-calls-fail")
KINDS = {SEARCHES: window((1, 10.0, Got.FAILURE), (2, 1.0, Got.ANSWER))}


def told(*verdicts: tuple[float, Verdict]) -> list[tuple[float, str, bool]]:
    """The lines, each with its moment, of these verdicts, each holding until the next, looked at every two seconds."""
    story, lines = Story(), []
    for (begins, verdict), (ends, _) in zip(verdicts, (*verdicts[1:], (verdicts[-1][0] + 30, WELL)), strict=True):
        now = begins
        while now < ends:
            if (line := story.next_line(verdict, KINDS, now, NOW + timedelta(seconds=now))) is not None:
                lines.append((now, line.text, line.is_bad))
            now += 2
    return lines


def test_case_53_an_outage_of_five_minutes(figure: Figure) -> None:
    """By an injected clock: begin with what to do, a line a minute with counts, the end with how long."""
    lines = told((0, NOTHING_KNOWN), (10, WELL), (20, BAD), (320, WELL))
    assert [at for at, _, _ in lines] == [24, 84, 144, 204, 264, 330]
    assert lines[0][1:] == ("degraded: Searches fail. What to do: docs/operations.md#verdict-calls-fail", True)
    assert lines[1][1] == (
        "trouble for 1 min 4 s, degraded now: in the last minute 1 of 2 searches failed (slowest 10 s). Searches fail."
    )
    assert lines[-1][1:] == ("healthy again after 5 min: Serving fresh mappings.", False)
    figure(53, f"{len(lines)} lines in five minutes of an injected clock")


def test_durations_count_from_the_first_bad_call() -> None:
    """Trouble that was seen five seconds after it had begun has lasted for so much longer, at its end too; what an
    older trouble beside it began with counts from when that is known.
    """
    since = replace(BAD, since=NOW + timedelta(seconds=15))
    texts = [text for _, text, _ in told((20, since), (90, WELL))]
    assert texts[1].startswith("trouble for 1 min 9 s, ")
    assert texts[-1].startswith("healthy again after 1 min 15 s: ")
    older = replace(BAD, since=NOW + timedelta(seconds=5))
    assert [text for _, text, _ in told((20, since), (60, older), (90, since), (94, WELL))][-1].startswith(
        "healthy again after 1 min 29 s: "
    )


def test_worse_is_told_at_once() -> None:
    """What becomes unhealthy after it was told as degraded has a line of its own; what gets better has none."""
    worse = replace(BAD, level=Health.UNHEALTHY)
    lines = told((0, BAD), (20, worse), (40, BAD), (50, worse), (70, WELL))
    assert [(at, text.partition(":")[0]) for at, text, _ in lines] == [
        *((4, "degraded"), (20, "unhealthy"), (80, "healthy again after 1 min 10 s")),
    ]


def test_what_callers_feel_more_is_told_at_once() -> None:
    """While a process is late, calls that begin to fail have a line of their own; what they feel less has none."""

    def troubled(*troubles: Trouble) -> Verdict:
        effects = (Effect(one, "x", Health.DEGRADED, None, None, None, None, None, False) for one in troubles)
        return replace(BAD, effects=tuple(effects))

    late = troubled(Trouble.LOOP_LATE)
    failing = troubled(Trouble.CALLS_FAIL, Trouble.LOOP_LATE)
    lines = told((0, late), (20, failing), (26, late), (30, failing), (40, WELL), (60, late))
    assert [(at, text.partition(":")[0]) for at, text, _ in lines] == [
        *((4, "degraded"), (20, "degraded"), (50, "healthy again after 40 s"), (64, "degraded")),
    ]


def test_searches_that_fail_as_was_told() -> None:
    """That Elasticsearch can't be asked says that searches get 503: the first one that does is no second line."""

    def troubled(*troubles: Trouble) -> Verdict:
        effects = (Effect(one, "x", Health.UNHEALTHY, None, None, None, None, None, False) for one in troubles)
        return replace(BAD, level=Health.UNHEALTHY, effects=tuple(effects))

    lines = told(
        (0, troubled(Trouble.CLUSTER_AWAY)), (6, troubled(Trouble.CALLS_FAIL, Trouble.CLUSTER_AWAY)), (40, WELL)
    )
    assert [at for at, _, _ in lines] == [4, 50]


def test_trouble_beside_a_lasting_one() -> None:
    """While a process is late all the time, a second outage is told as the first one was."""
    late = replace(BAD, effects=(Effect(Trouble.LOOP_LATE, "x", Health.DEGRADED, None, None, None, None, None, True),))
    away = replace(late, level=Health.UNHEALTHY)
    lines = told((0, late), (20, away), (30, late), (34, away), (40, late), (56, away), (70, WELL))
    assert [(at, text.partition(":")[0]) for at, text, _ in lines] == [
        *((4, "degraded"), (20, "unhealthy"), (56, "unhealthy"), (80, "healthy again after 1 min 10 s")),
    ]


def test_a_moment_is_no_story() -> None:
    """What is over within four seconds is not told, and a pause of less than ten is none."""
    assert told((0, BAD), (2, WELL), (10, WELL)) == []
    assert [at for at, _, _ in told((0, BAD), (20, WELL), (26, BAD), (40, WELL))] == [4, 50]


def test_a_start_that_is_well() -> None:
    """Nothing is told while nothing is known, or all is well."""
    assert told((0, NOTHING_KNOWN), (10, WELL)) == []


def test_summaries() -> None:
    """The kinds that failed most come first, and of very many the rest is counted; a search is counted once."""
    bad = window((1, 0.1, Got.FAILURE))
    many = {SEARCHES: bad, "route /api/indices/{name}/search": bad, **{f"route /{i}": bad for i in range(6)}}
    text = summary(many)
    assert text.startswith("in the last minute 1 of 1 searches failed (slowest 0.1 s), 1 of 1 requests to /0 failed")
    assert text.endswith(", 2 more.")
    assert summary({SEARCHES: WindowReport(calls=3)}) == "no call failed in the last minute."
    assert "slowest" not in summary({SEARCHES: replace(bad, slowest_seconds=None)})
