"""How soon a change of a mapping reaches all subscribers: `python -m bench.feed [--subscribers N] [--changes N]
[--stores redis]`.

Two servers run over a real node with 1 000 indices, started as an operator starts them. They share first a Redis and a
database, then only the SQLite file. Half of the subscribers follow each server. An index gets a field, and each
subscriber waits for the event about that change.

    change to event   the time from Elasticsearch's acknowledgement until a subscriber has the event; 0 if it comes
                      earlier
    memory            how much the resident memory of the servers grows for each subscriber
    hot answers       the rate of one server, with and without subscribers, in turn

The bench fails if a subscriber misses an event or gets one twice. A missed goal is printed as missed; the exit code is
0 all the same.
"""

import asyncio
import os
import random
import statistics
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import uvloop
from elasticsearch import AsyncElasticsearch

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

from bench.command import Started, exit_code_of, parser, save
from bench.load.client import Job, Target, bundled
from bench.report.lines import Goal, Line, milliseconds, print_lines, ratio
from bench.subjects.cluster import FAMILIES, names, running_node
from bench.subjects.processes import memory_of
from bench.subjects.served import sharing
from dev.event_stream import following
from dev.servers.service import Server
from esassistant.clock import monotonic

INSTANCES = 2
SUBSCRIBERS = 500
CHANGES = 60
FEWER = {"redis": 1, "database": 3}
"""Store → what the number of changes is divided by: over the database a change takes so much longer that fewer are
made.
"""
WARM_UP_CHANGES = 3
LONGEST_SECONDS = 15.0
CONNECTED_AT_ONCE = 50
HOT_CONNECTIONS = 8
HOT_SECONDS = 3.0
BETWEEN_CHANGES = (0.1, 0.7)
CHANGED_FAMILY = next(family for family in FAMILIES if family.name == "sessions")
GOALS = {"redis": Goal(at_most=200), "database": Goal(at_most=2500)}
"""The goals for the p95 of the time from the change to the event, in milliseconds."""


class Bench:
    """Changes mappings, and records when each subscriber gets the event."""

    def __init__(self, client: AsyncElasticsearch, servers: Sequence[Server], store: str) -> None:
        self._client = client
        self._store = store
        self._servers = servers
        self._changes_total = 0
        self._field = b""
        self._arrivals: list[tuple[int, float]] = []
        self._everybody = asyncio.Event()
        self._expected = 0

    def _note(self, subscriber: int, block: bytes, at: float) -> None:
        if self._field and self._field in block:
            self._arrivals.append((subscriber, at))
            if len(self._arrivals) >= self._expected:
                self._everybody.set()

    @asynccontextmanager
    async def subscribers(self, count: int) -> AsyncIterator[None]:
        """Have `count` subscribers follow the changes during the block, spread evenly over the servers."""
        async with AsyncExitStack() as stack:
            connecting = asyncio.Semaphore(CONNECTED_AT_ONCE)

            async def connect(number: int) -> None:
                url = f"{self._servers[number % len(self._servers)].url}/api/changes"
                async with connecting:
                    stream = await stack.enter_async_context(following(url, on_block=partial(self._note, number)))
                if stream.status != 200:
                    raise RuntimeError(f"subscriber {number} got {stream.status}: {stream.body.decode()}")

            await asyncio.gather(*(connect(number) for number in range(count)))
            self._expected = count
            yield

    async def change(self) -> list[float]:
        """Make one change, and wait until every subscriber has its event. Return the seconds of each. Raise
        `RuntimeError` if some don't get it in time.
        """
        self._changes_total += 1
        name = names(CHANGED_FAMILY)[self._changes_total % CHANGED_FAMILY.indices]
        new_field = f"feed_{self._store}_{self._changes_total}"
        self._field, self._arrivals = f'"added":["{new_field}"]'.encode(), []
        self._everybody.clear()
        async with asyncio.timeout(LONGEST_SECONDS):
            await self._client.indices.put_mapping(index=name, properties={new_field: {"type": "keyword"}})
            acknowledged = monotonic()
            await self._everybody.wait()
        await asyncio.sleep(random.uniform(*BETWEEN_CHANGES))  # an event that comes twice has come twice by then
        heard = Counter(subscriber for subscriber, _ in self._arrivals)
        if len(heard) != self._expected or set(heard.values()) != {1}:
            raise RuntimeError(f"{len(heard)} of {self._expected} subscribers heard of it, {heard.total()} times")
        return [max(0.0, at - acknowledged) for _, at in self._arrivals]

    async def latencies(self, changes: int) -> list[float]:
        """Return the latencies of all changes and subscribers, without those of the first changes."""
        found = [await self.change() for _ in range(WARM_UP_CHANGES + changes)]
        return [seconds for one in found[WARM_UP_CHANGES:] for seconds in one]

    async def memory_bytes(self, count: int) -> float:
        """Return how many bytes the servers grow by for each subscriber."""
        async with self.subscribers(count):
            await self.change()
        before = self._resident_bytes()
        async with self.subscribers(count * 2):
            await self.change()
            return (self._resident_bytes() - before) / count

    def _resident_bytes(self) -> int:
        return sum(memory_of(server.pid)["Rss"] for server in self._servers)

    async def hot(self, *, changing: bool) -> tuple[float, int]:
        """Return how many hot answers a server gives in a second, and how many it gave in all."""
        job = Job([Target(self._servers[0].url, "/api/health")], HOT_CONNECTIONS, HOT_SECONDS)
        asking = asyncio.create_task(asyncio.to_thread(bundled, job))
        while changing and not asking.done():
            await self.change()
            await asyncio.sleep(0.5)
        [load] = await asking
        return load.per_second, load.requests


async def _measure(
    url: str, servers: Sequence[Server], store: str, count: int, changes: int, rounds: int
) -> list[Line]:
    async with AsyncElasticsearch(url) as client:
        bench = Bench(client, servers, store)
        async with bench.subscribers(count):
            lines = _latency_lines(store, await bench.latencies(changes))
        if store == "redis":
            lines += await _cost_lines(bench, count, rounds)
        return lines


def _latency_lines(store: str, found: list[float]) -> list[Line]:
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    lines = [
        milliseconds(
            f"{store}: change to event, p{percentile}",
            [cuts[percentile - 1]],
            len(found),
            GOALS[store] if percentile == 95 else None,
        )
        for percentile in (50, 95, 99)
    ]
    return [*lines, milliseconds(f"{store}: change to event, longest", [max(found)], len(found))]


async def _cost_lines(bench: Bench, count: int, rounds: int) -> list[Line]:
    memory = [await bench.memory_bytes(count // 2) for _ in range(rounds)]
    quiet, silent, changing = [], [], []
    for _ in range(rounds):
        quiet.append(await bench.hot(changing=False))
        async with bench.subscribers(count):
            silent.append(await bench.hot(changing=False))
            changing.append(await bench.hot(changing=True))
    kinds = {"nobody follows": quiet, "they follow": silent, "they follow, and a change a second": changing}
    lines = [Line("memory of a subscriber", [one / 1024 for one in memory], "KiB", rounds * (count // 2))]
    lines += [
        Line(f"hot answers, {kind}", [rate for rate, _ in found], "/s", sum(requests for _, requests in found))
        for kind, found in kinds.items()
    ]
    rates = {kind: [rate for rate, _ in found] for kind, found in kinds.items()}
    under = rates.pop("nobody follows")
    return lines + [ratio(f"hot answers, {kind} ÷ nobody", over, under, rounds) for kind, over in rates.items()]


def main() -> int:
    arguments = parser("feed", __doc__)
    arguments.add_argument("--subscribers", type=int, default=SUBSCRIBERS, help="default: %(default)s")
    arguments.add_argument("--changes", type=int, default=CHANGES, help="over Redis; default: %(default)s")
    arguments.add_argument("--rounds", type=int, default=3, help="of memory and hot answers; default: %(default)s")
    arguments.add_argument("--stores", nargs="+", choices=GOALS, default=list(GOALS), help="default: all")
    options = arguments.parse_args()
    started = Started()
    lines = [Line("load of the machine before", [os.getloadavg()[0]], "", 1)]

    def run() -> None:
        with running_node() as url:
            for store in options.stores:
                changes = max(2, options.changes // FEWER[store])
                with sharing(url, store, INSTANCES) as servers:
                    measured = _measure(url, servers, store, options.subscribers, changes, options.rounds)
                    lines.extend(uvloop.run(measured))
        print_lines(lines)
        save(options.json, **started.facts(), instances=INSTANCES, subscribers=options.subscribers, lines=lines)

    return exit_code_of(run)


if __name__ == "__main__":
    sys.exit(main())
