"""The minutes of an hour: added up over processes, bounded, and safe from what others wrote."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.durations import BOUNDS
from esassistant.shared_values import MAX_VALUE_BYTES
from esassistant.windows import MinuteCounts
from healthapp.minutes import KEPT_MINUTES, SHARED, STEP, Counts, Minute, add_to_shared, kept, read, together

NOW = 29_000_000
MILLISECONDS = NOW * 60_000

TIMES = st.dictionaries(st.integers(0, len(BOUNDS)), st.integers(1, 10**9), max_size=20)
COUNTS = st.builds(MinuteCounts, st.integers(0, 10**9), st.integers(0, 9), st.integers(0, 9), TIMES).map(Counts.of)
MINUTE = st.builds(Minute, st.integers(1, 99), st.integers(0, 2), COUNTS, COUNTS, COUNTS)


@given(st.lists(st.dictionaries(st.integers(NOW - 5, NOW), MINUTE, max_size=3), max_size=4))
def test_processes_add_up(parts: list[dict[int, Minute]]) -> None:
    """Whoever adds first, the shared hour is the sum of all, as it would be counted by one process."""
    shared: dict[str, bytes] = {}
    last: dict[int, Minute] = {}
    for part in parts:
        replaced, last = add_to_shared(shared, MILLISECONDS, added=part)
        shared |= replaced
    backwards, _ = add_to_shared({}, MILLISECONDS, added=together(reversed(parts)))
    assert last == together(parts)
    assert read(shared.get(SHARED, b"")) == read(backwards.get(SHARED, b""))


@given(MINUTE)
def test_it_is_kept_as_it_is(minute: Minute) -> None:
    """What one process writes another reads."""
    replaced, _ = add_to_shared({}, MILLISECONDS, added={NOW: minute})
    assert read(replaced[SHARED]) == {NOW: minute}


def test_an_hour_and_nothing_of_the_future() -> None:
    """By the store's clock: what is older, or is said to be of later, is dropped by whoever adds next."""
    hour = {NOW + offset: Minute(processes=1) for offset in (-KEPT_MINUTES - 1, -KEPT_MINUTES, 0, 1, 10_000)}
    assert list(kept(hour, NOW)) == [NOW - KEPT_MINUTES, NOW]
    _, shared = add_to_shared({}, MILLISECONDS, added=hour)
    assert list(shared) == [NOW - KEPT_MINUTES, NOW]


def test_looking_changes_nothing() -> None:
    """Who has nothing to add replaces nothing, and gets what is there."""
    there, _ = add_to_shared({}, MILLISECONDS, added={NOW: Minute(processes=2)})
    assert add_to_shared(there, MILLISECONDS, added={}) == ({}, {NOW: Minute(processes=2)})


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"a":{}}', b'{"1":{"requests":7}}'])
def test_foreign_values(value: bytes) -> None:
    """What this service doesn't write counts as nothing, and is replaced."""
    replaced, shared = add_to_shared({SHARED: value}, MILLISECONDS, added={NOW: Minute(processes=1)})
    assert shared == read(replaced[SHARED]) == {NOW: Minute(processes=1)}


def test_it_fits() -> None:
    """An hour of minutes with every duration there is fits; one with numbers that nobody counts is cut down."""
    widest = Counts.of(MinuteCounts(10**6, 10, 10, dict.fromkeys(range(len(BOUNDS) + 1), 1000)))
    busy = Minute(4, 2, widest, widest, Counts.of(MinuteCounts(60, 1, 0, dict.fromkeys(range(60), 1))))
    full = dict.fromkeys(range(NOW - 59, NOW + 1), busy)
    replaced, shared = add_to_shared({}, MILLISECONDS, added=full)
    assert len(replaced[SHARED]) <= MAX_VALUE_BYTES
    assert shared == full
    edited = Counts(1, 0, 0, dict.fromkeys(range(10_000), 10**9))
    huge = {NOW - ago: Minute(1, 0, edited, edited, Counts(3)) for ago in range(60)}
    replaced, shared = add_to_shared({SHARED: msgspec.json.encode(huge)}, MILLISECONDS, added={NOW: Minute()})
    assert len(replaced[SHARED]) <= MAX_VALUE_BYTES
    assert shared[NOW].pings.calls == 3


@given(TIMES.filter(bool), st.sampled_from([0.5, 0.95]))
def test_quantiles(times: dict[int, int], share: float) -> None:
    """A quantile is never less than the truth, and at most 15 % more, up to the longest duration that is told apart."""
    counts = Counts.of(MinuteCounts(times=times))
    total, seen = sum(times.values()), 0
    for place in sorted(times):
        seen += times[place]
        if seen >= share * total:
            truth = BOUNDS[min(place, len(BOUNDS) - 1)]
            break
    found = counts.quantile(share)
    assert found is not None
    assert truth <= found <= truth * (BOUNDS[STEP - 1] / BOUNDS[0]) * (1 + 1e-9)
    assert Counts().quantile(share) is None
