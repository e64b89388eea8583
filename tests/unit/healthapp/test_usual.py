"""What is usual: the median of a day's minutes; an hour of slowness alone changes it."""

import msgspec
import pytest

from esassistant.durations import BOUNDS
from healthapp.usual import ENOUGH_MINUTES, SLOW_MINUTES, UNKNOWN_SLOW_SECONDS, Usual, slow_from

QUICK, SLOW = 150, 260
START = 1_700_000_000.0


def after(usual: Usual, place: int, minutes: int, begins: float = START) -> Usual:
    for minute in range(minutes):
        now = begins + 60 * minute
        usual = usual.with_minute({place: 20}, now, slow_from(usual.seconds(now)))
    return usual


def test_it_takes_some_minutes() -> None:
    """Before the tenth minute nothing is called usual."""
    nearly = after(Usual(), QUICK, ENOUGH_MINUTES - 1)
    assert nearly.seconds(START) is None
    assert after(nearly, QUICK, 1).seconds(START) == BOUNDS[QUICK]


@pytest.mark.parametrize(("usual", "seconds"), [(None, UNKNOWN_SLOW_SECONDS), (0.01, 0.5), (0.1, 0.5), (0.3, 1.5)])
def test_slow_begins(usual: float | None, seconds: float) -> None:
    """Five times as long as usual, at least half a second; two where nothing is known."""
    assert slow_from(usual) == seconds


def test_an_hour_of_trouble_does_not_become_usual_bit_by_bit() -> None:
    """Slow minutes wait apart; a row that ends before an hour is forgotten."""
    usual = after(Usual(), QUICK, ENOUGH_MINUTES)
    in_trouble = after(usual, SLOW, SLOW_MINUTES - 1, START + 600)
    assert in_trouble.seconds(START + 4000) == BOUNDS[QUICK]
    assert len(in_trouble.slow) == SLOW_MINUTES - 1
    over = after(in_trouble, QUICK, 1, START + 4200)
    assert (over.slow, over.changed_at, over.seconds(START + 4200)) == ((), None, BOUNDS[QUICK])


def test_an_hour_in_a_row_is_what_is_usual() -> None:
    """After sixty slow minutes they alone count, and it is known since when, and what was before."""
    usual = after(after(Usual(), QUICK, 100), SLOW, SLOW_MINUTES, START + 6000)
    at = START + 6000 + 59 * 60
    assert (usual.seconds(at), usual.changed_at, usual.changed_from) == (BOUNDS[SLOW], at, BOUNDS[QUICK])
    assert usual.slow == ()


def test_a_day_and_no_more() -> None:
    """What is older than a day is forgotten, and what a clock that was set back has made future."""
    usual = after(Usual(), QUICK, ENOUGH_MINUTES)
    assert usual.seconds(START + 23 * 3600) == BOUNDS[QUICK]
    assert usual.seconds(START + 25 * 3600) is None
    assert usual.seconds(START - 7200) is None
    later = after(usual, QUICK + 1, 1500, START + 25 * 3600)
    assert len(later.hours) <= 25


def test_it_is_kept_as_json() -> None:
    """It survives the way into the database and back."""
    usual = after(after(Usual(), QUICK, 20), SLOW, 5, START + 1200)
    assert msgspec.json.decode(msgspec.json.encode(usual), type=Usual) == usual
