"""Send searches with the public client, and tell their outcomes."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from elasticsearch import ApiError, AsyncElasticsearch, Elasticsearch, TransportError

from dev.faults.proxy import FaultProxy
from esassistant.config.pools import PoolRule
from esassistant.elasticsearch.stats import PoolReport
from esassistant.registry import registry

SEARCH = "/_search"
"""A pattern for requests of searches, as rules and counts of the proxy use it."""
INDEX = "some"
ANSWERED = "answered"
REFUSED = "BreakerOpen"


def make_index(cluster: Elasticsearch, name: str = INDEX) -> None:
    """Make an index that leaves the cluster green."""
    cluster.indices.create(index=name, settings={"number_of_shards": 1, "number_of_replicas": 0})


async def outcome(client: AsyncElasticsearch, index: str = INDEX, **options: Any) -> str:
    """Return how a search ended: `ANSWERED`, the status of its answer, or the name of its error."""
    try:
        await client.search(index=index, size=0, **options)
    except ApiError as error:
        return str(error.status_code)
    except TransportError as error:
        return type(error).__name__
    return ANSWERED


async def outcomes(client: AsyncElasticsearch, calls: int, **options: Any) -> Counter[str]:
    """Send so many searches at the same time, and return their outcomes."""
    return Counter(await asyncio.gather(*(outcome(client, **options) for _ in range(calls))))


async def trip(client: AsyncElasticsearch, proxy: FaultProxy) -> None:
    """Have searches fail, one after the other, until the breaker opens."""
    with proxy.fault(path=SEARCH, status=503):
        while breaker_state() == "closed":
            await outcome(client)


def report(pool: str = "default") -> PoolReport:
    """Return the report of a pool of the public client."""
    reports: dict[str, PoolReport] = registry.read("elasticsearch")
    return reports[pool]


def breaker_state(pool: str = "default") -> str:
    breaker = report(pool).breaker
    assert breaker is not None
    return str(breaker.state)


async def health_known() -> Any:
    """Wait for the first health report. From then on, the health check has its connection."""
    while (found := registry.read("health")) is None:  # noqa: ASYNC110  (reports are read, nothing is signalled)
        await asyncio.sleep(0.01)
    return found


def rules(**sizes: int) -> tuple[PoolRule, ...]:
    """Return pools of these sizes for `rules(logs=3, default=5)`: `logs` has the indices `logs-*`, `default` all
    others.
    """
    return tuple(
        PoolRule(name, ("*" if name == "default" else f"{name}-*",), maxsize) for name, maxsize in sizes.items()
    )


def most_within(seconds: float, moments: Iterable[float]) -> int:
    """Return the largest number of moments that lie within so many seconds."""
    ordered = sorted(moments)
    first = most = 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] > seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def descriptors(pid: int | str = "self") -> int:
    """Return the number of open file descriptors of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
