"""What arrives late, together, or from elsewhere: races of reads, passes and publications."""

import asyncio
import json
from dataclasses import replace

import pytest
from django.test import RequestFactory
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import ApiError

from cacheapp.cache.derived import FIELD_LIST, SCHEMA_TEXT, MappingViews
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.cluster.loader import TogetherReader
from cacheapp.cluster.reader import ClusterReader, Sent, uncounted
from cacheapp.errors import MappingNotFound
from cacheapp.state.names import Selection
from cacheapp.state.snapshot import IndexEntry, Source, mapping_hash
from cacheapp.stores.protocol import Lease
from dev.faults.proxy import FaultProxy, ProxyResponse
from esassistant.elasticsearch.client import new_client
from esassistant.errors import ClusterUnavailable
from healthapp.probes import readyz
from tests.support.clients import elasticsearch_config, pools
from tests.support.fakes import (
    A_MAPPING,
    B_MAPPING,
    C_MAPPING,
    FakeClock,
    FakeReader,
    Instance,
    MemoryStore,
    cache_config,
    settle,
    spawn,
)
from tests.support.snapshots import changed
from tests.support.states import reading

# 1. exclude bypass: two misses together


async def test_an_excluded_index_stays_left_out_when_misses_travel_together() -> None:
    with FaultProxy("http://127.0.0.1:9") as cluster:

        def mappings(request: object) -> ProxyResponse:
            names = request.path.removeprefix("/").removesuffix("/_mapping").split(",")  # type: ignore[attr-defined]
            return ProxyResponse(json.dumps({name: {"mappings": {}} for name in names}), 200, {})

        cluster.respond("/_mapping", mappings)
        async with new_client(
            elasticsearch_config(cluster.url), pools(maxsize=2), request_timeout=5, max_retries=0, raw=True
        ) as client:
            reader = ClusterReader(client, Selection(("*",), ("secret-*",)), indices_timeout=5)
            cache = MappingCache(reader, cache_config(), spawn)
            with pytest.raises(MappingNotFound):
                await cache.get("secret-1")
            together = await asyncio.gather(cache.get("secret-2"), cache.get("open"), return_exceptions=True)
    assert isinstance(together[0], MappingNotFound), together[0]


# 2. field counts refused


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_full_pass_where_node_statistics_are_refused(status: int) -> None:
    with FaultProxy("http://127.0.0.1:9") as cluster:
        cluster.respond("^/_nodes/stats", lambda _: ProxyResponse("{}", status, {}))
        cluster.respond("^/_settings", lambda _: ProxyResponse('{"a":{"settings":{"index.uuid":"u"}}}', 200, {}))
        cluster.respond("^/_resolve", lambda _: ProxyResponse('{"indices":[],"aliases":[],"data_streams":[]}', 200, {}))
        cluster.respond("^/[?]", lambda _: ProxyResponse('{"cluster_uuid":"c"}', 200, {}))
        async with new_client(
            elasticsearch_config(cluster.url), pools(maxsize=4), request_timeout=5, max_retries=0, raw=True
        ) as client:
            reader = ClusterReader(client, Selection(), indices_timeout=5)
            listing = await reader.listing()
    assert (listing.uuids, listing.field_counts) == ({"a": "u"}, {})


# 3. what the watch finds is shared: deletions, moved aliases


class Watched:
    """A watcher W, which read everything, and C, which follows the store."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        self.cluster = FakeReader({"a": A_MAPPING, "b": B_MAPPING})
        self.watcher = Instance(self.cluster, self.store, self.clock)
        self.other = Instance(self.cluster, self.store, self.clock)

    async def start(self) -> Lease:
        await self.watcher.run()
        self.clock.advance(1)
        await self.other.sharing.take_over()
        lease = await self.store.lease("watch", "w", 60)
        assert isinstance(lease, Lease)
        self.clock.advance(5)
        return lease


async def test_a_deletion_that_the_watch_found_is_taken_over() -> None:
    world = Watched()
    lease = await world.start()
    del world.cluster.indices["b"]
    assert (await world.watcher.refresher.read_changes()).changes_total == 1
    await world.watcher.sharing.publish(lease)
    world.clock.advance(1)
    await world.other.sharing.take_over()
    assert set(world.watcher.cache.snapshot.indices) == {"a"}
    assert set(world.other.cache.snapshot.indices) == {"a"}


async def test_a_moved_alias_is_found_and_taken_over() -> None:
    world = Watched()
    world.cluster.cluster_aliases["now"] = ("a",)
    lease = await world.start()
    assert world.other.cache.snapshot.aliases["now"] == ("a",)
    world.cluster.cluster_aliases["now"] = ("b",)
    found = (await world.watcher.refresher.read_changes()).changes_total
    assert world.watcher.cache.snapshot.aliases["now"] == ("b",)
    await world.watcher.sharing.publish(lease)
    # The second answer of the store took a moment longer than the first.
    load = world.store.load

    async def slow_load(known: object) -> object:
        loaded = await load(known)  # type: ignore[arg-type]
        assert loaded is not None
        return replace(loaded, state=replace(loaded.state, age_seconds=loaded.state.age_seconds + 0.002))

    world.store.load = slow_load  # type: ignore[method-assign, assignment]
    await world.other.sharing.take_over()
    assert found > 0, "the watch would not publish it"
    assert world.other.cache.snapshot.aliases["now"] == ("b",), "not taken over"


# 4. lost update in the store


async def test_a_watch_does_not_publish_over_what_it_has_not_seen() -> None:
    """A command's full pass is published; before the watcher polls, it publishes a change of its own."""
    world = Watched()
    lease = await world.start()
    world.cluster.indices["a"] = C_MAPPING.replace(b"c", b"a")  # same number of fields: only a full pass finds it
    command = Instance(world.cluster, world.store, world.clock)
    await command.sharing.take_over()
    await command.run()
    world.cluster.indices["new"] = B_MAPPING
    assert (await world.watcher.refresher.read_changes()).changes_total == 1
    await world.watcher.sharing.publish(lease)
    await world.watcher.sharing.take_over()
    await world.other.sharing.take_over()
    wanted = mapping_hash(world.cluster.indices["a"])
    assert world.watcher.cache.snapshot.indices["a"].mapping_hash == wanted
    assert world.other.cache.snapshot.indices["a"].mapping_hash == wanted


# 5. a slower full pass brings back what a change pass removed


async def test_an_older_pass_brings_nothing_deleted_back() -> None:
    clock = FakeClock()
    cache = MappingCache(FakeReader(), cache_config(), spawn, clock=clock)
    await cache.apply(reading(1000.0, {"a": A_MAPPING, "b": B_MAPPING}, {"old": ("b",)}), ())
    await cache.apply(reading(1010.0, {"a": A_MAPPING}), ())  # the change pass: b is gone, and its alias
    await cache.apply(
        reading(1009.0, {"a": A_MAPPING, "b": B_MAPPING}, {"old": ("b",)}), ()
    )  # the full pass, begun earlier
    assert set(cache.snapshot.indices) == {"a"}
    assert set(cache.snapshot.aliases) == set()
    assert cache.snapshot.listed_at == 1010.0


# 6. a late answer to a single read


async def test_a_late_404_takes_nothing_newer_away() -> None:
    clock = FakeClock()
    reader = FakeReader()
    cache = MappingCache(reader, cache_config(negative_ttl=5.0), spawn, clock=clock)
    gone = asyncio.Event()

    async def late(name: str) -> dict[str, bytes]:
        await gone.wait()
        raise MappingNotFound(name)

    reader.mapping = late  # type: ignore[method-assign]
    asking = asyncio.create_task(cache.get("new"))
    await settle()
    clock.advance(1)
    await cache.apply(reading(clock(), {"new": A_MAPPING}), ())
    gone.set()
    assert (await asking).indices == ("new",)
    assert "new" in cache.snapshot.indices
    assert (await cache.get("new")).indices == ("new",)


async def test_a_late_answer_moves_no_alias_back() -> None:
    clock = FakeClock()
    reader = FakeReader({"a": A_MAPPING, "b": B_MAPPING})
    reader.cluster_aliases["now"] = ("a",)
    cache = MappingCache(reader, cache_config(), spawn, clock=clock)
    await cache.apply(reading(clock(), reader.indices, {"now": ("a",)}), ())
    cache.warm = True
    clock.advance(11)  # stale: a read behind the answer
    go = asyncio.Event()

    async def late(name: str) -> dict[str, bytes]:
        await go.wait()
        return {"a": A_MAPPING}

    reader.mapping = late  # type: ignore[method-assign]
    await cache.get("now")
    await settle()
    clock.advance(1)
    await cache.apply(reading(clock(), reader.indices, {"now": ("b",)}), ())
    go.set()
    await settle()
    assert cache.snapshot.aliases["now"] == ("b",)


# 7. negative cache and eviction


async def test_a_known_index_is_never_absent() -> None:
    clock = FakeClock()
    reader = FakeReader()
    cache = MappingCache(reader, cache_config(negative_ttl=60.0, max_bytes=len(B_MAPPING)), spawn, clock=clock)
    with pytest.raises(MappingNotFound):
        await cache.get("x")
    reader.indices = {"x": A_MAPPING, "y": B_MAPPING}
    clock.advance(2)
    await cache.apply(reading(clock(), reader.indices), ())
    assert cache.peek("x") is None or cache.peek("y") is None
    assert (await cache.get("x")).indices == ("x",)
    assert (await cache.get("y")).indices == ("y",)


async def test_what_nobody_asked_for_is_dropped_first() -> None:
    clock = FakeClock()
    reader = FakeReader({"hot": A_MAPPING, "x": B_MAPPING, "y": C_MAPPING})
    cache = MappingCache(reader, cache_config(max_bytes=len(A_MAPPING) + len(B_MAPPING)), spawn, clock=clock)
    await cache.get("hot")
    clock.advance(1)
    await cache.apply(reading(clock(), reader.indices), ())
    assert mapping_hash(A_MAPPING) in cache.snapshot.bodies


# 8. derived views of what is not kept


async def test_the_schema_of_a_mapping_that_is_not_kept() -> None:
    reader = FakeReader({"a": A_MAPPING})
    cache = MappingCache(reader, cache_config(max_bytes=len(A_MAPPING) - 1), spawn)
    views = MappingViews(cache, spawn)
    assert json.loads((await views.text(SCHEMA_TEXT, "a"))[1].body)["properties"]
    assert json.loads((await views.text(FIELD_LIST, "a"))[1].body)["total"] == 1


# 9. misses together: the innocent


async def test_one_bad_mapping_fails_nobody_else() -> None:
    reader = FakeReader({"good": A_MAPPING, "bad": B_MAPPING})
    error = ClusterUnavailable("Elasticsearch answered with status 500.", retry_after_seconds=5)
    meta = ApiResponseMeta(500, "1.1", HttpHeaders(), 0.0, NodeConfig("http", "a", 1))
    error.__cause__ = ApiError("500", meta, {})
    reader.broken["bad"] = error
    together = TogetherReader(reader, spawn)
    good, _ = await asyncio.gather(together.mapping("good"), together.mapping("bad"), return_exceptions=True)
    assert good == {"good": A_MAPPING}


async def test_aliases_together_dont_queue() -> None:
    reader = FakeReader({"a": A_MAPPING})
    names = [f"alias-{number}" for number in range(40)]
    reader.cluster_aliases = dict.fromkeys(names, ("a",))
    arrive = reader._arrive

    async def slowly(sent: Sent = uncounted) -> None:
        await asyncio.sleep(0.05)
        await arrive(sent)

    reader._arrive = slowly  # type: ignore[method-assign]
    together = TogetherReader(reader, spawn)
    started = asyncio.get_running_loop().time()
    await asyncio.gather(*map(together.mapping, names))
    assert asyncio.get_running_loop().time() - started < 1.0


# 10. reading one name now


async def test_reading_a_name_now_ignores_a_remembered_absence() -> None:
    reader = FakeReader()
    cache = MappingCache(reader, cache_config(negative_ttl=5.0), spawn)
    with pytest.raises(MappingNotFound):
        await cache.get("x")
    reader.indices["x"] = A_MAPPING
    assert (await cache.reread("x")).indices == ("x",)


# 11. numbers


async def test_stale_answers_share_no_flight() -> None:
    clock = FakeClock()
    reader = FakeReader({"a": A_MAPPING})
    cache = MappingCache(reader, cache_config(), spawn, clock=clock)
    await cache.get("a")
    clock.advance(11)
    reader.gate.clear()
    for _ in range(5):
        await cache.get("a")
    stats = cache.report()
    reader.gate.set()
    await settle()
    assert stats.shared_flights_total == 0, "nobody waited for anybody's flight"


# 12. probes


def test_a_probe_that_is_not_ready_is_no_error_of_the_server(rf: RequestFactory) -> None:
    response = readyz(rf.get("/readyz"))
    assert response.status_code == 503
    assert getattr(response, "_has_been_logged", False)


# 13. what is read while a pass is applied


@pytest.mark.parametrize("reads", [1, 2, 50])
async def test_what_is_read_while_a_pass_is_applied_stays(reads: int) -> None:
    """A pass is applied in turns; what others read in between is newer, and stays, however much of it there is."""
    clock = FakeClock()
    cache = MappingCache(FakeReader(), cache_config(), spawn, clock=clock)
    await cache.apply(reading(900.0, {"gone": C_MAPPING}), ())
    passing = asyncio.create_task(cache.apply(reading(1000.0, {"a": A_MAPPING, "b": B_MAPPING}), ()))
    for number in range(reads):
        await asyncio.sleep(0)
        clock.advance(1.0)
        known = mapping_hash(C_MAPPING)
        entry = IndexEntry(None, known, clock(), Source.ELASTICSEARCH)
        cache.snapshot = changed(cache.snapshot, {f"read-{number}": entry}, {known: C_MAPPING})
    changes = await passing
    assert {"a", "b"} <= set(cache.snapshot.indices)
    assert {f"read-{number}" for number in range(reads)} <= set(cache.snapshot.indices)
    assert changes.changed_total == 2
