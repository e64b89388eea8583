"""Recommendations: what the numbers say about the settings. Pure functions; silent as long as there is too little data."""

from dataclasses import dataclass

from esassistant.elasticsearch.stats import PoolReport

ENOUGH_REQUESTS = 100
FAILURE_PERCENT = 5.0


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One piece of advice with what it rests on. `setting` is the line to put into the environment, None where none
    helps.
    """

    metric: str
    value: float
    sample_size: int
    threshold: float
    why: str
    setting: str | None


def recommend(pools: dict[str, PoolReport]) -> tuple[Recommendation, ...]:
    """All advice that the pools' numbers give."""
    return tuple(found for name, pool in pools.items() for found in _for_pool(name, pool))


def _for_pool(name: str, pool: PoolReport) -> list[Recommendation]:
    if pool.requests_total < ENOUGH_REQUESTS:
        return []
    found = []
    timeouts_total = pool.failures["request_timeout"] + pool.failures["connect_timeout"]
    timeouts_percent = 100.0 * timeouts_total / pool.requests_total
    if timeouts_percent > FAILURE_PERCENT:
        found.append(
            Recommendation(
                metric=f"pools.{name}.timeouts_percent",
                value=timeouts_percent,
                sample_size=pool.requests_total,
                threshold=FAILURE_PERCENT,
                why="Many calls get no answer in time. Look at the cluster's load: a longer timeout only means longer waits.",
                setting=None,
            )
        )
    return found
