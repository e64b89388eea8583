"""How bench/edge.py finds the fastest rate that is carried. With played rates: a real server has no edge to name."""

from collections.abc import Callable

import pytest

from bench.edge import LATE_SECONDS, P99_SECONDS, SEARCHING_SECONDS, Step, beyond_lines, find_edge, others_lines
from bench.load.client import Load


def step(rate: float, *, carried: bool, late: bool = False) -> Step:
    p99 = P99_SECONDS if carried else 2 * P99_SECONDS
    load = Load(10, 1.0, p99, p99, p99, 0, 0, 0.1, {"200": 10}, late_p99=2 * LATE_SECONDS if late else 0.0)
    return Step(rate, load, "200")


def player(carried: float, generator: float = 1e9) -> tuple[Callable[[float, float], Step], list[tuple[float, float]]]:
    """A worker that carries so much, asked by a generator that can ask so fast; and what was asked."""
    asked: list[tuple[float, float]] = []

    def ask(rate: float, seconds: float) -> Step:
        asked.append((rate, seconds))
        return step(rate, carried=rate <= min(carried, generator), late=rate > generator)

    return ask, asked


def test_the_rate_doubles_and_is_narrowed_down() -> None:
    """A rate that isn't carried is tried twice; those that count take as long as they should."""
    ask, asked = player(650)
    edge = find_edge(ask, 100, seconds=4)
    assert [round(rate) for rate, _ in asked] == [100, 200, 400, 800, 800, 566, 673]
    assert {seconds for _, seconds in asked[:5]} == {SEARCHING_SECONDS}
    assert {seconds for _, seconds in asked[5:]} == {4}
    assert edge.carried is not None
    assert (round(edge.carried.per_second), edge.is_at_least) == (566, False)


def test_less_than_the_first_rate() -> None:
    ask, asked = player(50)
    assert find_edge(ask, 100, 4).carried is None
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("carried", "generator", "is_at_least"), [(1e9, 500, True), (500, 1e9, False), (1e9, 1e9, True)]
)
def test_a_limit_of_the_generator_is_none_of_the_worker(carried: float, generator: float, is_at_least: bool) -> None:
    """What it could not ask, or was not to, is no edge."""
    ask, _ = player(carried, generator)
    edge = find_edge(ask, 100, 4, fastest=10_000)
    assert edge.carried is not None
    assert edge.is_at_least == is_at_least


@pytest.mark.parametrize(
    ("statuses", "errors", "is_carried"),
    [({"200": 10}, 0, True), ({"200": 9, "503": 1}, 0, False), ({"200": 10}, 1, False), ({"404": 10}, 0, False)],
)
def test_only_good_answers_count(statuses: dict[str, int], errors: int, is_carried: bool) -> None:
    load = Load(10, 1.0, 0.0, 0.0, 0.0, 0, errors, 0.1, statuses)
    assert Step(100, load, "200").is_carried == is_carried


def loaded(statuses: dict[str, int], p99: float, errors: int = 0) -> Load:
    served = dict.fromkeys(statuses, p99)
    return Load(sum(statuses.values()), 1.0, p99, p99, p99, 0, errors, 0.1, statuses, p99_served=served)


def test_who_is_refused_knows_it_soon() -> None:
    """Only the refusals are held to a time; what is neither answered nor refused is said."""
    lines = {
        line.metric.strip(): line
        for line in beyond_lines("search", Step(100, loaded({"200": 6, "503": 3, "500": 1}, 0.3), "200"))
    }
    assert lines["beyond: refused with 503"].value == 30.0
    assert "1 others" in lines["beyond: refused with 503"].note
    assert lines["too much of search: p99 of refused"].met is False
    assert lines["beyond: p99 of answered"].met is None


@pytest.mark.parametrize(
    ("statuses", "errors", "p99", "met"),
    [
        ({"200": 10}, 0, 0.2, [True, True]),
        ({"200": 10}, 1, 0.2, [False, True]),
        ({"200": 9, "503": 1}, 0, 1.5, [False, False]),
    ],
)
def test_others_are_unharmed(statuses: dict[str, int], errors: int, p99: float, met: list[bool]) -> None:
    """All of them are answered, and soon; a request without an answer is none that was answered."""
    lines = others_lines("search", [loaded({"200": 5}, 0.1), loaded(statuses, p99, errors)])
    assert [line.met for line in lines] == met
