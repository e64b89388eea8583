"""A day of traffic, replayed by a clock of its own against a real node: who is warm when asked for, what that costs the
node, and that the budget holds; and what a running server says of it.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import pytest
from elasticsearch import Elasticsearch
from pytest_django import Settings

from bench.subjects.traces import DAY, START, Trace, made
from cacheapp.cache.derived import FIELDS, MAPPING_VIEWS
from cacheapp.cache.mapping_cache import MAPPING_CACHE
from cacheapp.demand.learner import DEMAND, DemandLearner
from cacheapp.demand.policy import WARM_SECONDS
from cacheapp.state.clusters import ClusterId
from cacheapp.values.calls import open_calls
from cacheapp.values.gatherer import Gatherer
from cacheapp.values.known import KnownValues
from cacheapp.values.policy import Situation
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from esassistant.config.model import ElasticsearchConfig, FieldValuesConfig, Predict
from esassistant.registry import registry
from tests.support.fakes import FakeClock, MemoryStore
from tests.support.field_values import BEARER, gathered, make_orders, value_calls, values_opened
from tests.support.fixtures import OpenApp

FAMILIES = 12
PER_MINUTE = 6
TURN_SECONDS = 30.0
"""What is asked for is looked at so often in the replay; a running server does so each five seconds."""
CLUSTER = ClusterId("one", "")


@dataclass
class Replayed:
    """What came of a replay. `calls`: when each was sent, `searches` of them; `asks`, `warm`: on the last day."""

    calls: list[float] = field(default_factory=list)
    searches: int = 0
    asks: int = 0
    warm: int = 0

    @property
    def calls_on_the_last_day(self) -> int:
        return sum(at >= START + 2 * DAY for at in self.calls)


@pytest.fixture
def families(cluster: Elasticsearch) -> Elasticsearch:
    """Twelve indices of one shard each; every other one has an alias, which is its family."""
    for number in range(FAMILIES):
        cluster.indices.create(
            index=f"kept{'abcdefghijkl'[number]}",
            mappings={"properties": {"status": {"type": "keyword"}}},
            settings={"number_of_shards": 1, "number_of_replicas": 0},
            aliases={f"family-{number:02}": {}} if number % 2 else {},
        )
        cluster.index(index=f"kept{'abcdefghijkl'[number]}", document={"status": "open"}, refresh=True)
    return cluster


def name_of(number: int) -> str:
    return f"family-{number:02}" if number % 2 else f"kept{'abcdefghijkl'[number]}"


def three_days() -> Trace:
    """Office hours of twelve families, Monday to Wednesday."""
    trace = made("office hours", 1)
    end = START + 3 * DAY
    asks = [(at, number, kind) for at, number, kind in trace.asks if at < end and number < FAMILIES]
    return Trace([name_of(number) for number in range(FAMILIES)], asks, [1, 2] * 6, START, end)


async def replay(trace: Trace, mode: Predict, config: ElasticsearchConfig) -> Replayed:
    """Replay a trace: the gatherer and the model of a process, by the clock of the trace, over calls to a real node."""
    clock, found = FakeClock(trace.start), Replayed()
    store, known = MemoryStore(clock), KnownValues(clock=clock)
    cache, views = registry.get(MAPPING_CACHE), registry.get(MAPPING_VIEWS)
    learner = DemandLearner(
        store,
        lambda: cache.snapshot,
        lambda: CLUSTER,
        mode,
        ages=known.gathered_ages,
        is_gathered=lambda family: not known.is_left_out(family.name),
        clock=clock,
    )

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    async with open_calls(config) as calls:
        unfiltered, search = calls.unfiltered, calls.search

        async def noted_unfiltered(alias: str) -> frozenset[str]:
            found.calls.append(clock())
            return await unfiltered(alias)

        async def noted_search(indices: tuple[str, ...], body: bytes) -> bytes:
            found.calls.append(clock())
            found.searches += 1
            return await search(indices, body)

        calls.unfiltered = noted_unfiltered  # type: ignore[method-assign]
        calls.search = noted_search  # type: ignore[method-assign, assignment]
        gatherer = Gatherer(
            known,
            calls,
            store,
            FieldValuesConfig(("*",), calls_per_minute=PER_MINUTE),
            snapshot=lambda: cache.snapshot,
            fields_of=lambda distinct: views.of(FIELDS, distinct),
            choose=learner.choose,
            used=lambda _: [],
            situation=lambda: Situation(0, True),
            cluster=lambda: CLUSTER,
            clock=clock,
            sleep=sleep,
        )
        asks, exchange_at = list(trace.asks), trace.start
        while clock() < trace.end:
            while asks and asks[0][0] <= clock():
                at, number, _ = asks.pop(0)
                age = known.ages().get(trace.names[number])
                if at >= START + 2 * DAY:
                    found.asks += 1
                    found.warm += age is not None and age < WARM_SECONDS
                learner.note(trace.names[number])
            if clock() >= exchange_at:
                await learner.exchange()
                exchange_at = clock() + 60
            clock.advance(min(TURN_SECONDS, await gatherer.turn()))
    return found


async def test_a_day_of_traffic(node: Node, families: Elasticsearch, open_app: OpenApp, settings: Settings) -> None:
    """Two days teach, the third is looked at. In each mode no minute has more calls than the budget, and the node, by
    its own statistics and by a proxy before it, got exactly those that are told. Gathering ahead leaves fewer cold than
    gathering on demand; the model does so with fewer calls than the rule.
    """
    trace, found = three_days(), {}
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(node.url))
        async with open_app(node.url) as http:
            await http.post("/api/cache/refresh?wait=true", headers=BEARER)
            config = replace(settings.ESASSISTANT.elasticsearch, urls=(proxy.url,))
            for mode in Predict:
                before, before_at_proxy = searches_at(families), value_calls(proxy)
                found[mode] = replayed = await replay(trace, mode, config)
                assert searches_at(families) - before == replayed.searches
                assert value_calls(proxy) - before_at_proxy == len(replayed.calls)
                assert most_in_a_minute(replayed.calls) <= PER_MINUTE
    warm = {mode: one.warm / one.asks for mode, one in found.items()}
    calls = {mode: one.calls_on_the_last_day for mode, one in found.items()}
    assert all(one.asks == found[Predict.OFF].asks > 100 for one in found.values())
    assert warm[Predict.OFF] < warm[Predict.RULE]
    assert warm[Predict.OFF] < warm[Predict.MODEL]
    assert calls[Predict.OFF] < calls[Predict.MODEL] < calls[Predict.RULE]


def searches_at(cluster: Elasticsearch) -> int:
    """How many searches of the families the node counted itself."""
    stats = cluster.indices.stats(index="kept*", metric="search")
    return int(stats["_all"]["total"]["search"]["query_total"])


def most_in_a_minute(times: list[float]) -> int:
    return max(sum(at <= other < at + 60 for other in times) for at in times)


async def test_a_running_server(node: Node, cluster: Elasticsearch, open_app: OpenApp, settings: Settings) -> None:
    """What is asked for is known by its family and gathered; /api/performance and /api/cache/stats say what became of
    it.
    """
    make_orders(cluster)
    async with values_opened(open_app, settings, node.url, "orders") as http:
        await http.get("/api/mappings/orders-1")
        await http.get("/browse/orders")
        await gathered(1)
        await registry.get(DEMAND).exchange()
        report = (await http.get("/api/performance", headers=BEARER)).json()["demand"]
        stats = (await http.get("/api/cache/stats", headers=BEARER)).json()["demand"]
        await http.get("/api/mappings/orders")
        await registry.get(DEMAND).exchange()
        after = (await http.get("/api/performance", headers=BEARER)).json()["demand"]
    assert (report["mode"], report["families"], stats["families"]) == ("rule", 1, 1)
    assert report["shadow"]["rule"]["asks_total"] == 2
    assert [row["family"] for row in report["warmed"]] == ["orders"]
    assert (report["fates"]["missed"], report["fates"]["useful"], report["fates"]["in_vain"]) == (1, 0, 0)
    assert after["warmed"][0]["is_warm"] is True
    assert after["shadow"]["rule"]["warm_total"] == 2
    assert report["warmed"][0]["reason"].startswith("Asked for ")
