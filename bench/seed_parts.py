"""How the rows of bench/seed.py are measured. Each function takes the URL of a node with the 1 000 indices of
bench/subjects/cluster.py, which it leaves as it was but for one index to search in.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop
from elasticsearch import AsyncElasticsearch

from bench.http_latency import DELAY_SECONDS, health_rows
from bench.pool import CALLERS, Measured, measure_round, prepare
from bench.report.figures import PERCENT_LESS, POINTS, TIMES_LESS, TIMES_MORE, Row, SeedRow, median, percent
from bench.report.texts import number
from bench.seed_memory import ACCEPT, Resident, resident
from bench.subjects.cluster import FAMILIES, names
from bench.subjects.naive import NaiveCache
from bench.subjects.stack import config_for, open_stack
from dev.faults.proxy import FaultProxy
from esassistant.config.model import ROLLBACK_VARIABLES
from esassistant.elasticsearch.pools import PoolLimits

SEARCH_DELAY_SECONDS = 0.2
CLIENTS_OWN_RETRIES = 3
"""The default of elasticsearch-py: at once, without a pause."""
FAILING_SHARE = 0.3
MAPPING_PATH = "/_mapping"
CALLERS_AT_ONCE = 1_000
INDICES = sum(family.indices for family in FAMILIES)
MB = 1_000_000
T = TypeVar("T")


def progress(part: str, turn: int, rounds: int) -> None:
    print(f"{part}: round {turn} of {rounds}", file=sys.stderr, flush=True)


def health(url: str, rounds: int, seconds: float) -> tuple[list[SeedRow], list[Row]]:
    """The row of the table, and those that bench/http.py makes of the same measurement."""
    rows, _ = health_rows(url, rounds, seconds)
    kept, checked, _ = rows
    row = SeedRow(
        metric=f"health, p50, Elasticsearch {DELAY_SECONDS * 1000:g} ms away",
        unit="ms",
        before=checked.value,
        after=kept.value,
        gain_unit=TIMES_LESS,
        samples=(checked.samples, kept.samples),
        samples_of="requests",
        rounds=rounds,
        claim="health",
        note="; ".join(filter(None, (kept.note, checked.note))),
    )
    return [row], rows


def connections(url: str, rounds: int, searches: int, warm_up: int) -> list[SeedRow]:
    """The pool of the profile `rollback`, which is the original's, and ours; both wait for a free connection."""
    small = ROLLBACK_VARIABLES["ELASTICSEARCH_POOL_MAXSIZE"]
    large = config_for(url).elasticsearch.pools[-1].maxsize
    measured = {small: Measured(), large: Measured()}
    most: dict[int, list[float]] = {small: [], large: []}

    async def measure(proxy: FaultProxy) -> None:
        await prepare(url, warm_up)
        for turn in range(1, rounds + 1):
            progress("connections", turn, rounds)
            for size in in_turn([small, large], turn):
                proxy.reset()
                await measure_round(proxy.url, PoolLimits(size), measured[size], searches)
                most[size].append(proxy.max_in_flight)

    with FaultProxy(url) as proxy, proxy.fault(path="/_search", delay_seconds=SEARCH_DELAY_SECONDS):
        uvloop.run(measure(proxy))
    before, after = measured[small], measured[large]
    answered = (len(before.latencies), len(after.latencies))
    slow = f"{CALLERS} callers, answers {SEARCH_DELAY_SECONDS * 1000:g} ms later"
    return [
        SeedRow(
            metric="searches under way at the cluster at once",
            unit="",
            before=median(most[small]),
            after=median(most[large]),
            gain_unit=TIMES_MORE,
            samples=answered,
            samples_of="searches",
            rounds=rounds,
            claim="connections",
            note=f"counted in a proxy; {slow}",
        ),
        SeedRow(
            metric="searches answered a second",
            unit="/s",
            before=median(before.per_second),
            after=median(after.per_second),
            gain_unit=TIMES_MORE,
            samples=answered,
            samples_of="searches",
            rounds=rounds,
            note=slow,
        ),
    ]


class Reliability:
    """Passes over all indices by processes that know nothing yet, while a part of all mapping requests is refused."""

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
            answers = {name: stack.cache.peek(name) for name in self.truth}
        return {name: json.loads(answer.body)[name]["mappings"] for name, answer in answers.items() if answer}

    def refused_percent(self, kind: str) -> str:
        share = percent(self.refused[kind], self.asked[kind])
        return (
            f"{share:.0f} % of {number(self.asked[kind])} requests refused" if share is not None else "no request sent"
        )


def reliability(url: str, rounds: int) -> list[SeedRow]:
    with (
        FaultProxy(url, seed=rounds) as proxy,
        proxy.fault(path=MAPPING_PATH, status=503, probability=FAILING_SHARE),
    ):
        measured = Reliability(url, proxy)
        uvloop.run(measured.run(rounds))
    expected = len(measured.truth) * rounds
    after = percent(measured.fresh["ours"], expected)
    return [
        SeedRow(
            metric=metric,
            unit="%",
            before=percent(measured.fresh[kind], expected),
            after=after,
            gain_unit=POINTS,
            samples=(expected, expected),
            samples_of="mappings",
            rounds=rounds,
            claim=claim,
            note=f"before: {measured.refused_percent(kind)}; after: {measured.refused_percent('ours')}",
        )
        for metric, kind, claim in (
            ("mappings fresh after a refresh, 30 % failing", "naive", "reliability"),
            ("the same, before with the client's own 3 retries", "naive, retrying", None),
        )
    ]


def duplicates(url: str, rounds: int) -> list[SeedRow]:
    """Calls are counted by the node itself."""
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
    # The first call of each round is needed; the others are duplicates.
    possible = (CALLERS_AT_ONCE - 1) * rounds
    eliminated = {kind: percent(asked - sum(found), possible) for kind, found in calls.items()}
    return [
        SeedRow(
            metric=f"duplicate calls of {number(CALLERS_AT_ONCE)} at once eliminated",
            unit="%",
            before=eliminated["naive"],
            after=eliminated["ours"],
            gain_unit=POINTS,
            samples=(possible, possible),
            samples_of="possible duplicates",
            rounds=rounds,
            claim="duplicates",
        ),
        SeedRow(
            metric=f"calls at the cluster when {number(CALLERS_AT_ONCE)} ask at once",
            unit="",
            before=median(calls["naive"]),
            after=median(calls["ours"]),
            gain_unit=TIMES_LESS,
            samples=(asked, asked),
            samples_of="callers",
            rounds=rounds,
            note="by the node's own count",
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


def memory(url: str, rounds: int) -> list[SeedRow]:
    """What 1 000 mappings, few of them distinct, add to a process."""
    found: dict[str, list[Resident]] = {"dicts": [], "cache": []}
    for turn in range(1, rounds + 1):
        progress("memory", turn, rounds)
        for kind in in_turn(list(found), turn):
            found[kind].append(resident(kind, url))
            assert found[kind][-1].mappings >= INDICES, found[kind][-1]
    dicts, cache = found["dicts"], found["cache"]
    return [
        SeedRow(
            metric=metric,
            unit="MB",
            before=median([value(each) / MB for each in dicts]),
            after=median([value(each) / MB for each in cache]),
            gain_unit=PERCENT_LESS,
            samples=(rounds, rounds),
            samples_of="processes",
            rounds=rounds,
            claim=claim,
        )
        for metric, value, claim in (
            (f"resident memory for {number(INDICES)} mappings, {len(FAMILIES)} distinct", _grown, "memory"),
            ("resident memory of the whole process", _whole, None),
        )
    ]


def _grown(found: Resident) -> int:
    return found.after_bytes - found.before_bytes


def _whole(found: Resident) -> int:
    return found.after_bytes


def in_turn(kinds: list[T], turn: int) -> list[T]:
    """None always comes after the same one."""
    return kinds if turn % 2 else kinds[::-1]
