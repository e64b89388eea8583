"""Names that Elasticsearch denies to this service's role: 404 where nobody lists them, else what is known of them."""

import pytest

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.errors import MappingNotFound, NotCovered
from cacheapp.state.readings import Mappings, Reading
from cacheapp.state.snapshot import Source
from esassistant.errors import ClusterUnavailable
from tests.support.fakes import A_MAPPING, FakeClock, FakeReader, cache_config, spawn

DENIAL = "this service's role lacks the index privilege view_index_metadata"


class DenyingReader(FakeReader):
    """Denies the names in `not_covered`, as security does to a role that doesn't cover them."""

    not_covered: frozenset[str] = frozenset()

    async def mapping(self, name: str) -> dict[str, bytes]:
        if name in self.not_covered:
            self.asked.append(name)
            denial = ClusterUnavailable(DENIAL, retry_after_seconds=30)
            raise NotCovered(name, denial) from denial
        return await super().mapping(name)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def reader() -> DenyingReader:
    return DenyingReader({"a": A_MAPPING})


@pytest.fixture
async def cache(reader: DenyingReader, clock: FakeClock) -> MappingCache:
    """Warm, and able to list."""
    cache = MappingCache(reader, cache_config(negative_ttl=5.0), spawn, clock=clock)

    async def read_listing() -> None:
        listed_at = clock()
        found = await reader.listing()
        await cache.apply(Reading(found, Mappings(), listed_at, frozenset(found.uuids)), ())

    cache.read_listing_by(read_listing)
    await read_listing()
    await cache.get("a")
    return cache


async def test_an_unknown_name(cache: MappingCache, reader: DenyingReader, clock: FakeClock) -> None:
    """A name that isn't listed is 404, says that the role may be why, and is asked for once per negative TTL."""
    reader.not_covered = frozenset({"foreign"})
    reader.asked.clear()
    for _ in range(5):
        with pytest.raises(MappingNotFound, match="named 'foreign', or this service's role in Elasticsearch"):
            await cache.get("foreign")
    assert reader.asked == ["foreign"]
    clock.advance(5.0)
    with pytest.raises(MappingNotFound):
        await cache.get("foreign")
    assert reader.asked == ["foreign"] * 2


async def test_a_known_name_that_is_still_listed(cache: MappingCache, reader: DenyingReader, clock: FakeClock) -> None:
    """A listed name whose mapping is denied is answered from memory while that may be, then 503 with the privilege."""
    reader.not_covered = frozenset({"a"})
    clock.advance(11)
    answer = await cache.reread("a")
    assert (answer.source, answer.age_seconds) == (Source.MEMORY, 11)
    clock.advance(60)
    with pytest.raises(ClusterUnavailable, match=DENIAL):
        await cache.reread("a")


async def test_a_known_name_that_is_not_listed_any_more(
    cache: MappingCache, reader: DenyingReader, clock: FakeClock
) -> None:
    """A role that was narrowed lists the name no longer: it goes."""
    reader.not_covered = frozenset({"a"})
    del reader.indices["a"]
    clock.advance(1)
    with pytest.raises(MappingNotFound, match="named 'a', or this service's role"):
        await cache.reread("a")
    assert cache.peek("a") is None


async def test_before_anything_was_listed(reader: DenyingReader, clock: FakeClock) -> None:
    """Until the cluster was listed a denial may be of every name there is: 503 that names the privilege."""
    cache = MappingCache(reader, cache_config(negative_ttl=5.0), spawn, clock=clock)
    reader.not_covered = frozenset({"a"})
    with pytest.raises(ClusterUnavailable, match=DENIAL):
        await cache.get("a")
