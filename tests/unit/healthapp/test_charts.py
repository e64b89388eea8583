"""Charts: what is drawn is what was measured, with gaps where nothing was."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.units import as_count
from healthapp.charts import HEIGHT, WIDTH, chart, nice_top

BEGIN = datetime(2026, 11, 26, tzinfo=UTC)


def times(count: int) -> list[datetime]:
    return [BEGIN + timedelta(seconds=10 * number) for number in range(count)]


VALUES = st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=30)


@given(VALUES)
def test_every_value_is_drawn_once(values: list[float | None]) -> None:
    """Each value is one point of its line, inside of the plot, in the order of time; the highest is told."""
    drawn = chart("Title", times(len(values)), [("name", "line-1", values)], as_count)
    [line] = drawn.lines
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", line.path)]
    known = [value for value in values if value is not None]
    if len(values) < 2:
        assert points == []
        return
    assert len(points) == len(known)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert line.highest == (as_count(max(known)) if known else "no data")
    assert bool(line.path) == bool(known)


def test_a_gap_is_a_gap() -> None:
    """Where there is no data the line is interrupted, not drawn through."""
    drawn = chart("Title", times(4), [("name", "line-1", [1.0, None, 1.0, 0.0])], as_count, 1)
    assert drawn.lines[0].path == "M0.0 0.0 M400.0 0.0 L600.0 120.0"
    assert drawn.summary == "name: now 0, at most 1"


def test_nothing_yet() -> None:
    """Without points there is a chart without lines, which says so."""
    drawn = chart("Title", [], [("name", "line-1", [])], as_count)
    assert (drawn.lines[0].path, drawn.first_at, drawn.lines[0].now, drawn.top) == ("", None, "no data", "1")


@pytest.mark.parametrize(("highest", "top"), [(0, 1), (0.3, 0.5), (1, 1), (1.1, 2), (3, 5), (7, 10), (1000, 1000)])
def test_the_scale_is_round(highest: float, top: float) -> None:
    """The upper edge is the next of 1, 2, 5, 10 …"""
    assert nice_top(highest) == pytest.approx(top)


@given(st.floats(1e-9, 1e12))
def test_the_scale_fits(highest: float) -> None:
    """Nothing is above the edge, and the highest value is at least in its upper third."""
    assert highest * (1 - 1e-6) <= nice_top(highest) <= 2.5 * highest * (1 + 1e-6)
