"""What counts as flat in a soak, what no log should have, and the plan of faults."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.soak.instances import BAD_LINE
from bench.soak.plan import USUAL, Kind, kinds_for, pace_for, plan
from bench.soak.resources import MEASURES, Flat, Sample, over_limits, slope, trend


def samples(
    values: Sequence[float], every: float = 2.0, measure: str = "rss_bytes", quiet: bool = True
) -> list[Sample]:
    rest = dict.fromkeys(Sample.__slots__, 0)
    return [
        Sample(**{**rest, "at": 1000 + every * number, "is_quiet": quiet, measure: value})  # type: ignore[arg-type]
        for number, value in enumerate(values)
    ]


def test_slope() -> None:
    """Least squares; of one moment, or none, there is none."""
    assert slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == pytest.approx(2.0)
    assert slope([(0.0, 1.0), (1.0, 0.0), (2.0, 1.0)]) == pytest.approx(0.0)
    assert (slope([(1.0, 5.0)]), slope([])) == (0.0, 0.0)


MEGABYTE = 1e6
WARM = [min(110.0, 80.0 + number) * MEGABYTE for number in range(300)]
"""Ten minutes of a process that fills its caches in the first one."""


@pytest.mark.parametrize(
    ("values", "is_flat"),
    [
        (WARM, True),
        ([value + (number % 7) * MEGABYTE / 3 for number, value in enumerate(WARM)], True),
        ([value + number * 8_000.0 for number, value in enumerate(WARM)], True),
        ([value + number * 50_000.0 for number, value in enumerate(WARM)], False),
        ([value + (14 * MEGABYTE if number > 220 else 0) for number, value in enumerate(WARM)], False),
        ([200 * MEGABYTE - value for value in WARM], True),
    ],
    ids=["warm", "noisy", "1 % in ten minutes", "a leak", "a step", "falling"],
)
def test_memory_is_flat_or_not(values: list[float], *, is_flat: bool) -> None:
    """What a process fills in its first minute, and noise, are no growth; a twentieth in ten minutes and more is."""
    found = trend(samples(values), MEASURES[0], shortest_seconds=60)
    assert (found.is_judged, found.is_flat) == (True, is_flat)


def test_descriptors_that_leak_in_quiet_times() -> None:
    """One descriptor in half a minute is found; what is open while something is wrong isn't counted."""
    flat = next(flat for flat in MEASURES if flat.measure == "descriptors")
    leaking = samples([30.0 + number / 15 for number in range(300)], measure="descriptors")
    assert not trend(leaking, flat, shortest_seconds=60).is_flat
    troubled = samples([30.0 + number for number in range(300)], measure="descriptors", quiet=False)
    assert trend(troubled, flat, shortest_seconds=60).is_flat


def test_what_goes_up_and_down_is_flat() -> None:
    """Descriptors that happen to rise in the second half, no higher than they were before it, don't leak."""
    flat = next(flat for flat in MEASURES if flat.measure == "descriptors")
    found = trend(
        samples([56.0] * 150 + [45.0 + number / 10 for number in range(150)], measure="descriptors"), flat, 60
    )
    assert found.grew > found.allowed
    assert found.is_flat


def test_a_life_that_is_too_short_is_not_judged() -> None:
    """A process that was killed soon, or never sampled, says nothing of growth."""
    short = trend(samples([1e6 * number for number in range(20)]), Flat("rss_bytes", 0.0), shortest_seconds=60)
    assert (short.is_judged, short.is_flat) == (False, True)
    assert not trend([], Flat("rss_bytes", 0.0), shortest_seconds=0).is_judged


def test_limits() -> None:
    """Bounds of the cache hold at every moment; no background task ever crashes."""
    [sample] = samples([2_000_000.0], measure="body_bytes")
    assert over_limits(sample, max_bytes=2_000_000, most_indices=10) == []
    assert len(over_limits(sample, max_bytes=1_999_999, most_indices=10)) == 1
    [crashed] = samples([1], measure="crashes")
    assert over_limits(crashed, max_bytes=1, most_indices=1) == ["1 crashes of background tasks, of at most 0"]


@pytest.mark.parametrize(
    ("line", "is_bad"),
    [
        ("2026-11-26 02:49:18,032 ERROR asyncio: Task exception was never retrieved", True),
        ("Traceback (most recent call last):", True),
        ("/x/y.py:3: ResourceWarning: unclosed <socket>", True),
        ("2026-11-26 02:49:23,071 WARNING cacheapp.sync.refresher: Redis did not answer.", False),
        ("2026-11-26 02:49:23,702 INFO cacheapp.sync.refresher: refresh f7d9 (schedule) completed: 0 failed", False),
    ],
)
def test_what_no_log_should_have(line: str, *, is_bad: bool) -> None:
    """Errors, tracebacks and Python's warnings; our own warnings are for what is wrong around us."""
    assert bool(BAD_LINE.search(line)) is is_bad


# The plan


@given(seed=st.integers(), seconds=st.floats(20.0, 3600.0), instances=st.integers(1, 6), nodes=st.sampled_from((1, 3)))
def test_plans(seed: int, seconds: float, instances: int, nodes: int) -> None:
    """One fault at a time, with quiet times between and calm at both ends; each kind again and again; never the first
    instance; the same for the same seed.
    """
    possible = kinds_for(instances=instances, nodes=nodes)
    pace = pace_for(seconds, len(possible))
    faults = plan(seed, seconds, pace, instances=instances, nodes=nodes)
    assert faults == plan(seed, seconds, pace, instances=instances, nodes=nodes)
    at = pace.calm
    for number, fault in enumerate(faults):
        assert fault.at >= at + (pace.quiet[0] if number else 0) - 1e-6
        assert pace.fault[0] <= fault.seconds <= pace.fault[1]
        assert (fault.instance is None) == (fault.kind is not Kind.INSTANCE_KILLED)
        assert fault.instance is None or 1 <= fault.instance < instances
        at = fault.at + fault.seconds
    assert at <= seconds - pace.calm or not faults
    counts = Counter(fault.kind for fault in faults)
    assert counts.keys() <= set(possible)
    assert max(counts.values(), default=0) - min(counts[kind] for kind in possible) <= 1


def test_the_pace_fits_the_time() -> None:
    """A long run has the usual pace; a short one is quicker, so that every kind of fault still comes about once."""
    kinds = len(kinds_for(instances=2, nodes=1))
    short = pace_for(25.0, kinds)
    assert pace_for(600.0, kinds) == USUAL
    assert short.fault[1] < 2.0
    assert {len(plan(seed, 25.0, short, instances=2, nodes=1)) for seed in range(50)} <= set(range(7, 13))


@pytest.mark.parametrize(
    ("instances", "nodes", "left_out"),
    [
        (2, 3, set()),
        (1, 3, {Kind.INSTANCE_KILLED}),
        (2, 1, {Kind.NODE_KILLED, Kind.NODE_STOPPED, Kind.NODE_REFUSED}),
    ],
)
def test_what_can_go_wrong(instances: int, nodes: int, left_out: set[Kind]) -> None:
    """A node alone fails only where there are others, an instance likewise; all of them are faults of the cluster."""
    assert set(Kind) - set(kinds_for(instances=instances, nodes=nodes)) == left_out
    assert all(kind.is_of_elasticsearch for kind in Kind if kind.is_of_one_node)
