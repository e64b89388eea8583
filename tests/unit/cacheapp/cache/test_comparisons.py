"""Two sides are compared from memory, by names or by hashes of mappings, within what a caller sees."""

import json
from typing import Any

import pytest

from cacheapp.cache.comparisons import compared
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.errors import IllegalName, MappingNotFound
from cacheapp.state.snapshot import mapping_hash
from cacheapp.state.visible import ALL_VISIBLE, Visible
from esassistant.http.answer import etag_of
from tests.support.fakes import A_MAPPING, B_MAPPING, FakeClock, FakeReader, cache_config, spawn
from tests.support.states import reading

HASH_A = mapping_hash(A_MAPPING)


@pytest.fixture
async def cache() -> MappingCache:
    indices = {"a-1": A_MAPPING, "a-2": A_MAPPING, "b": B_MAPPING}
    clock = FakeClock()
    cache = MappingCache(FakeReader(indices), cache_config(), spawn, clock=clock)
    await cache.apply(reading(clock(), indices, {"both": ("a-1", "b")}), ())
    clock.advance(3.0)
    return cache


async def ask(cache: MappingCache, a: str, b: str, visible: Visible = ALL_VISIBLE) -> Any:
    return json.loads((await compared(cache, a, b, visible)).body)


async def test_names(cache: MappingCache) -> None:
    """Indices and aliases, each with what it stands for; the answer has the age of the older, and a validator."""
    found = await compared(cache, "a-1", "both", ALL_VISIBLE)
    body = json.loads(found.body)
    assert body["a"] == {"name": "a-1", "indices_total": 1, "mapping_hashes": [HASH_A]}
    assert body["b"] == {"name": "both", "indices_total": 2, "mapping_hashes": [HASH_A, mapping_hash(B_MAPPING)]}
    assert body["differences"]["added_total"] == 1
    assert (found.age_seconds, found.etag) == (3.0, etag_of(found.body))


async def test_hashes(cache: MappingCache) -> None:
    """A hash stands for the mapping of the visible indices that have it."""
    body = await ask(cache, HASH_A, "b")
    assert body["a"] == {"name": HASH_A, "indices_total": 2, "mapping_hashes": [HASH_A]}
    assert (await ask(cache, HASH_A, HASH_A, Visible(("a-1",))))["a"]["indices_total"] == 1
    assert (await ask(cache, HASH_A, HASH_A, Visible(("both",))))["a"]["indices_total"] == 1


async def test_what_is_not_there(cache: MappingCache) -> None:
    """Names and mappings that a caller may not see are as absent as those that aren't there."""
    for a, b, visible in (
        ("a-1", "b", Visible(("a-*",))),
        (HASH_A, "b", Visible(("b",))),
        ("0" * 32, "b", ALL_VISIBLE),
        ("b", "nope", ALL_VISIBLE),
    ):
        with pytest.raises(MappingNotFound):
            await compared(cache, a, b, visible)
    with pytest.raises(IllegalName):
        await compared(cache, "a,,b", "b", ALL_VISIBLE)


async def test_lists_and_patterns(cache: MappingCache) -> None:
    """They stand for what they stand for in addresses, within what the caller sees."""
    body = await ask(cache, "a-*,-a-2", "b")
    assert body["a"] == {"name": "a-*,-a-2", "indices_total": 1, "mapping_hashes": [HASH_A]}
    with pytest.raises(MappingNotFound):
        await compared(cache, "a-*", "b", Visible(("b",)))
