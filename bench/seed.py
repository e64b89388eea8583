"""Measure the claims of the original, the system that this project re-implements: `python -m bench.seed [--rounds N]
[--only PART …]`.

    health        `/api/health` kept ready, compared with a round of checks for each request; Elasticsearch is 200 ms
                  away
    connections   the searches under way at the cluster at once, and answered a second, over 20 connections and over 50
    reliability   the mappings that are fresh after a pass while 30 % of all requests for mappings are refused
    duplicates    the calls that reach the cluster when 1 000 callers ask at once for a mapping that isn't in memory
    memory        the memory of 1 000 mappings, in both forms, each in a process of its own

"Before" and "after" are measured in turn, in one run, on one real node with 1 000 indices. "Before" is what the
original does (bench/subjects/naive.py describes it), or the profile `rollback`. A missed claim is printed as missed;
the exit code is 0 all the same.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop
from elasticsearch import AsyncElasticsearch

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

from bench.command import Started, parser, save
from bench.http import DELAY_SECONDS, health_lines
from bench.pool import CALLERS, Measured, measure_round, prepare
from bench.report.lines import (
    CLAIMS,
    PERCENT_LESS,
    POINTS,
    TIMES_LESS,
    TIMES_MORE,
    Before,
    Line,
    percent,
    print_lines,
)
from bench.report.texts import number
from bench.seed_memory import ACCEPT, Resident, resident
from bench.subjects.cluster import FAMILIES, names, running_node
from bench.subjects.naive import NaiveCache
from bench.subjects.stack import config_for, open_stack
from dev.faults.proxy import FaultProxy
from esassistant.config.model import ROLLBACK_VARIABLES
from esassistant.elasticsearch.pools import PoolLimits

ROUNDS = 5
SECONDS = 3.0
SEARCHES = 500
WARM_UP = 2_000
"""The number of searches before the first ones that count, because a young node still compiles its code while it
answers.
"""
PARTS = ("health", "connections", "reliability", "duplicates", "memory")
SEARCH_DELAY_SECONDS = 0.2
CLIENTS_OWN_RETRIES = 3
"""The default of elasticsearch-py, which retries at once, without a pause."""
FAILING_SHARE = 0.3
MAPPING_PATH = "/_mapping"
CALLERS_AT_ONCE = 1_000
INDICES = sum(family.indices for family in FAMILIES)
MB = 1_000_000
T = TypeVar("T")


def progress(part: str, turn: int, rounds: int) -> None:
    print(f"{part}: round {turn} of {rounds}", file=sys.stderr, flush=True)


def health(url: str, rounds: int, seconds: float) -> list[Line]:
    """Return the line of the table, and those that bench/http.py makes from the same measurement."""
    lines, _ = health_lines(url, rounds, seconds)
    kept, checked, _ = lines
    metric = f"health, p50, Elasticsearch {DELAY_SECONDS * 1000:g} ms away"
    note = "; ".join(filter(None, (kept.note, checked.note)))
    before = Before(checked.values, checked.samples, "requests", TIMES_LESS)
    return [Line(metric, kept.values, "ms", kept.samples, CLAIMS["health"], note, before), *lines]


def connections(url: str, rounds: int, searches: int) -> list[Line]:
    """Measure the original's pool (that of the profile `rollback`) and ours. In both, calls wait for a free
    connection.
    """
    small = ROLLBACK_VARIABLES["ELASTICSEARCH_POOL_MAXSIZE"]
    large = config_for(url).elasticsearch.pools[-1].maxsize
    measured = {small: Measured(), large: Measured()}
    most: dict[int, list[float]] = {small: [], large: []}

    async def measure(proxy: FaultProxy) -> None:
        await prepare(url, WARM_UP)
        for turn in range(1, rounds + 1):
            progress("connections", turn, rounds)
            for size in in_turn([small, large], turn):
                proxy.reset()
                await measure_round(proxy.url, PoolLimits(size), measured[size], searches)
                most[size].append(proxy.max_in_flight)

    with FaultProxy(url) as proxy, proxy.fault(path="/_search", delay_seconds=SEARCH_DELAY_SECONDS):
        uvloop.run(measure(proxy))
    before, after = measured[small], measured[large]
    answered_before, answered = len(before.latencies), len(after.latencies)
    slow = f"{CALLERS} callers, answers {SEARCH_DELAY_SECONDS * 1000:g} ms later"
    return [
        Line(
            "searches under way at the cluster at once",
            most[large],
            "",
            answered,
            CLAIMS["connections"],
            f"counted in a proxy; {slow}",
            Before(most[small], answered_before, "searches", TIMES_MORE),
        ),
        Line(
            "searches answered a second",
            after.per_second,
            "/s",
            answered,
            note=slow,
            before=Before(before.per_second, answered_before, "searches", TIMES_MORE),
        ),
    ]


class Reliability:
    """Runs passes over all indices by processes that know nothing yet, while a part of all mapping requests is
    refused.
    """

    def __init__(self, url: str, proxy: FaultProxy) -> None:
        self._url = url
        self._proxy = proxy
        self.fresh = {"naive": 0, "naive, retrying": 0, "ours": 0}
        self.asked = dict.fromkeys(self.fresh, 0)
        self.refused = dict.fromkeys(self.fresh, 0)
        self.truth: dict[str, Any] = {}

    async def run(self, rounds: int) -> None:
        async with AsyncElasticsearch(self._url) as direct:
            answer = await direct.indices.get_mapping(index="*", expand_wildcards="all")
        self.truth = {name: found["mappings"] for name, found in answer.body.items()}
        measured: dict[str, Callable[[], Coroutine[Any, Any, dict[str, Any]]]] = {
            "naive": lambda: self._naive(0),
            "naive, retrying": lambda: self._naive(CLIENTS_OWN_RETRIES),
            "ours": self._ours,
        }
        for turn in range(1, rounds + 1):
            progress("reliability", turn, rounds)
            for kind in in_turn(list(measured), turn):
                self._proxy.reset()
                known = await measured[kind]()
                self.fresh[kind] += sum(known.get(name) == wanted for name, wanted in self.truth.items())
                requests = [exchange for exchange in self._proxy.requests if exchange.path.endswith(MAPPING_PATH)]
                self.asked[kind] += len(requests)
                self.refused[kind] += sum(exchange.status == 503 for exchange in requests)

    async def _naive(self, max_retries: int) -> dict[str, Any]:
        async with AsyncElasticsearch(self._proxy.url, http_compress=True, max_retries=max_retries) as client:
            reference = NaiveCache(client)
            await reference.refresh()
        return reference.mappings

    async def _ours(self) -> dict[str, Any]:
        async with open_stack(self._proxy.url) as stack:
            await stack.full_pass()
            answered = [name for name in self.truth if stack.cache.peek(name) is not None]
            snapshot = stack.cache.snapshot
        return {name: json.loads(snapshot.bodies[snapshot.indices[name].mapping_hash]) for name in answered}

    def refused_percent(self, kind: str) -> str:
        share = percent(self.refused[kind], self.asked[kind])
        return (
            f"{share:.0f} % of {number(self.asked[kind])} requests refused" if share is not None else "no request sent"
        )


def reliability(url: str, rounds: int) -> list[Line]:
    with (
        FaultProxy(url, seed=rounds) as proxy,
        proxy.fault(path=MAPPING_PATH, status=503, probability=FAILING_SHARE),
    ):
        measured = Reliability(url, proxy)
        uvloop.run(measured.run(rounds))
    expected = len(measured.truth) * rounds
    return [
        Line(
            metric,
            [percent(measured.fresh["ours"], expected)],
            "%",
            expected,
            goal,
            f"before: {measured.refused_percent(kind)}; after: {measured.refused_percent('ours')}",
            Before([percent(measured.fresh[kind], expected)], expected, "mappings", POINTS),
            rounds,
        )
        for metric, kind, goal in (
            ("mappings fresh after a refresh, 30 % failing", "naive", CLAIMS["reliability"]),
            ("the same, before with the client's own 3 retries", "naive, retrying", None),
        )
    ]


def duplicates(url: str, rounds: int) -> list[Line]:
    """Measure duplicate calls, as the node itself counts calls."""
    calls: dict[str, list[int]] = {"naive": [], "ours": []}
    wanted = names(FAMILIES[0])

    async def measure() -> None:
        async with AsyncElasticsearch(url) as counting:
            for turn in range(1, rounds + 1):
                progress("duplicates", turn, rounds)
                for kind, ask in in_turn([("naive", _ask_naive), ("ours", _ask_ours)], turn):
                    before = await _mapping_calls(counting)
                    await ask(url, wanted[turn % len(wanted)])
                    calls[kind].append(await _mapping_calls(counting) - before)

    uvloop.run(measure())
    asked = CALLERS_AT_ONCE * rounds
    # The first call of each round is needed; all others are duplicates.
    possible = (CALLERS_AT_ONCE - 1) * rounds
    eliminated = {kind: percent(asked - sum(found), possible) for kind, found in calls.items()}
    return [
        Line(
            f"duplicate calls of {number(CALLERS_AT_ONCE)} at once eliminated",
            [eliminated["ours"]],
            "%",
            possible,
            CLAIMS["duplicates"],
            before=Before([eliminated["naive"]], possible, "possible duplicates", POINTS),
            rounds=rounds,
        ),
        Line(
            f"calls at the cluster when {number(CALLERS_AT_ONCE)} ask at once",
            calls["ours"],
            "",
            asked,
            note="by the node's own count",
            before=Before(calls["naive"], asked, "callers", TIMES_LESS),
        ),
    ]


async def _ask_naive(url: str, name: str) -> None:
    async with AsyncElasticsearch(url, http_compress=True) as client:
        reference = NaiveCache(client)
        await asyncio.gather(*(reference.get(name) for _ in range(CALLERS_AT_ONCE)))


async def _ask_ours(url: str, name: str) -> None:
    async with open_stack(url) as stack:
        await asyncio.gather(*(stack.cache.get(name) for _ in range(CALLERS_AT_ONCE)))


async def _mapping_calls(client: AsyncElasticsearch) -> int:
    answer = await client.perform_request("GET", "/_nodes/stats/http", headers=ACCEPT)
    routes = [node["http"].get("routes", {}) for node in answer.body["nodes"].values()]
    return sum(
        found["requests"]["count"]
        for by_route in routes
        for route, found in by_route.items()
        if route.rstrip("/").endswith(MAPPING_PATH)
    )


def memory(url: str, rounds: int) -> list[Line]:
    """Measure the memory that 1 000 mappings, few of them distinct, add to a process."""
    found: dict[str, list[Resident]] = {"dicts": [], "cache": []}
    for turn in range(1, rounds + 1):
        progress("memory", turn, rounds)
        for kind in in_turn(list(found), turn):
            found[kind].append(resident(kind, url))
            assert found[kind][-1].mappings >= INDICES, found[kind][-1]
    dicts, cache = found["dicts"], found["cache"]
    return [
        Line(
            metric,
            [value(each) / MB for each in cache],
            "MB",
            rounds,
            goal,
            before=Before([value(each) / MB for each in dicts], rounds, "processes", PERCENT_LESS),
        )
        for metric, value, goal in (
            (f"resident memory for {number(INDICES)} mappings, {len(FAMILIES)} distinct", _grown, CLAIMS["memory"]),
            ("resident memory of the whole process", _whole, None),
        )
    ]


def _grown(found: Resident) -> int:
    return found.after_bytes - found.before_bytes


def _whole(found: Resident) -> int:
    return found.after_bytes


def in_turn(kinds: list[T], turn: int) -> list[T]:
    """Return the kinds in another order for each turn, so that none always comes after the same other one."""
    return kinds if turn % 2 else kinds[::-1]


def main() -> int:
    arguments = parser("seed", __doc__)
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    arguments.add_argument(
        "--seconds", type=float, default=SECONDS, help="of each load on health (default: %(default)g)"
    )
    arguments.add_argument("--searches", type=int, default=SEARCHES, help="of a pool in a round (default: %(default)s)")
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="default: all parts")
    options = arguments.parse_args()
    started, lines = Started(), []
    with running_node() as url:
        measures: dict[str, Callable[[], list[Line]]] = {
            "health": lambda: health(url, options.rounds, options.seconds),
            "reliability": lambda: reliability(url, options.rounds),
            "duplicates": lambda: duplicates(url, options.rounds),
            "memory": lambda: memory(url, options.rounds),
            # This comes last, because its index would be one more mapping for the others.
            "connections": lambda: connections(url, options.rounds, options.searches),
        }
        for part, measure in measures.items():
            if part in options.only:
                lines += measure()
    print_lines(lines)
    save(options.json, **started.facts(), indices=INDICES, distinct_mappings=len(FAMILIES), lines=lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
