"""How the size of the connection pool, and its settings for when it is full, change the throughput: `python -m
bench.pool [--rounds N] [--searches N]`.

100 callers make 500 searches in a closed loop: each asks again as soon as it is answered. Answers take 200 ms. So with
`POOL_BLOCK=true`, 50 connections can at best do 2.5 times as many searches a second as 20.

Behind the delay is a real node (`node`), which on a small machine is busy before the pool is full; or a server that
gives a recorded answer of that node (`recorded`), which shows the limit of the pool itself. Each round does everything
once, in another order than the round before. A figure is the median of its rounds; a first round isn't counted. A
missed goal is printed as missed; the exit code is 0 all the same.
"""

import asyncio
import http.client
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from bench.command import Started, parser, save
from bench.load.delay import delayed, recorded
from bench.report.lines import Goal, Line, milliseconds, print_lines
from bench.subjects.stack import config_for
from dev.elasticsearch.node import Node
from esassistant.breaker import BreakerPolicy
from esassistant.clock import monotonic
from esassistant.elasticsearch.client import new_client, report
from esassistant.elasticsearch.pools import PoolLimits, one_pool

ROUNDS = 7
SEARCHES = 500
CALLERS = 100
DELAY_SECONDS = 0.2
DOCUMENTS = 1_000
WARM_UP = 4_000
"""The number of searches without delay before all rounds, because a young node still compiles its code while it
answers.
"""
INDEX = "bench"
GOAL = 2.4

POOLS = {
    "block, 20": PoolLimits(20),
    "block, 50": PoolLimits(50),
    "overflow, 50 + 50": PoolLimits(50, block=False, overflow=50),
}


@dataclass
class Measured:
    """What was measured of one pool: a number per round, and the latencies of all searches that were answered."""

    per_second: list[float] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)

    def median(self) -> float:
        """The median of answered searches per second."""
        return statistics.median(self.per_second)


async def measure_round(url: str, limits: PoolLimits, measured: Measured, searches: int = SEARCHES) -> None:
    """Send searches through a new client until `searches` of them are counted. The first two searches per connection
    aren't counted, because until then connections are made, and the callers begin one after the other.
    """
    pools = one_pool("bench", limits, BreakerPolicy())
    async with new_client(config_for(url).elasticsearch, pools, request_timeout=30.0, max_retries=0) as client:
        ended: Counter[str] = Counter()
        skipped = 2 * limits.maxsize
        begun: tuple[float, float, int] | None = None
        finished: tuple[float, float, int] | None = None

        def now() -> tuple[float, float, int]:
            return monotonic(), time.process_time(), report(client)["bench"].connections_created_total

        async def caller(number: int) -> None:
            nonlocal skipped, begun, finished
            await asyncio.sleep(number * DELAY_SECONDS / CALLERS)
            while finished is None:
                sent_at = monotonic()
                try:
                    await _search(client)
                except (ApiError, TransportError) as error:
                    how = type(error).__name__
                else:
                    how = "answered"
                if skipped:
                    skipped -= 1
                    begun = None if skipped else now()
                elif finished is None:
                    ended[how] += 1
                    if how == "answered":
                        measured.latencies.append(monotonic() - sent_at)
                    if ended.total() == searches:
                        finished = now()

        await asyncio.gather(*(caller(number) for number in range(CALLERS)))
        assert begun is not None
        assert finished is not None
        seconds, processor_seconds, connections = (end - begin for begin, end in zip(begun, finished, strict=True))
        measured.per_second.append(ended["answered"] / seconds)
        measured.processor_seconds.append(processor_seconds / searches)
        measured.connections.append(int(connections))
        measured.refused.append(ended["PoolExhausted"] + ended["PoolTimeout"])
        assert ended["answered"] + measured.refused[-1] == searches, ended


async def _search(client: AsyncElasticsearch) -> None:
    await client.search(index=INDEX, query=_query(), size=10)


def _query() -> dict[str, dict[str, str]]:
    return {"match": {"message": f"word{random.randrange(50)}"}}


async def prepare(url: str, warm_up: int = WARM_UP) -> None:
    """Make an index to search in, on a node that then answers `warm_up` searches."""
    async with AsyncElasticsearch(url) as client:
        await client.indices.create(index=INDEX, settings={"number_of_replicas": 0})
        operations: list[dict[str, object]] = []
        for number in range(DOCUMENTS):
            operations += [{"index": {}}, {"message": f"word{number % 50} and more", "number": number}]
        await client.bulk(index=INDEX, operations=operations, refresh=True)
        await client.indices.forcemerge(index=INDEX, max_num_segments=1)
        for _ in range(warm_up // 20):
            await asyncio.gather(*(_search(client) for _ in range(20)))


def _record(url: str) -> bytes:
    """Return the node's answer to a search, as it is sent."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    headers = {"content-type": "application/json", "accept-encoding": "gzip"}
    connection.request("POST", f"/{INDEX}/_search", json.dumps({"query": _query(), "size": 10}), headers)
    answer = connection.getresponse()
    assert answer.status == 200
    lines = [f"{name}: {value}" for name, value in answer.getheaders() if name.lower() != "transfer-encoding"]
    body = answer.read()
    connection.close()
    if "content-length" not in "\n".join(lines).lower():
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(["HTTP/1.1 200 OK", *lines]).encode() + b"\r\n\r\n" + body


async def _run(urls: dict[str, str], rounds: int, searches: int) -> dict[tuple[str, str], Measured]:
    """Run the rounds. The results are by what is behind the delay, and by pool."""
    order = [(behind, pool) for behind in urls for pool in POOLS]
    measured = {key: Measured() for key in order}
    for number in range(rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
        if number == 1:
            measured = {key: Measured() for key in order}
        for behind, pool in random.sample(order, len(order)):
            await measure_round(urls[behind], POOLS[pool], measured[behind, pool], searches)
    return measured


def _lines(measured: dict[tuple[str, str], Measured], rounds: int) -> list[Line]:
    lines = []
    for (behind, pool), found in measured.items():
        quantiles, searches = statistics.quantiles(found.latencies, n=20, method="inclusive"), len(found.latencies)
        most = Goal(at_most=min(CALLERS, POOLS[pool].maxsize + POOLS[pool].overflow) / DELAY_SECONDS, judged=False)
        lines += [
            Line(f"{behind}, {pool}", found.per_second, "/s", rounds, most),
            milliseconds("  latency, p50", [quantiles[9]], searches),
            milliseconds("  latency, p95", [quantiles[18]], searches),
            milliseconds("  processor time per search", found.processor_seconds),
            Line("  connections made", found.connections, "", rounds),
            Line("  refused", found.refused, "", rounds),
        ]
    for behind in dict.fromkeys(behind for behind, _ in measured):
        small, large, overflow = (
            measured[behind, pool].median() for pool in ("block, 20", "block, 50", "overflow, 50 + 50")
        )
        lines += [
            Line(f"{behind}: block, 50 ÷ 20", [large / small], "x", rounds, Goal(at_least=GOAL)),
            Line(f"{behind}: overflow ÷ block, 50", [overflow / large], "x", rounds),
        ]
    return lines


def main() -> int:
    arguments = parser("pool", __doc__)
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    arguments.add_argument("--searches", type=int, default=SEARCHES, help="of a pool in a round; default: %(default)s")
    options = arguments.parse_args()
    started = Started()
    with tempfile.TemporaryDirectory(prefix="bench-pool-") as data, Node(Path(data)) as node:
        asyncio.run(prepare(node.url))
        with (
            delayed(node.url, DELAY_SECONDS) as delayed_url,
            recorded(_record(node.url), DELAY_SECONDS) as recorded_url,
        ):
            measured = uvloop.run(
                _run({"node": delayed_url, "recorded": recorded_url}, options.rounds, options.searches)
            )
    lines = _lines(measured, options.rounds)
    print_lines(lines)
    print(f"\nload average of the last five minutes: {os.getloadavg()[1]:.1f} on {os.cpu_count()} processors")
    save(
        options.json,
        **started.facts(),
        searches=options.searches,
        callers=CALLERS,
        delay_seconds=DELAY_SECONDS,
        load_average=os.getloadavg(),
        lines=lines,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
