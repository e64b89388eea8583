"""The mapping cache: what is answered from memory, what is read, and what one failure or slow read may do to others."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest

from cacheapp.cache.mapping_cache import LISTING_SECONDS, MappingCache
from cacheapp.errors import IllegalName, MappingNotFound
from cacheapp.state.answer import Freshness
from cacheapp.state.merge import PassChanges
from cacheapp.state.published import StoredIndex, StoredState
from cacheapp.state.readings import Listing, Mappings, Reading
from cacheapp.state.snapshot import Source, mapping_hash
from esassistant.errors import ClusterUnavailable
from tests.support.fakes import (
    A_MAPPING,
    B_MAPPING,
    C_MAPPING,
    FakeClock,
    FakeReader,
    InstantSleep,
    cache_config,
    no_answer,
    settle,
    spawn,
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def reader() -> FakeReader:
    reader = FakeReader({"a": A_MAPPING, "b": B_MAPPING})
    reader.cluster_aliases["both"] = ("a", "b")
    return reader


@pytest.fixture
def cache(reader: FakeReader, clock: FakeClock) -> MappingCache:
    return make_cache(reader, clock)


def make_cache(reader: FakeReader, clock: FakeClock, **config: Any) -> MappingCache:
    """`ttl` 10 s and `max_stale` 50 s, unless told otherwise."""
    return MappingCache(reader, cache_config(**config), spawn, clock=clock)


def listing(uuids: dict[str, str], aliases: dict[str, tuple[str, ...]]) -> Listing:
    return Listing("cluster", uuids, aliases, frozenset())


async def apply_pass(
    cache: MappingCache, bodies: dict[str, bytes], listing: Listing, *, failed: Iterable[str], listed_at: float
) -> PassChanges:
    return await cache.apply(Reading(listing, Mappings.from_bodies(bodies), listed_at), failed)


def counts(cache: MappingCache) -> tuple[int, int, int, int]:
    answers = cache.report().answers
    return answers.hits_total, answers.misses_total, answers.stale_served_total, answers.failures_total


async def test_miss_is_read_then_hit(cache: MappingCache, reader: FakeReader, clock: FakeClock) -> None:
    """The first call reads from the cluster, later ones within the TTL answer from memory with their age."""
    first = await cache.get("a")
    assert json.loads(first.body) == {"a": {"mappings": json.loads(A_MAPPING)}}
    assert (first.source, first.freshness, first.age_seconds) == (Source.ELASTICSEARCH, Freshness.FRESH, 0.0)
    clock.advance(10.0)
    second = await cache.get("a")
    assert second.body == first.body
    assert (second.source, second.freshness, second.age_seconds) == (Source.MEMORY, Freshness.FRESH, 10.0)
    assert reader.asked == ["a"]
    assert counts(cache) == (1, 1, 0, 0)


async def test_stale_answers_now_and_reads_once_behind(
    cache: MappingCache, reader: FakeReader, clock: FakeClock
) -> None:
    """Past the TTL everybody gets the old answer at once, while one read renews it."""
    await cache.get("a")
    reader.indices["a"] = C_MAPPING
    reader.gate.clear()
    clock.advance(10.1)
    answers = [await cache.get("a") for _ in range(5)]
    assert {answer.freshness for answer in answers} == {Freshness.STALE}
    assert {answer.source for answer in answers} == {Source.MEMORY}
    assert b'"a":{"type":"keyword"}' in answers[-1].body
    await settle()
    assert reader.asked == ["a", "a"]
    reader.gate.set()
    await settle()
    renewed = await cache.get("a")
    assert json.loads(renewed.body) == {"a": {"mappings": json.loads(C_MAPPING)}}
    assert (renewed.freshness, renewed.age_seconds) == (Freshness.FRESH, 0.0)
    assert counts(cache) == (6, 1, 5, 0)


async def test_failing_revalidation_leaves_stale_answer(
    cache: MappingCache, reader: FakeReader, clock: FakeClock
) -> None:
    """While the cluster is down the stale answer stays, and the cluster is asked at most once a second."""
    await cache.get("a")
    reader.failure = no_answer()
    clock.advance(20.0)
    for _ in range(3):
        assert (await cache.get("a")).freshness is Freshness.STALE
        await settle()
    assert reader.asked == ["a", "a"]
    assert cache.report().remembered_failures_total == 2
    assert cache.report().answers.failures_total == 1
    clock.advance(1.0)
    await cache.get("a")
    await settle()
    assert len(reader.asked) == 3


async def test_cancelled_revalidation_is_no_failure(reader: FakeReader, clock: FakeClock) -> None:
    """A read behind an answer that is ended with its owner counts as nothing."""
    tasks: list[asyncio.Task[Any]] = []

    def keep(function: Any) -> asyncio.Task[Any]:
        tasks.append(spawn(function))
        return tasks[-1]

    cache = MappingCache(reader, cache_config(), keep, clock=clock)
    await cache.get("a")
    reader.gate.clear()
    clock.advance(20.0)
    await cache.get("a")
    await settle()
    tasks[-1].cancel()
    await settle()
    assert tasks[-1].cancelled()
    assert cache.report().answers.failures_total == 0


async def test_hard_limit(cache: MappingCache, reader: FakeReader, clock: FakeClock) -> None:
    """Past TTL and max_stale nothing old is answered: the caller waits for a read, and gets its failure."""
    await cache.get("a")
    clock.advance(60.0)
    assert cache.peek("a") is not None
    clock.advance(0.1)
    assert cache.peek("a") is None
    reader.failure = no_answer()
    with pytest.raises(ClusterUnavailable):
        await cache.get("a")
    assert counts(cache) == (0, 2, 0, 1)


async def test_never_stale(reader: FakeReader, clock: FakeClock) -> None:
    """With max_stale 0 an answer is fresh or read anew."""
    cache = make_cache(reader, clock, max_stale=0.0)
    await cache.get("a")
    clock.advance(10.1)
    assert (await cache.get("a")).source is Source.ELASTICSEARCH
    assert reader.asked == ["a", "a"]


async def test_concurrent_misses_are_one_read(cache: MappingCache, reader: FakeReader) -> None:
    """Fifty callers who miss the same name at once cause one request; one who leaves disturbs nobody."""
    reader.gate.clear()
    callers = [asyncio.create_task(cache.get("a")) for _ in range(50)]
    await settle()
    callers[0].cancel()
    await settle()
    assert cache.report().in_flight == 1
    reader.gate.set()
    answers = await asyncio.gather(*callers[1:])
    assert len({answer.body for answer in answers}) == 1
    assert callers[0].cancelled()
    assert reader.asked == ["a"]
    assert (cache.report().flights_total, cache.report().shared_flights_total) == (1, 49)


async def test_failure_is_remembered_for_a_second(cache: MappingCache, reader: FakeReader, clock: FakeClock) -> None:
    """Callers within a second of a failure get it without a request; after that the cluster is asked again."""
    reader.failure = no_answer()
    for _ in range(3):
        with pytest.raises(ClusterUnavailable):
            await cache.get("a")
    assert reader.asked == ["a"]
    reader.failure = None
    clock.advance(1.0)
    assert (await cache.get("a")).indices == ("a",)
    assert counts(cache) == (0, 4, 0, 1)


async def test_slow_cluster_is_unavailable(reader: FakeReader, clock: FakeClock) -> None:
    """A read that exceeds the fetch timeout ends with 503 and says how long was waited."""
    cache = make_cache(reader, clock, fetch_timeout=0.01)
    reader.gate.clear()
    with pytest.raises(ClusterUnavailable, match="within 10 ms") as caught:
        await cache.get("a")
    assert caught.value.retry_after_seconds is not None


@pytest.mark.parametrize("name", ["", ".", "_all", "*", "a,b", "A"])
async def test_illegal_name_never_reaches_cluster(cache: MappingCache, reader: FakeReader, name: str) -> None:
    """A name that could mean anything but one index is refused before it is looked up or sent."""
    with pytest.raises(IllegalName):
        await cache.get(name)
    with pytest.raises(IllegalName):
        await cache.reread(name)
    assert reader.requests_total == 0
    assert counts(cache) == (0, 0, 0, 0)


def list_for(cache: MappingCache, reader: FakeReader, clock: FakeClock) -> list[float]:
    """Have the cache list the cluster when it asks for that; gives when it did."""
    listed: list[float] = []

    async def read_listing() -> None:
        listed.append(clock())
        found = await reader.listing()
        await cache.apply(Reading(found, Mappings(), listed[-1], frozenset(found.uuids)), ())

    cache.read_listing_by(read_listing)
    return listed


async def test_a_listing_takes_it_out(cache: MappingCache, reader: FakeReader, clock: FakeClock) -> None:
    """An index or alias that a read denies is gone from memory as soon as the listing, read at once, lacks it too."""
    listed = list_for(cache, reader, clock)
    await cache.get("a")
    await cache.get("both")
    del reader.indices["a"], reader.cluster_aliases["both"]
    for name in ("a", "both"):
        with pytest.raises(MappingNotFound):
            await cache.reread(name)
        assert cache.peek(name) is None
    assert set(cache.snapshot.indices) == {"b"}
    assert set(cache.snapshot.bodies) == {mapping_hash(B_MAPPING)}
    assert len(listed) == 1


async def test_a_read_alone_takes_nothing_out(cache: MappingCache, reader: FakeReader, clock: FakeClock) -> None:
    """A known name that a read denies stays, with its age, while it is listed or can't be listed; then 503."""
    await cache.get("a")
    reader.denied.add("a")
    clock.advance(20.0)
    assert (await cache.reread("a")).freshness is Freshness.STALE
    clock.advance(1.0)
    listed = list_for(cache, reader, clock)
    assert (await cache.get("a")).freshness is Freshness.STALE
    await settle()
    assert listed == [1021.0]
    clock.advance(5.0)
    answer = await cache.reread("a")
    assert (answer.freshness, answer.age_seconds) == (Freshness.STALE, 26.0)
    assert listed == [1021.0, 1026.0]
    clock.advance(60.0)
    with pytest.raises(ClusterUnavailable, match="lists 'a', but says that it isn't there"):
        await cache.get("a")
    assert cache.report().answers.failures_total == 1
    reader.failure = no_answer()
    clock.advance(60.0)
    with pytest.raises(ClusterUnavailable):
        await cache.get("a")
    assert "a" in cache.snapshot.indices


async def test_a_flood_of_denials_lists_once(clock: FakeClock) -> None:
    """However many known names are denied at once, the cluster is listed once; and not again at once."""
    names = [f"i{number:02}" for number in range(60)]
    reader = FakeReader(dict.fromkeys(names, A_MAPPING))
    sleep = InstantSleep(clock)
    cache = MappingCache(reader, cache_config(), spawn, clock=clock, sleep=sleep)
    listed = list_for(cache, reader, clock)
    await apply_pass(
        cache,
        reader.indices,
        listing({name: f"uuid-{name}" for name in names}, {}),
        failed=(),
        listed_at=clock(),
    )
    reader.denied.update(names)
    clock.advance(20.0)
    answers = await asyncio.gather(*map(cache.reread, names))
    assert {answer.freshness for answer in answers} == {Freshness.STALE}
    assert (len(listed), sleep.delays) == (1, [])
    clock.advance(0.5)
    await asyncio.gather(*map(cache.reread, names))
    assert (len(listed), sleep.delays) == (2, [LISTING_SECONDS - 0.5])


async def test_a_listing_that_does_not_come(reader: FakeReader, clock: FakeClock) -> None:
    """Who waits for a listing waits no longer than for a read."""
    cache = make_cache(reader, clock, fetch_timeout=0.02)
    await cache.get("a")
    reader.denied.add("a")
    clock.advance(1.0)

    async def never() -> None:
        await asyncio.Event().wait()

    cache.read_listing_by(never)
    with pytest.raises(ClusterUnavailable, match="list its indices within 20 ms"):
        await cache.reread("a")
    assert cache.peek("a") is not None


async def test_names_that_reads_change_are_counted(cache: MappingCache, reader: FakeReader, clock: FakeClock) -> None:
    """A read, or another process, that adds or drops a name says so to passes; reading again what is known doesn't."""
    await cache.get("a")
    await cache.reread("a")
    assert cache.names_changed_total == 1
    await cache.get("both")
    assert cache.names_changed_total == 2
    state = StoredState(0.0, {"c": StoredIndex("u", mapping_hash(C_MAPPING))}, {}, {mapping_hash(C_MAPPING): C_MAPPING})
    clock.advance(1.0)
    await cache.apply_published(state, clock())
    await cache.apply_published(state, clock())
    assert cache.names_changed_total == 3


async def test_unknown_name(cache: MappingCache) -> None:
    """A name that never existed is 404, and counts as a miss, not as a failed read."""
    with pytest.raises(MappingNotFound):
        await cache.get("nothing")
    assert counts(cache) == (0, 1, 0, 0)


async def test_alias(cache: MappingCache, reader: FakeReader, clock: FakeClock) -> None:
    """An alias answers with all its indices; the answer is as old as the oldest of them."""
    answer = await cache.get("both")
    assert json.loads(answer.body) == {
        "a": {"mappings": json.loads(A_MAPPING)},
        "b": {"mappings": json.loads(B_MAPPING)},
    }
    assert answer.indices == ("a", "b")
    clock.advance(4.0)
    await cache.reread("a")
    clock.advance(1.0)
    assert (await cache.get("both")).age_seconds == 5.0
    assert (await cache.get("a")).age_seconds == 1.0
    assert reader.asked == ["both", "a"]


async def test_alias_is_not_renewed_by_its_members(cache: MappingCache, reader: FakeReader, clock: FakeClock) -> None:
    """Reading an alias's indices says nothing of which indices it has now: the alias's own age goes on."""
    await cache.get("both")
    clock.advance(8.0)
    await cache.reread("a")
    await cache.reread("b")
    clock.advance(8.0)
    answer = await cache.get("both")
    assert answer.age_seconds == 16.0
    assert answer.freshness is Freshness.STALE


async def test_index_becomes_alias_and_back(cache: MappingCache, reader: FakeReader) -> None:
    """A name that changes its kind answers with what it is now."""
    await cache.get("a")
    reader.indices = {"a-2": C_MAPPING}
    reader.cluster_aliases = {"a": ("a-2",)}
    assert (await cache.reread("a")).indices == ("a-2",)
    assert set(cache.snapshot.indices) == {"a-2"}
    reader.indices, reader.cluster_aliases = {"a": A_MAPPING}, {}
    assert (await cache.reread("a")).indices == ("a",)
    assert dict(cache.snapshot.aliases) == {}


async def test_etag_follows_content(cache: MappingCache, reader: FakeReader, clock: FakeClock) -> None:
    """The ETag stays while name and mapping stay, also across reads, and changes with either."""
    first = (await cache.get("a")).etag
    assert first.startswith('"')
    assert first.endswith('"')
    clock.advance(5.0)
    assert (await cache.reread("a")).etag == first
    reader.indices["same"] = A_MAPPING
    assert (await cache.get("same")).etag != first
    reader.indices["a"] = C_MAPPING
    assert (await cache.reread("a")).etag != first


async def test_uuid_is_kept_while_mapping_is_same(cache: MappingCache, reader: FakeReader) -> None:
    """A single read doesn't learn the uuid: it keeps the known one only as long as the mapping is the same."""
    await apply_pass(cache, {"a": A_MAPPING}, listing({"a": "uuid-1"}, {}), failed=(), listed_at=cache._clock())
    await cache.reread("a")
    assert cache.snapshot.indices["a"].uuid == "uuid-1"
    reader.indices["a"] = C_MAPPING
    await cache.reread("a")
    assert cache.snapshot.indices["a"].uuid is None


async def test_slow_read_leaves_newer_entry(cache: MappingCache, reader: FakeReader, clock: FakeClock) -> None:
    """A read that was asked before a pass and lands after it may be older than the pass: it changes nothing."""
    reader.gate.clear()
    slow = asyncio.create_task(cache.reread("a"))
    await settle()
    clock.advance(2.0)
    await apply_pass(cache, {"a": C_MAPPING}, listing({}, {}), failed=(), listed_at=clock())
    reader.gate.set()
    await slow
    assert cache.snapshot.indices["a"].mapping_hash == mapping_hash(C_MAPPING)


async def test_source_of_published(cache: MappingCache, clock: FakeClock) -> None:
    """What came from the store says so and has the store's age, and the cache is warm by it."""
    assert not cache.warm
    state = StoredState(3.0, {"a": StoredIndex("u", mapping_hash(A_MAPPING))}, {}, {mapping_hash(A_MAPPING): A_MAPPING})
    await cache.apply_published(state, clock())
    answer = cache.peek("a")
    assert answer is not None
    assert (answer.source, answer.age_seconds) == (Source.STORE, 3.0)
    assert cache.warm


async def test_pass_replaces_everything(cache: MappingCache, clock: FakeClock) -> None:
    """A pass adds, changes and removes; it counts what changed, and confirms all as of its listing."""
    await apply_pass(
        cache, {"a": A_MAPPING, "b": B_MAPPING}, listing({}, {"old": ("a",)}), failed=(), listed_at=clock()
    )
    clock.advance(5.0)
    listed_at = clock()
    clock.advance(2.0)
    changes = await apply_pass(
        cache,
        {"a": C_MAPPING, "c": C_MAPPING},
        listing({"a": "u"}, {"new": ("a", "c")}),
        failed=(),
        listed_at=listed_at,
    )
    assert changes == PassChanges(changed_total=2, removed_total=1, names_total=2)
    assert set(cache.snapshot.indices) == {"a", "c"}
    assert dict(cache.snapshot.aliases) == {"new": ("a", "c")}
    assert cache.snapshot.indices["a"].uuid == "u"
    answer = cache.peek("a")
    assert answer is not None
    assert answer.age_seconds == 2.0
    assert await apply_pass(
        cache, {"a": C_MAPPING, "c": C_MAPPING}, listing({}, {}), failed=(), listed_at=clock()
    ) == PassChanges(0, 0, names_total=1)


async def test_pass_keeps_newer_entries(cache: MappingCache, reader: FakeReader, clock: FakeClock) -> None:
    """What was read while the pass ran is newer than the pass: it neither overwrites nor removes it."""
    listed_at = clock()
    clock.advance(1.0)
    await cache.get("a")
    await cache.get("b")
    changes = await apply_pass(cache, {"a": C_MAPPING}, listing({}, {}), failed=(), listed_at=listed_at)
    assert changes == PassChanges(0, 0)
    assert cache.snapshot.indices["a"].mapping_hash == mapping_hash(A_MAPPING)
    assert "b" in cache.snapshot.indices


async def test_pass_keeps_newer_aliases(cache: MappingCache, reader: FakeReader, clock: FakeClock) -> None:
    """The same for an alias: what a read found while the pass ran is newer than what the pass listed."""
    listed_at = clock()
    clock.advance(1.0)
    await cache.get("both")
    await apply_pass(cache, {"a": A_MAPPING}, listing({}, {"both": ("a",)}), failed=(), listed_at=listed_at)
    assert cache.snapshot.resolve("both") == ("a", "b")


async def test_pass_keeps_failed(cache: MappingCache, clock: FakeClock) -> None:
    """An index that could not be read stays as it was, with its age."""
    await apply_pass(cache, {"a": A_MAPPING, "b": B_MAPPING}, listing({}, {}), failed=(), listed_at=clock())
    clock.advance(12.0)
    changes = await apply_pass(cache, {"b": B_MAPPING}, listing({}, {}), failed=("a", "never-seen"), listed_at=clock())
    assert changes == PassChanges(0, 0)
    stale = cache.peek("a")
    assert stale is not None
    assert (stale.age_seconds, stale.freshness) == (12.0, Freshness.STALE)
    assert "never-seen" not in cache.snapshot.indices


async def test_stats(cache: MappingCache, clock: FakeClock) -> None:
    """The report is empty before anything is known, and then counts indices, distinct bodies, ages and stale ones."""
    empty = cache.report()
    assert (empty.warm, empty.indices, empty.oldest_age_seconds, empty.answers.hit_ratio) == (False, 0, None, None)
    await apply_pass(cache, {"a": A_MAPPING, "b": A_MAPPING}, listing({}, {"x": ("a",)}), failed=(), listed_at=clock())
    clock.advance(10.0)
    await apply_pass(cache, {"b": A_MAPPING}, listing({}, {"x": ("a",)}), failed=("a",), listed_at=clock())
    clock.advance(1.0)
    full = cache.report()
    assert (full.indices, full.aliases, full.distinct_mappings, full.body_bytes) == (2, 1, 1, len(A_MAPPING))
    assert (full.oldest_age_seconds, full.stale_indices) == (11.0, 1)
    assert repr(cache) == "<MappingCache 2 indices, 1 distinct mappings>"


async def test_hit_ratio(cache: MappingCache) -> None:
    """Hits over hits and misses, between 0 and 1."""
    for _ in range(4):
        await cache.get("a")
    assert cache.report().answers.hit_ratio == 0.75


@pytest.fixture
def empty_reader() -> FakeReader:
    return FakeReader()


async def test_absent_names_are_remembered(empty_reader: FakeReader, clock: FakeClock) -> None:
    """A name that doesn't exist isn't asked for again for a while, unless a pass has found it meanwhile."""
    cache = MappingCache(empty_reader, cache_config(negative_ttl=5.0), spawn, clock=clock)
    for _ in range(3):
        with pytest.raises(MappingNotFound):
            await cache.get("later")
    assert empty_reader.asked == ["later"]
    empty_reader.indices["later"] = A_MAPPING
    clock.advance(5.0)
    assert (await cache.get("later")).indices == ("later",)
    with pytest.raises(MappingNotFound):
        await cache.get("found")
    listing = Listing("cluster", {"found": "u"}, {}, frozenset())
    await cache.apply(Reading(listing, Mappings.from_bodies({"found": A_MAPPING}), clock()), ())
    assert (await cache.get("found")).source is Source.MEMORY


async def test_absent_names_are_bounded(empty_reader: FakeReader, clock: FakeClock) -> None:
    """Whoever asks for ever new names that don't exist takes a bounded place."""
    cache = MappingCache(empty_reader, cache_config(negative_ttl=5.0), spawn, clock=clock, max_absent=2)
    for name in ("x", "y", "z", "x"):
        clock.advance(1.0)  # past what the flight itself remembers
        with pytest.raises(MappingNotFound):
            await cache.get(name)
    assert empty_reader.asked == ["x", "y", "z", "x"]


async def test_the_least_used_is_dropped(empty_reader: FakeReader, clock: FakeClock) -> None:
    """Above max_bytes the mapping not asked for the longest is dropped; its index stays known, and is read when asked
    for.
    """
    empty_reader.indices = {"a": A_MAPPING, "b": B_MAPPING, "c": C_MAPPING}
    cache = MappingCache(empty_reader, cache_config(max_bytes=len(A_MAPPING) + len(B_MAPPING)), spawn, clock=clock)
    for name in ("a", "b", "a", "c"):
        clock.advance(1.0)
        await cache.get(name)
    assert set(cache.snapshot.bodies) == {mapping_hash(A_MAPPING), mapping_hash(C_MAPPING)}
    assert cache.report().evictions_total == 1
    assert set(cache.snapshot.indices) == {"a", "b", "c"}
    assert cache.peek("b") is None
    assert json.loads((await cache.get("b")).body) == {"b": {"mappings": json.loads(B_MAPPING)}}


async def test_larger_than_all_that_may_be_kept(empty_reader: FakeReader, clock: FakeClock) -> None:
    """What doesn't fit is answered all the same, each time from the cluster."""
    empty_reader.indices = {"a": A_MAPPING}
    cache = MappingCache(empty_reader, cache_config(max_bytes=len(A_MAPPING) - 1), spawn, clock=clock)
    for _ in range(2):
        answer = await cache.get("a")
        assert json.loads(answer.body) == {"a": {"mappings": json.loads(A_MAPPING)}}
        assert answer.source is Source.ELASTICSEARCH
    assert empty_reader.asked == ["a", "a"]


async def test_an_alias_of_nothing_is_absent(empty_reader: FakeReader, clock: FakeClock) -> None:
    """An alias none of whose indices may be shown is asked for once, as a name that doesn't exist."""
    empty_reader.cluster_aliases["empty"] = ()
    cache = MappingCache(empty_reader, cache_config(negative_ttl=5.0), spawn, clock=clock)
    for _ in range(3):
        clock.advance(1.0)  # past what the flight itself remembers
        with pytest.raises(MappingNotFound):
            await cache.get("empty")
    assert empty_reader.asked == ["empty"]
