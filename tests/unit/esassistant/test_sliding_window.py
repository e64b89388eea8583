"""The sliding window against a plain list of everything that was ever added."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.sliding_window import SLICES, SlidingWindow
from tests.support.fakes import FakeClock

SECONDS = 10.0
STEPS = st.lists(st.tuples(st.floats(0, 30), st.integers(0, 9), st.integers(0, 9)), max_size=60)


def test_nothing_yet() -> None:
    """An empty window has no calls and none marked."""
    assert SlidingWindow(SECONDS, FakeClock()).counts() == (0, 0)


@given(STEPS)
def test_counts_the_last_seconds(steps: list[tuple[float, int, int]]) -> None:
    """All of the last `seconds` count, and nothing that is older than that and a tenth."""
    clock = FakeClock()
    window = SlidingWindow(SECONDS, clock)
    added: list[tuple[float, int, int]] = []
    for pause, calls, marked in steps:
        clock.now += pause
        window.add(calls, marked)
        added.append((clock.now, calls, marked))
        for position, counted in enumerate(window.counts(), 1):
            least = sum(one[position] for one in added if clock.now - one[0] <= SECONDS - 1e-6)
            most = sum(one[position] for one in added if clock.now - one[0] <= SECONDS * (1 + 1 / SLICES) + 1e-6)
            assert least <= counted <= most


@given(STEPS)
def test_memory_is_constant(steps: list[tuple[float, int, int]]) -> None:
    """However much is added: never more than one slice beyond the ten."""
    clock = FakeClock()
    window = SlidingWindow(SECONDS, clock)
    for pause, calls, marked in steps:
        clock.now += pause / 30
        window.add(calls, marked)
        assert len(window._slices) <= SLICES + 1


@pytest.mark.parametrize("later", [11.0, 1000.0])
def test_time_alone_empties_it(fake_clock: FakeClock, later: float) -> None:
    """Without further calls the old ones cease to count."""
    window = SlidingWindow(SECONDS, fake_clock)
    window.add(5, 3)
    fake_clock.now += SECONDS
    assert window.counts() == (5, 3)
    fake_clock.now += later
    assert window.counts() == (0, 0)


def test_clear(fake_clock: FakeClock) -> None:
    """A cleared window begins anew, at once."""
    window = SlidingWindow(SECONDS, fake_clock)
    window.add(5, 3)
    window.clear()
    assert window.counts() == (0, 0)
    window.add(1)
    assert window.counts() == (1, 0)
