"""The cost of keeping the mapping cache fresh, on a real node with 1 000 indices: `python -m bench.refresh [--rounds N]
[--changes N]`.

Each round does everything once on the same node, in another order than the round before. A figure is the median of its
rounds. A first round isn't counted: it warms the node and the connections. A missed goal is printed as missed; the exit
code is 0 all the same.
"""

import asyncio
import gc
import json
import random
import statistics
import sys
import tracemalloc
from collections.abc import Awaitable, Callable

import uvloop
from elasticsearch import AsyncElasticsearch

from bench.command import Started, parser, save
from bench.report.lines import Goal, Line, milliseconds, print_lines
from bench.subjects.cluster import FAMILIES, mapping, names, rendered, running_node
from bench.subjects.naive import NaiveCache
from bench.subjects.replay import replayed
from bench.subjects.stack import Stack, open_stack, watching
from cacheapp.reports import PassOutcome, WatchState
from esassistant.clock import monotonic

ROUNDS = 7
CHANGES = 40
CHANGED_FAMILY = next(family for family in FAMILIES if family.name == "sessions")


class Bench:
    """The metrics, one method each. Each method leaves the cluster in the state that the next one needs."""

    def __init__(self, stack: Stack, arranging: AsyncElasticsearch, url: str) -> None:
        self._stack = stack
        self._arranging = arranging
        self._url = url
        self._changes_total = 0
        self.seconds: dict[str, list[float]] = {}
        self.requests: dict[str, list[float]] = {}

    async def full_pass(self) -> None:
        """Run a full pass in a process that has read before, after a change of the cluster's metadata that changed no
        mapping.
        """
        await self._tick()
        report = await self._stack.full_pass()
        assert report.outcome is PassOutcome.COMPLETED, report
        self._note("full pass", report.duration_seconds, report.requests_total)

    async def first_pass(self) -> None:
        """Run a full pass in a process that has just started, and doesn't know the metadata version."""
        async with open_stack(self._url) as fresh:
            await fresh.client.perform_request("GET", "/_cluster/health", headers={"accept": "application/json"})
            report = await fresh.full_pass()
        assert report.outcome is PassOutcome.COMPLETED, report
        self._note("first pass", report.duration_seconds, report.requests_total)

    async def one_get(self) -> None:
        """Get every mapping in one answer, without looking at its bytes: the limit of the cluster itself."""
        started = monotonic()
        await self._stack.client.perform_request(
            "GET", "/_mapping?expand_wildcards=all", headers={"accept": "application/json"}
        )
        self._note("one GET", monotonic() - started, 1)

    async def naive(self) -> None:
        """Read all mappings with a `NaiveCache` that sends the requests of a batch at once."""
        await self._naive("naive", at_once=True)

    async def naive_one_by_one(self) -> None:
        """Read all mappings with a `NaiveCache` that sends the requests of a batch one after the other."""
        await self._naive("naive, one by one", at_once=False)

    async def _naive(self, metric: str, *, at_once: bool) -> None:
        async with AsyncElasticsearch(self._url, http_compress=True) as client:
            reference = NaiveCache(client, at_once=at_once)
            await client.cluster.health()
            started = monotonic()
            await reference.refresh()
            assert not reference.failed_total
            self._note(metric, monotonic() - started, reference.requests_total)
        del reference
        gc.collect()

    async def unchanged(self) -> None:
        await self._stack.full_pass()
        report = await self._stack.full_pass()
        assert report.outcome is PassOutcome.UNCHANGED, report
        self._note("unchanged", report.duration_seconds, report.requests_total)

    async def one_changed(self) -> None:
        """Run a change pass after one index got a field, as the watch does after a wake. If the first pass finds
        nothing, a second one counts too.
        """
        await self.change()
        refresher = self._stack.refresher
        requests_before = refresher.change_requests_total
        started = monotonic()
        while not (await refresher.read_changes()).changes_total:
            pass
        self._note("one changed", monotonic() - started, refresher.change_requests_total - requests_before)

    async def change(self) -> tuple[str, bytes]:
        """Give one index a field. Return its name, and what its mapping now contains."""
        self._changes_total += 1
        name = names(CHANGED_FAMILY)[self._changes_total % CHANGED_FAMILY.indices]
        field = f"bench_{self._changes_total}"
        await self._arranging.indices.put_mapping(index=name, properties={field: {"type": "keyword"}})
        return name, b'"%b"' % field.encode()

    async def latency(self) -> None:
        """Measure the time from the moment at which Elasticsearch acknowledged a change until the cache answers with
        it.
        """
        name, expected = await self.change()
        acknowledged = monotonic()
        while expected not in self._mapping(name):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        self._note("latency", monotonic() - acknowledged, 0)
        # Waits longer than until the second look of a change that the first one didn't find, so that its requests count
        # for this change.
        await asyncio.sleep(random.uniform(0.8, 1.4))

    def _mapping(self, name: str) -> bytes:
        snapshot = self._stack.cache.snapshot
        entry = snapshot.indices.get(name)
        return snapshot.bodies.get(entry.mapping_hash, b"") if entry is not None else b""

    async def _tick(self) -> None:
        self._changes_total += 1
        await self._arranging.indices.put_alias(
            index=names(CHANGED_FAMILY)[0], name=f"bench-alias-{self._changes_total}"
        )

    def _note(self, metric: str, seconds: float, requests: int) -> None:
        self.seconds.setdefault(metric, []).append(seconds)
        self.requests.setdefault(metric, []).append(requests)

    def median(self, metric: str) -> float:
        return statistics.median(self.seconds[metric])

    def most_requests(self, metric: str, of: str, goal: Goal | None = None) -> Line:
        return Line(metric, [max(self.requests[of])], "", len(self.requests[of]), goal)

    def forget(self) -> None:
        self.seconds.clear()
        self.requests.clear()


async def _timed(url: str, rounds: int, changes: int) -> list[Line]:
    async with open_stack(url) as stack, AsyncElasticsearch(url) as arranging:
        bench = Bench(stack, arranging, url)
        await stack.full_pass()
        measured: list[Callable[[], Awaitable[None]]] = [
            bench.full_pass,
            bench.one_get,
            bench.naive,
            bench.naive_one_by_one,
            bench.first_pass,
            bench.unchanged,
            bench.one_changed,
        ]
        for number in range(rounds + 1):
            print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
            for measure in measured:
                await measure()
            # So no metric always comes after the same other one.
            random.shuffle(measured)
            if number == 0:
                bench.forget()
        async with watching(stack, url) as watch:
            while watch.report().state is not WatchState.WATCHING:  # noqa: ASYNC110  (nothing signals it)
                await asyncio.sleep(0.05)
            await asyncio.sleep(2)
            for _ in range(changes):
                requests_before = watch.report().requests_total
                async with asyncio.timeout(30):
                    await bench.latency()
                spent = watch.report().requests_total - requests_before
                bench.requests.setdefault("change", []).append(spent)
    return _timed_lines(bench, rounds)


def _timed_lines(bench: Bench, rounds: int) -> list[Line]:
    full, one_get, naive, one_by_one = (
        bench.median(metric) for metric in ("full pass", "one GET", "naive", "naive, one by one")
    )
    changes = len(bench.seconds["latency"])
    latencies = statistics.quantiles(bench.seconds["latency"], n=20, method="inclusive")
    soon = Goal(at_most=200)
    return [
        milliseconds("full pass", bench.seconds["full pass"]),
        milliseconds("one GET /_mapping", bench.seconds["one GET"]),
        Line("  full pass ÷ one GET", [full / one_get], "x", rounds, Goal(at_most=1.3)),
        milliseconds("naive pass", bench.seconds["naive"]),
        Line("  naive ÷ full pass", [naive / full], "x", rounds, Goal(at_least=20)),
        milliseconds("naive pass, one by one", bench.seconds["naive, one by one"]),
        Line("  naive one by one ÷ full pass", [one_by_one / full], "x", rounds, Goal(at_least=20)),
        bench.most_requests("requests of a full pass, most", "full pass", Goal(at_most=25)),
        milliseconds("first pass of a process", bench.seconds["first pass"]),
        bench.most_requests("  requests of a first pass, most", "first pass", Goal(at_most=25)),
        milliseconds("nothing changed", bench.seconds["unchanged"]),
        bench.most_requests("  requests when nothing changed, most", "unchanged", Goal(at_most=1)),
        milliseconds("one index changed", bench.seconds["one changed"]),
        bench.most_requests("  requests when one changed, most", "one changed", Goal(at_most=5)),
        milliseconds("change to answer, p50", [latencies[9]], changes, soon),
        milliseconds("change to answer, p95", [latencies[18]], changes, soon),
        Line("  requests per change, mean", [statistics.mean(bench.requests["change"])], "", changes, Goal(at_most=5)),
        bench.most_requests("  requests per change, most", "change"),
    ]


async def _replayed_pass(url: str, rounds: int) -> list[Line]:
    seconds, requests = [], []
    for _ in range(rounds):
        async with open_stack(url) as stack:
            report = await stack.full_pass()
            assert report.read_total == report.indices_total == 10 * sum(family.indices for family in FAMILIES)
            seconds.append(report.duration_seconds)
            requests.append(report.requests_total)
    return [
        milliseconds("full pass, 10 000 replayed", seconds),
        Line("  requests for 10 000, most", [max(requests)], "", rounds),
    ]


async def _memory(url: str) -> list[Line]:
    """Return the memory after a pass over the real indices, as Python counts its allocations."""
    tracemalloc.start()
    async with open_stack(url) as stack:
        before = _held()
        await stack.full_pass()
        cache = _held() - before
    async with AsyncElasticsearch(url, http_compress=True) as client:
        await client.cluster.health()
        reference = NaiveCache(client)
        before = _held()
        await reference.refresh()
        dicts = _held() - before
    distinct = [rendered(family, f"only_here_{name}") for family in FAMILIES for name in names(family)]
    del reference
    before = _held()
    parsed = [json.loads(body) for body in distinct]
    distinct_dicts = _held() - before
    del parsed
    tracemalloc.stop()
    distinct_bytes = sum(map(sys.getsizeof, distinct))
    return [
        Line("memory held by the cache", [cache / 1e6], "MB", 1),
        Line("memory held as dicts", [dicts / 1e6], "MB", 1),
        Line("  dicts ÷ cache, rolled-over", [dicts / cache], "x", 1, Goal(at_least=50)),
        Line("  dicts ÷ bytes, all distinct", [distinct_dicts / distinct_bytes], "x", 1),
    ]


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _facts() -> dict[str, int]:
    return {
        "indices": sum(family.indices for family in FAMILIES),
        "distinct_mappings": len(FAMILIES),
        "mapping_bytes": sum(family.indices * len(json.dumps(mapping(family))) for family in FAMILIES),
    }


def main() -> int:
    arguments = parser("refresh", __doc__)
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    arguments.add_argument(
        "--changes", type=int, default=CHANGES, help="while watching, at least 2; default: %(default)s"
    )
    options = arguments.parse_args()
    started = Started()
    with running_node() as url:
        lines = uvloop.run(_timed(url, options.rounds, max(2, options.changes)))
        lines += uvloop.run(_memory(url))
    with replayed() as url:
        lines += uvloop.run(_replayed_pass(url, options.rounds))
    print_lines(lines)
    save(options.json, **started.facts(), **_facts(), lines=lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
