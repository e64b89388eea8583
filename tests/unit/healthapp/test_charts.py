"""Charts: what is drawn is what was measured, with axes, gaps where nothing was, and what was wrong behind."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.units import as_count
from healthapp.charts import BOTTOM, LEFT, LIFT, RIGHT, TOP, Line, Mark, chart, marks_of, nice_top

BEGIN = datetime(2026, 11, 26, 9, 50, tzinfo=UTC)


def times(count: int) -> list[datetime]:
    return [BEGIN + timedelta(minutes=number) for number in range(count)]


VALUES = st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=30)


@given(VALUES)
def test_every_value_is_drawn_once(values: list[float | None]) -> None:
    """Each value is one point of its line, inside of the plot, in the order of time; the highest is told; each moment
    says what was.
    """
    drawn = chart("Title", times(len(values)), [Line("name", "line-1", values)], as_count)
    [curve] = drawn.curves
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", curve.path)]
    known = [value for value in values if value is not None]
    assert len(points) == len(known)
    assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in points)
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert curve.highest == (as_count(max(known)) if known else "no data")
    assert [slot.text for slot in drawn.slots] == [
        f"{at:%H:%M} UTC: {'no data' if value is None else f'name {as_count(value)}'}"
        for at, value in zip(times(len(values)), values, strict=True)
    ]
    assert sum(slot.width for slot in drawn.slots) == pytest.approx(RIGHT - LEFT if values else 0)


def test_a_gap_is_a_gap() -> None:
    """Where there is no data the line is interrupted, not drawn through; a value alone is a dot; zero is just above the
    axis.
    """
    drawn = chart("Title", times(4), [Line("name", "line-1", [1.0, None, 1.0, 0.0])], as_count, 1)
    path = drawn.curves[0].path
    assert re.sub(r"[\d.]+", "n", path) == "Mn n hn Mn n Ln n"
    assert [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)] == [TOP, TOP, BOTTOM - LIFT]
    assert drawn.summary == "name: now 0, at most 1"


def test_nothing_yet() -> None:
    """Without moments there is a chart without curves, which says so."""
    drawn = chart("Title", [], [Line("name", "line-1", [])], as_count)
    assert (drawn.curves[0].path, drawn.down, drawn.slots, drawn.curves[0].now) == ("", (), (), "no data")


def test_axes() -> None:
    """Nothing, half and all of the scale across; the quarters of the hour down, or the first moment."""
    drawn = chart("Title", times(30), [Line("name", "line-1", [7.0] * 30)], as_count)
    assert [(tick.place, tick.text) for tick in drawn.across] == [
        (BOTTOM, "0"),
        ((TOP + BOTTOM) / 2, "5"),
        (TOP, "10"),
    ]
    assert [tick.text for tick in drawn.down] == ["10:00", "10:15"]
    assert drawn.down[0].place == pytest.approx(LEFT + (RIGHT - LEFT) / 3)
    assert [tick.text for tick in chart("Title", times(3), [], as_count).down] == ["09:50"]


def test_marks() -> None:
    """Moments in a row that were alike are one mark, as wide as they are long; those that were well have none."""
    kinds = ["", "bad", "bad", "", "bad", "silent"]
    width = (RIGHT - LEFT) / 6
    marks = list(marks_of(times(6), kinds, {"bad": "Unhealthy", "silent": "Nobody told"}))
    assert [(mark.kind, mark.text) for mark in marks] == [
        ("bad", "Unhealthy from 09:51 UTC, 2 min"),
        ("bad", "Unhealthy from 09:54 UTC, 1 min"),
        ("silent", "Nobody told from 09:55 UTC, 1 min"),
    ]
    for mark, (first, count) in zip(marks, ((1, 2), (4, 1), (5, 1)), strict=True):
        assert (mark.x, mark.width) == pytest.approx((LEFT + first * width, count * width))
    one = Mark("bad", LEFT, 1.0, "x")
    assert chart("Title", times(1), [], as_count, marks=[one]).marks == (one,)


@pytest.mark.parametrize(("highest", "top"), [(0, 1), (0.3, 0.5), (1, 1), (1.1, 2), (3, 5), (7, 10), (1000, 1000)])
def test_the_scale_is_round(highest: float, top: float) -> None:
    """The upper edge is the next of 1, 2, 5, 10 …"""
    assert nice_top(highest) == pytest.approx(top)


@given(st.floats(1e-9, 1e12))
def test_the_scale_fits(highest: float) -> None:
    """Nothing is above the edge, and the highest value is at least in its upper third."""
    assert highest * (1 - 1e-6) <= nice_top(highest) <= 2.5 * highest * (1 + 1e-6)
