"""What the pool's size and its ways of being full mean for throughput: `python -m bench.pool [--rounds N]`.

500 searches by 100 callers in a closed loop, each asking again as soon as it is answered, on a real node behind a proxy
that delays each request by 200 ms. With `POOL_BLOCK=true`, by the waiting alone, 50 connections can do 2.5 times as
many searches a second as 20. Rounds alternate, each does every pool once, in another order than the one before; a
figure is the median of its rounds. One round before them is not counted. A goal that is missed is printed as missed;
the exit code is 0 all the same.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import uvloop
from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from bench.cluster import CACHE
from bench.delay import delayed
from bench.refresh import Figure, at_least
from bench.stack import config_for
from dev.elasticsearch.node import Node
from esassistant.clock import monotonic, now_utc
from esassistant.elasticsearch.breaker import Breaker, BreakerPolicy
from esassistant.elasticsearch.client import new_client, report
from esassistant.elasticsearch.pools import PoolLimits, one_pool

ROUNDS = 7
SEARCHES = 500
CALLERS = 100
DELAY_SECONDS = 0.2
DOCUMENTS = 1_000
WARM_UP = 4_000
"""Searches without delay before all rounds: a young node compiles its code while it answers."""
INDEX = "bench"
GOAL = 2.4

POOLS = {
    "block, 20": PoolLimits(20),
    "block, 50": PoolLimits(50),
    "overflow, 50 + 50": PoolLimits(50, block=False, overflow=50),
}


@dataclass
class Measured:
    """Of one pool: a number per round, and the latencies of all searches that were answered."""

    per_second: list[float] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)

    def median(self) -> float:
        """Answered searches per second."""
        return statistics.median(self.per_second)


async def _round(url: str, limits: PoolLimits, measured: Measured) -> None:
    """500 searches through a new client whose kept connections are made already."""
    pools = one_pool("bench", limits, Breaker("bench", BreakerPolicy()))
    async with new_client(config_for(url).elasticsearch, pools, request_timeout=30.0, max_retries=0) as client:
        await asyncio.gather(*(_search(client) for _ in range(limits.maxsize)))
        left = SEARCHES
        ended: Counter[str] = Counter()
        before = report(client)["bench"].connections_created_total

        async def caller() -> None:
            nonlocal left
            while left:
                left -= 1
                began = monotonic()
                try:
                    await _search(client)
                except (ApiError, TransportError) as error:
                    ended[type(error).__name__] += 1
                else:
                    ended["answered"] += 1
                    measured.latencies.append(monotonic() - began)

        started, processor = monotonic(), time.process_time()
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        measured.per_second.append(ended["answered"] / (monotonic() - started))
        measured.processor_seconds.append((time.process_time() - processor) / SEARCHES)
        measured.connections.append(report(client)["bench"].connections_created_total - before)
        measured.refused.append(ended["PoolExhausted"] + ended["PoolTimeout"])
        assert ended["answered"] + measured.refused[-1] == SEARCHES, ended


async def _search(client: AsyncElasticsearch) -> None:
    await client.search(index=INDEX, query={"match": {"message": f"word{random.randrange(50)}"}}, size=10)


async def _run(url: str, delayed_url: str, rounds: int) -> dict[str, Measured]:
    async with AsyncElasticsearch(url) as arranging:
        await arranging.indices.create(index=INDEX, settings={"number_of_replicas": 0})
        operations: list[dict[str, object]] = []
        for number in range(DOCUMENTS):
            operations += [{"index": {}}, {"message": f"word{number % 50} and more", "number": number}]
        await arranging.bulk(index=INDEX, operations=operations, refresh=True)
        await arranging.indices.forcemerge(index=INDEX, max_num_segments=1)
        for _ in range(WARM_UP // 20):
            await asyncio.gather(*(_search(arranging) for _ in range(20)))
    measured = {name: Measured() for name in POOLS}
    order = list(POOLS)
    for number in range(rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
        for name in order:
            await _round(delayed_url, POOLS[name], measured[name])
        random.shuffle(order)
        if number == 0:
            measured = {name: Measured() for name in POOLS}
    return measured


def _figures(measured: dict[str, Measured], rounds: int) -> list[Figure]:
    figures = []
    for name, found in measured.items():
        quantiles = statistics.quantiles(found.latencies, n=20, method="inclusive")
        limit = min(CALLERS, POOLS[name].maxsize + POOLS[name].overflow) / DELAY_SECONDS
        figures += [
            Figure(f"{name}: answered", found.median(), "/s", rounds, f"≤ {limit:g}"),
            Figure("  latency, p50", quantiles[9] * 1000, "ms", len(found.latencies)),
            Figure("  latency, p95", quantiles[18] * 1000, "ms", len(found.latencies)),
            Figure("  processor time per search", statistics.median(found.processor_seconds) * 1000, "ms", rounds),
            Figure("  connections made", statistics.median(found.connections), "", rounds),
            Figure("  refused", statistics.median(found.refused), "", rounds),
        ]
    small, large, overflow = (measured[name].median() for name in ("block, 20", "block, 50", "overflow, 50 + 50"))
    return [
        *figures,
        at_least("block, 50 ÷ 20", large / small, "x", rounds, GOAL),
        Figure("overflow ÷ block, 50", overflow / large, "x", rounds),
    ]


def _print(figures: list[Figure]) -> None:
    print(f"\n{'metric':<30}{'value':>8} {'unit':<4}{'samples':>8}  {'goal':<7} met?")
    for figure in figures:
        met = {None: "", True: "yes", False: "NO"}[figure.met]
        print(f"{figure.metric:<30}{figure.value:>8.4g} {figure.unit:<4}{figure.samples:>8}  {figure.goal:<7} {met}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pool", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    rounds = parser.parse_args().rounds
    started_at, started = now_utc().isoformat(), time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="bench-pool-") as data,
        Node(Path(data)) as node,
        delayed(node.url, DELAY_SECONDS) as delayed_url,
    ):
        figures = _figures(uvloop.run(_run(node.url, delayed_url, rounds)), rounds)
    _print(figures)
    print(f"\nload average of the last five minutes: {os.getloadavg()[1]:.1f} on {os.cpu_count()} processors")
    results = {
        "started_at": started_at,
        "seconds": round(time.monotonic() - started, 1),
        "searches": SEARCHES,
        "callers": CALLERS,
        "delay_seconds": DELAY_SECONDS,
        "load_average": os.getloadavg(),
        "figures": [asdict(figure) for figure in figures],
    }
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "pool.json").write_text(json.dumps(results, indent=1, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
