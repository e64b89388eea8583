"""What the mapping cache holds is bounded: absent names in time and number, mappings in bytes."""

import asyncio
import json

import pytest

import cacheapp.cache.mapping_cache
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.errors import MappingNotFound
from cacheapp.state.answer import LARGE_INDICES
from cacheapp.state.readings import Listing, Mappings, Reading
from cacheapp.state.snapshot import Source, mapping_hash
from tests.support.fakes import A_MAPPING, B_MAPPING, C_MAPPING, FakeClock, FakeReader, cache_config, spawn


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader()


async def test_absent_names_are_remembered(reader: FakeReader, clock: FakeClock) -> None:
    """A name that doesn't exist isn't asked for again for a while, unless a pass has found it meanwhile."""
    cache = MappingCache(reader, cache_config(negative_ttl=5.0), spawn, clock=clock)
    for _ in range(3):
        with pytest.raises(MappingNotFound):
            await cache.get("later")
    assert reader.asked == ["later"]
    reader.indices["later"] = A_MAPPING
    clock.advance(5.0)
    assert (await cache.get("later")).indices == ("later",)
    with pytest.raises(MappingNotFound):
        await cache.get("found")
    listing = Listing("cluster", {"found": "u"}, {}, frozenset())
    await cache.apply(Reading(listing, Mappings.of({"found": A_MAPPING}), clock()), ())
    assert (await cache.get("found")).source is Source.MEMORY


async def test_absent_names_are_bounded(reader: FakeReader, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for ever new names that don't exist takes a bounded place."""
    monkeypatch.setattr(cacheapp.cache.mapping_cache, "MAX_ABSENT", 2)
    cache = MappingCache(reader, cache_config(negative_ttl=5.0), spawn, clock=clock)
    for name in ("x", "y", "z", "x"):
        clock.advance(1.0)  # past what the flight itself remembers
        with pytest.raises(MappingNotFound):
            await cache.get(name)
    assert reader.asked == ["x", "y", "z", "x"]


async def test_the_least_used_is_dropped(reader: FakeReader, clock: FakeClock) -> None:
    """Above max_bytes the mapping not asked for the longest is dropped; its index stays known, and is read when asked
    for.
    """
    reader.indices = {"a": A_MAPPING, "b": B_MAPPING, "c": C_MAPPING}
    cache = MappingCache(reader, cache_config(max_bytes=len(A_MAPPING) + len(B_MAPPING)), spawn, clock=clock)
    for name in ("a", "b", "a", "c"):
        clock.advance(1.0)
        await cache.get(name)
    assert set(cache.snapshot.bodies) == {mapping_hash(A_MAPPING), mapping_hash(C_MAPPING)}
    assert cache.stats().evictions_total == 1
    assert set(cache.snapshot.indices) == {"a", "b", "c"}
    assert cache.peek("b") is None
    assert json.loads((await cache.get("b")).body) == {"b": {"mappings": json.loads(B_MAPPING)}}


async def test_larger_than_all_that_may_be_kept(reader: FakeReader, clock: FakeClock) -> None:
    """What doesn't fit is answered all the same, each time from the cluster."""
    reader.indices = {"a": A_MAPPING}
    cache = MappingCache(reader, cache_config(max_bytes=len(A_MAPPING) - 1), spawn, clock=clock)
    for _ in range(2):
        answer = await cache.get("a")
        assert json.loads(answer.body) == {"a": {"mappings": json.loads(A_MAPPING)}}
        assert answer.source is Source.ELASTICSEARCH
    assert reader.asked == ["a", "a"]


async def test_an_alias_of_nothing_is_absent(reader: FakeReader, clock: FakeClock) -> None:
    """An alias none of whose indices may be shown is asked for once, as a name that doesn't exist."""
    reader.cluster_aliases["empty"] = ()
    cache = MappingCache(reader, cache_config(negative_ttl=5.0), spawn, clock=clock)
    for _ in range(3):
        clock.advance(1.0)  # past what the flight itself remembers
        with pytest.raises(MappingNotFound):
            await cache.get("empty")
    assert reader.asked == ["empty"]


async def test_a_name_of_many_indices_is_rendered_in_a_thread(clock: FakeClock) -> None:
    """An alias of very many indices is rendered off the loop, once for all who ask together, and kept from then on."""
    names = tuple(f"logs-{number:04}" for number in range(LARGE_INDICES + 1))
    reader = FakeReader(dict.fromkeys(names, A_MAPPING))
    reader.cluster_aliases["logs"] = names
    cache = MappingCache(reader, cache_config(), spawn, clock=clock)
    listing = Listing("cluster", {name: f"uuid-{name}" for name in names}, {"logs": names}, frozenset())
    await cache.apply(Reading(listing, Mappings.of(dict.fromkeys(names, A_MAPPING)), clock()), ())
    assert cache.ready("logs") is None
    assert cache.peek("logs") is None
    answers = await asyncio.gather(*(cache.get("logs") for _ in range(5)))
    assert {answer.indices for answer in answers} == {names}
    assert len({id(answer.body) for answer in answers}) == 1
    assert set(json.loads(answers[0].body)) == set(names)
    ready = cache.ready("logs")
    assert ready is not None
    assert ready.body is answers[0].body
    assert reader.requests_total == 0
    assert cache.stats().answers.hits_total == 6
