"""Who gathers what, when: over a cluster and a store in memory."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence

import pytest
from elastic_transport import ApiResponseMeta, ConnectionTimeout, HttpHeaders, NodeConfig
from elasticsearch import ApiError
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheapp.demand.policy import WARM_SECONDS
from cacheapp.mapping.fields import fields
from cacheapp.state.clusters import ClusterId
from cacheapp.state.distinct import Distinct
from cacheapp.state.family_names import FamilyNames
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from cacheapp.state.visible import ALL_VISIBLE
from cacheapp.values.family_values import FamilyValues
from cacheapp.values.gatherer import HINDERED_SECONDS, IDLE_SECONDS, LEASE, Gatherer
from cacheapp.values.known import KnownValues
from cacheapp.values.policy import FIRST_PAUSE_SECONDS, MAX_FAMILIES, Situation
from esassistant.config.model import FieldValuesConfig
from esassistant.errors import StoreUnavailable
from tests.support.fakes import FakeClock, MemoryStore

BODY = b'{"properties":{"status":{"type":"keyword"},"password":{"type":"keyword"}}}'
TEXT_BODY = b'{"properties":{"note":{"type":"text"}}}'
ANSWER = {
    "timed_out": False,
    "_shards": {"total": 1, "successful": 1},
    "aggregations": {
        "documents": {"doc_count": 5},
        "m0": {"doc_count": 1},
        "v0": {"buckets": [{"key": "open", "doc_count": 4}], "sum_other_doc_count": 0},
    },
}
META = ApiResponseMeta(200, "1.1", HttpHeaders({"x-elastic-product": "Elasticsearch"}), 0.0, NodeConfig("http", "x", 9))


def refusal(status: int, kind: str = "some_exception") -> ApiError:
    body = json.dumps({"error": {"type": kind, "root_cause": [], "reason": ""}}).encode()
    meta = ApiResponseMeta(status, "1.1", META.headers, 0.0, META.node)
    return ApiError(f"status {status}", meta, body)


class Cluster:
    """What the cluster is asked; answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.filtered: set[str] = set()
        self.answer: dict[str, object] | Exception = ANSWER
        self.before: Callable[[], object] = lambda: None
        self.on_call: Callable[[], object] = lambda: None

    async def unfiltered(self, alias: str) -> frozenset[str]:
        self.on_call()
        self.asked.append(f"alias {alias}")
        return frozenset() if alias in self.filtered else frozenset({"a-1", "a-2"})

    async def search(self, indices: Sequence[str], body: bytes) -> bytes:
        self.before()
        self.on_call()
        self.asked.append(f"search {','.join(indices)}")
        assert b"password" not in body
        if isinstance(self.answer, Exception):
            raise self.answer
        return json.dumps(self.answer).encode()


class World:
    """A deployment of processes that share a store and a cluster."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        self.cluster = Cluster()
        self.situation = Situation(0, True)
        self.names = ["a"]
        bodies = {mapping_hash(body): body for body in (BODY, TEXT_BODY)}
        whole, text = (mapping_hash(body) for body in (BODY, TEXT_BODY))
        hashes = {"a-1": whole, "a-2": whole, "orders": whole, "texts": text}
        self.snapshot = Snapshot(
            indices={name: IndexEntry("u", hashed, 0.0, Source.MEMORY) for name, hashed in hashes.items()},
            aliases={"a": ("a-1", "a-2")},
            bodies=bodies,
        )

    def process(self, *families: str, cluster: str = "one", per_minute: int = 6) -> tuple[Gatherer, KnownValues]:
        known = KnownValues(clock=self.clock)

        async def fields_of(distinct: Sequence[Distinct]) -> tuple[object, ...]:
            return fields({one.indices[0]: one.body for one in distinct})

        def choose(ages: Mapping[str, float], *, room_for_new: bool) -> list[str]:
            """Those of the names whose values are cold, in their order."""
            families = [FamilyNames().find(name, self.snapshot) for name in self.names]
            chosen = dict.fromkeys(family.name for family in families if family is not None)
            return [name for name in chosen if (ages[name] >= WARM_SECONDS if name in ages else room_for_new)]

        async def sleep(seconds: float) -> None:
            self.clock.advance(seconds)

        gatherer = Gatherer(
            known,
            self.cluster,
            self.store,
            FieldValuesConfig(families or ("*",), calls_per_minute=per_minute),
            snapshot=lambda: self.snapshot,
            fields_of=fields_of,  # type: ignore[arg-type]
            choose=choose,
            used=lambda _: [],
            situation=lambda: self.situation,
            cluster=lambda: ClusterId(cluster, ""),
            clock=self.clock,
            sleep=sleep,
        )
        return gatherer, known


@pytest.fixture
def world() -> World:
    return World()


async def test_an_alias_costs_two_calls(world: World) -> None:
    """Its filter is looked at, then its indices are searched by their names; a budget's time lies between."""
    gatherer, known = world.process()
    began_at = world.clock()
    assert await gatherer.turn() == 0
    assert world.cluster.asked == ["alias a", "search a-1,a-2"]
    assert world.clock() - began_at >= 10
    found = known.of(("a",), world.snapshot, ALL_VISIBLE)
    assert found is not None
    assert (found.sample_documents, found.is_whole, set(found.fields)) == (5, True, {"status"})
    assert await gatherer.turn() == IDLE_SECONDS
    assert gatherer.report().outcomes["answered"] == gatherer.report().calls_total == 2


async def test_never_through_a_filter(world: World) -> None:
    """An alias with a filter is left out, and its indices with it, until it is due again."""
    world.cluster.filtered = {"a"}
    world.names = ["a", "a-1"]
    gatherer, known = world.process()
    await gatherer.turn()
    assert await gatherer.turn() == IDLE_SECONDS
    assert world.cluster.asked == ["alias a"]
    assert gatherer.report().left_out["filtered"] == 1
    assert known.of(("a",), world.snapshot, ALL_VISIBLE) is None
    world.clock.advance(WARM_SECONDS)
    await gatherer.turn()
    assert world.cluster.asked == ["alias a"] * 2


async def test_others_take_over(world: World) -> None:
    """What one process has gathered the others know without a call, a new one too; not those of another cluster."""
    world.names = ["orders"]
    one, _ = world.process()
    await one.turn()
    world.clock.advance(60)
    other, known = world.process()
    assert await other.turn() == IDLE_SECONDS
    assert len(world.cluster.asked) == 1
    found = known.of(("orders",), world.snapshot, ALL_VISIBLE)
    assert found is not None
    assert found.age_seconds >= 60
    foreign, known = world.process(cluster="two")
    await foreign._take_over()
    assert known.of(("orders",), world.snapshot, ALL_VISIBLE) is None


async def test_one_process_at_a_time(world: World) -> None:
    """Who doesn't hold the lease asks nothing, and waits."""
    gatherer, _ = world.process()
    await world.store.lease(LEASE, "another", 7.0)
    assert 0 < await gatherer.turn() <= IDLE_SECONDS
    assert world.cluster.asked == []


@pytest.mark.parametrize(
    ("situation", "reason"), [(Situation(1, True), "busy"), (Situation(0, False), "breaker")], ids=["busy", "breaker"]
)
async def test_what_forbids_a_call(world: World, situation: Situation, reason: str) -> None:
    """Nothing is sent, and it is counted why; also if it begins between two calls of one family."""
    gatherer, _ = world.process()
    world.situation = situation
    assert await gatherer.turn() == HINDERED_SECONDS
    assert world.cluster.asked == []
    assert gatherer.report().hindered[reason] == 1
    world.situation = Situation(0, True)
    original = world.cluster.unfiltered

    async def then_busy(alias: str) -> frozenset[str]:
        world.situation = situation
        return await original(alias)

    world.cluster.unfiltered = then_busy  # type: ignore[method-assign]
    assert await gatherer.turn() == HINDERED_SECONDS
    assert world.cluster.asked == ["alias a"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(refusal(429), "refused"), (refusal(503), "failed"), (ConnectionTimeout("too late"), "failed")],
    ids=["429", "503", "timeout"],
)
async def test_a_failure_is_the_last_call(world: World, error: Exception, outcome: str) -> None:
    """Of the whole deployment, for a minute."""
    world.names = ["orders", "a"]
    world.cluster.answer = error
    gatherer, _ = world.process()
    await gatherer.turn()
    assert gatherer.report().outcomes[outcome] == 1
    other, _ = world.process()
    for process in (gatherer, other):
        assert await process.turn() == HINDERED_SECONDS
        assert process.report().paused_seconds > FIRST_PAUSE_SECONDS - 2
    assert world.cluster.asked == ["search orders"]
    world.clock.advance(FIRST_PAUSE_SECONDS)
    world.cluster.answer = ANSWER
    await other.turn()
    assert world.cluster.asked == ["search orders"] * 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refusal(403, "security_exception"), "denied"),
        (refusal(404, "index_not_found_exception"), "gone"),
        (refusal(400), "failed"),
        (refusal(503, "search_phase_execution_exception"), "failed"),
        ({"_shards": {"total": 1, "successful": 1}}, "failed"),
    ],
)
async def test_a_family_that_can_t_be_asked_is_left_out(world: World, answer: Exception, reason: str) -> None:
    """The others are asked all the same."""
    world.names = ["orders"]
    world.cluster.answer = answer
    gatherer, _ = world.process()
    await gatherer.turn()
    report = gatherer.report()
    assert (report.left_out[reason], report.paused_seconds) == (1, 0)
    world.names, world.cluster.answer = ["orders", "a"], ANSWER
    await gatherer.turn()
    assert gatherer.report().families == 1


async def test_a_slow_answer_is_kept_and_then_a_pause(world: World) -> None:
    """Time ran out: the cluster has enough to do."""
    world.names = ["orders"]
    world.cluster.answer = {**ANSWER, "timed_out": True}
    gatherer, known = world.process()
    await gatherer.turn()
    found = known.of(("orders",), world.snapshot, ALL_VISIBLE)
    assert found is not None
    assert not found.is_whole
    assert gatherer.report().paused_seconds > 0


async def test_without_fields_to_ask_for_there_is_no_call(world: World) -> None:
    """A family of texts is known to have no values."""
    world.names = ["texts"]
    gatherer, _ = world.process()
    await gatherer.turn()
    assert world.cluster.asked == []
    assert await gatherer.turn() == IDLE_SECONDS


async def test_only_what_matches(world: World) -> None:
    """Of other families nothing is asked, nor while the store is away."""
    gatherer, _ = world.process("order*")
    assert await gatherer.turn() == IDLE_SECONDS
    world.store.down = True
    with pytest.raises(StoreUnavailable):
        await world.process()[0].turn()
    assert world.cluster.asked == []


async def test_families_are_bounded(world: World) -> None:
    """With so many known, another waits until one is forgotten."""
    gatherer, known = world.process()
    world.names = ["orders"]
    now_ms = int(world.clock() * 1000)
    known.keep([FamilyValues(f"f{number}", now_ms) for number in range(MAX_FAMILIES)], now_ms)
    assert await gatherer.turn() == IDLE_SECONDS
    assert world.cluster.asked == []


async def test_what_is_not_wanted_is_skipped(world: World) -> None:
    """Whatever was chosen: only families of the setting are gathered, and those that are there."""
    world.names = ["texts", "orders"]
    gatherer, _ = world.process("ord*")
    await gatherer.turn()
    assert world.cluster.asked == ["search orders"]


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.floats(0, 400), st.lists(st.sampled_from(("a", "orders", "texts")), unique=True)), max_size=8
    ),
    st.integers(1, 60),
)
def test_the_budget_is_never_exceeded(turns: list[tuple[float, list[str]]], per_minute: int) -> None:
    """Whatever is chosen when, by two processes in turn: no more calls in any minute than the budget has."""

    async def run() -> list[float]:
        world, times = World(), list[float]()
        processes = [world.process(per_minute=per_minute)[0] for _ in range(2)]
        world.cluster.on_call = lambda: times.append(world.clock())
        for number, (seconds, names) in enumerate(turns):
            world.clock.advance(seconds)
            world.names = names
            if seconds > 300:
                world.clock.advance(WARM_SECONDS)
            for _ in range(3):
                await processes[number % 2].turn()
        return times

    times = asyncio.run(run())
    assert all(sum(at <= other < at + 60 for other in times) <= per_minute for at in times)
