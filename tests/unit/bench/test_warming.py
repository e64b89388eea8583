"""The replay of a trace under a policy: what is counted, and the budget that holds whatever is asked for."""

from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.subjects.policies import POLICIES, last_asked, model, oracle, steps, steps_total
from bench.subjects.traces import DAY, HOUR, PROGRAM, START, Trace, made
from bench.subjects.warming import ALWAYS, CALL_SECONDS, NEVER, STEP_SECONDS, Outcome, Replay, quantile, replayed
from cacheapp.demand.policy import WARM_SECONDS


def trace_of(*asks: tuple[float, int], calls: tuple[int, ...] = (1, 1), days: float = 2) -> Trace:
    """Asks at seconds from the start, for families by number."""
    names = [f"{number}" for number in range(len(calls))]
    return Trace(names, [(START + at, number, PROGRAM) for at, number in asks], calls, START, START + days * DAY)


def outcome(trace: Trace, threshold: float, scores: "array[float] | None" = None) -> Outcome:
    return replayed(trace, scores, threshold, counted_from=START, end=trace.end)


def test_on_demand() -> None:
    """The first ask is a call and finds nothing; the next six hours are warm; then it begins anew."""
    found = outcome(trace_of((0, 0), (60, 0), (WARM_SECONDS - 1, 0), (WARM_SECONDS + 1, 0)), NEVER)
    assert (found.asks, found.warm, found.calls, found.missed, found.ahead) == (4, 2, 2, 2, 0)
    assert (found.coverage, found.precision, found.timeliness) == (0.5, None, None)
    assert found.waits == [0.0, 0.0]


def test_always() -> None:
    """What was asked for once is kept warm; all of that is in vain but where somebody asks."""
    found = outcome(trace_of((0, 0), (DAY, 0)), ALWAYS)
    assert (found.asks, found.warm, found.missed) == (2, 1, 1)
    assert (found.warmed, found.useful, found.in_vain) == (7, 1, 6)
    assert found.family_calls[1] == 0


def test_waits_for_the_budget() -> None:
    """Two calls of one family, and others at the same moment, wait for their turns."""
    found = outcome(trace_of((0, 0), (0, 1), (0, 2), calls=(2, 1, 1)), NEVER)
    assert found.waits == pytest.approx([CALL_SECONDS, 2 * CALL_SECONDS, 3 * CALL_SECONDS])
    assert found.calls == 4


def test_late() -> None:
    """Asked for while it waits for the budget to be warmed ahead."""
    calls = (2,) * 40
    first = [(float(number), number) for number in range(40)]
    trace = trace_of(*first, (3 * HOUR + WARM_SECONDS, 39), calls=calls)
    scores = array("d", [1.0] * 40 * steps_total(trace))
    found = outcome(trace, 0.5, scores)
    assert found.missed == 40
    second = trace_of(*first, *((WARM_SECONDS + 2 * HOUR + number, number) for number in range(40)), calls=calls)
    none_before = array("d", [0.0] * 40 * int((WARM_SECONDS + 2 * HOUR) // STEP_SECONDS))
    scores = array("d", [*none_before, *[1.0] * (40 * steps_total(second) - len(none_before))])
    found = outcome(second, 0.5, scores)
    assert found.late > 10
    assert found.timeliness is not None
    assert found.timeliness < 0.8


def test_counted_from_a_moment() -> None:
    """What was before only teaches; what was warmed before is warm."""
    trace = trace_of((0, 0), (HOUR, 0), (2 * HOUR, 1))
    found = replayed(trace, None, NEVER, counted_from=START + HOUR, end=trace.end)
    assert (found.asks, found.warm, found.calls, found.missed) == (2, 1, 1, 1)
    assert found.family_asks == [1, 1]


ASKS = st.lists(st.tuples(st.floats(0, 2 * DAY - 1), st.integers(0, 5)), max_size=60)


@given(ASKS, st.sampled_from((NEVER, ALWAYS, 0.5)), st.tuples(*[st.sampled_from((1, 2))] * 6))
def test_the_budget_is_never_exceeded(asks: list[tuple[float, int]], threshold: float, calls: tuple[int, ...]) -> None:
    """However much is asked for and warmed at once: no two calls are nearer to each other than allowed; and asks add
    up.
    """
    trace = trace_of(*sorted(asks), calls=calls)
    scores = (
        None if threshold != 0.5 else array("d", [(place * 7 % 10) / 10 for place in range(6 * steps_total(trace))])
    )
    replay = Replay(trace, scores, threshold, START)
    gathered: list[tuple[float, int]] = []
    original = replay._gathered

    def note(number: int, at: float, is_ahead: bool) -> None:
        gathered.append((at, calls[number]))
        original(number, at, is_ahead)

    replay._gathered = note  # type: ignore[method-assign]
    found = replay.run(trace.end)
    for (before, _), (after, needed) in pairwise(gathered):
        assert after - before >= needed * CALL_SECONDS - 1e-6
    assert found.asks == len(asks)
    assert found.warm + found.missed + found.late <= found.asks
    assert found.calls == sum(needed for _, needed in gathered) == sum(found.family_calls)
    assert found.useful + found.in_vain <= found.warmed


@given(ASKS, st.permutations(range(6)))
def test_the_numbers_of_families_do_not_matter(asks: list[tuple[float, int]], renumbered: list[int]) -> None:
    """Called by other numbers, families have the same asks, warm ones and calls, where the budget holds nobody back."""
    spread = sorted((at // 60 * 60 + number * 10.3, number) for at, number in asks)
    found = [
        outcome(trace_of(*sorted((at, new[number]) for at, number in spread), calls=(1,) * 6), ALWAYS)
        for new in (list(range(6)), renumbered)
    ]
    assert found[0].asks == found[1].asks
    assert abs(found[0].warm - found[1].warm) <= 6
    assert abs(found[0].calls - found[1].calls) <= 6


def test_the_oracle_misses_next_to_nothing() -> None:
    """And hardly warms in vain: what it can't do, nobody can."""
    trace = made("office hours", 1)
    (choice,) = oracle(trace)
    found = outcome(trace, choice.threshold, choice.scores)
    never = outcome(trace, NEVER)
    assert found.coverage > 0.97 > never.coverage
    assert found.in_vain <= 0.02 * found.warmed
    assert found.calls <= 1.05 * never.calls


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_know_nothing_of_what_comes(policy: str) -> None:
    """Of a trace that is cut off, the scores up to there are the same; the oracle's alone are not."""
    trace = made("mixed", 3)
    until = START + 3 * DAY
    cut = Trace(trace.names, [ask for ask in trace.asks if ask[0] < until], trace.calls, START, until)
    longer = Trace(trace.names, [ask for ask in trace.asks if ask[0] < until + DAY], trace.calls, START, until + DAY)
    for one, other in zip(POLICIES[policy](cut), POLICIES[policy](longer), strict=True):
        if one.scores is None or other.scores is None:
            assert one.scores is other.scores is None
            continue
        is_same = list(one.scores) == list(other.scores)[: len(one.scores)]
        assert is_same is (policy != "oracle")


def test_steps_have_the_asks_before_them() -> None:
    """Each once, none of its own moment or later."""
    trace = trace_of((0, 0), (STEP_SECONDS - 1, 0), (STEP_SECONDS, 1))
    first, second, third, *_ = steps(trace)
    assert (first[2], [at - START for at, _, _ in second[2]]) == ([], [0, STEP_SECONDS - 1])
    assert [number for _, number, _ in third[2]] == [1]


def test_the_model_learns_in_a_trace() -> None:
    """In the second week it expects a nightly job before it comes, and not by day."""
    trace = made("nightly batch", 1)
    scores = model(trace)[0].scores
    assert scores is not None
    count = len(trace.names)

    def mean_at(day: int, hour: float) -> float:
        step = round((day * DAY + hour * HOUR) / STEP_SECONDS)
        of_step = [max(0.0, score) * calls for score, calls in zip(scores[step * count :], trace.calls, strict=False)]
        return sum(of_step[:count][count // 4 :]) / (count - count // 4)

    assert mean_at(11, 1.2) > 3 * mean_at(11, 12)


def test_last_asked_is_how_long_ago() -> None:
    """In seconds, so that one list of scores is for every T."""
    scores = last_asked(trace_of((10, 0)))[0].scores
    assert scores is not None
    assert scores[2] == 10 - STEP_SECONDS
    assert scores[3] < -1e17


def test_quantiles() -> None:
    """Of the values that there are; of none, none."""
    assert (quantile([3.0, 1.0, 2.0], 0.5), quantile([1.0], 0.95), quantile([], 0.5)) == (2.0, 1.0, None)
