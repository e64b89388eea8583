"""What is derived from mappings: made once per state of a mapping, kept for a while, never longer than the mapping."""

import asyncio
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from cacheapp.cache import derived as module
from cacheapp.cache.derived import KEPT, MappingViews
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.errors import MappingNotFound
from cacheapp.mapping.fields import MAX_QUERY_CHARACTERS, fields
from cacheapp.mapping.schema import json_schema
from esassistant.errors import BadRequest
from tests.support.fakes import A_MAPPING, B_MAPPING, FakeClock, FakeReader, cache_config, spawn

AB_MAPPING = b'{"properties":{"a":{"type":"keyword"},"bee":{"type":"long"}}}'


@dataclass
class Made:
    """Views over a cluster in memory, and how often each kind was computed, in which threads."""

    reader: FakeReader
    clock: FakeClock
    views: MappingViews
    cache: MappingCache
    schemas: list[str] = field(default_factory=list)
    fields_total: int = 0
    threads: set[int] = field(default_factory=set)


@pytest.fixture
async def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    reader, clock = FakeReader({"a": A_MAPPING, "b": B_MAPPING}), FakeClock()
    reader.cluster_aliases["both"] = ("a", "b")
    cache = MappingCache(reader, cache_config(), spawn, clock=clock)
    made = Made(reader, clock, MappingViews(cache, spawn), cache)

    def counted_schema(name: str, mappings: Mapping[str, bytes]) -> Any:
        made.schemas.append(name)
        made.threads.add(threading.get_ident())
        return json_schema(name, mappings)

    def counted_fields(mappings: Mapping[str, bytes]) -> Any:
        made.fields_total += 1
        return fields(mappings)

    monkeypatch.setattr(module, "json_schema", counted_schema)
    monkeypatch.setattr(module, "fields", counted_fields)
    return made


async def test_a_schema_is_kept(made: Made) -> None:
    """The second time it comes from memory, with the same ETag, which isn't that of the mapping itself."""
    first, second = await made.views.schema("a"), await made.views.schema("a")
    assert made.schemas == ["a"]
    assert first.body == second.body
    assert first.etag == second.etag != (await made.cache.get("a")).etag
    assert "a" in json.loads(first.body)["properties"]


async def test_the_loop_goes_on(made: Made) -> None:
    """A view is computed in a thread of its own."""
    await made.views.schema("a")
    assert made.threads != {threading.get_ident()}


async def test_all_who_wait_share_one_computation(made: Made) -> None:
    """Twenty who ask at once get what was computed once, though the one who asked first left."""
    await made.cache.get("a")
    leader = asyncio.create_task(made.views.schema("a"))
    await asyncio.sleep(0)
    waiters = [asyncio.create_task(made.views.schema("a")) for _ in range(20)]
    await asyncio.sleep(0)
    leader.cancel()
    answers = await asyncio.gather(*waiters)
    assert made.schemas == ["a"]
    assert len({answer.body for answer in answers}) == 1


async def test_a_changed_mapping_is_another_view(made: Made) -> None:
    """When the mapping changes the next view is made of the new one, with another ETag."""
    before = await made.views.schema("a"), await made.views.fields("a", "")
    made.reader.indices["a"] = AB_MAPPING
    await made.cache.reread("a")
    after = await made.views.schema("a"), await made.views.fields("a", "")
    assert [answer.etag for answer in before] != [answer.etag for answer in after]
    assert not {answer.etag for answer in before} & {answer.etag for answer in after}
    assert (made.schemas, made.fields_total) == (["a", "a"], 2)
    assert json.loads(after[1].body)["total"] == 2


async def test_an_unchanged_mapping_is_not_computed_again(made: Made) -> None:
    """Read anew but still the same: the view stays, its age is that of the mapping."""
    await made.views.schema("a")
    made.clock.advance(5.0)
    assert (await made.views.schema("a")).age_seconds == 5.0
    await made.cache.reread("a")
    assert (await made.views.schema("a")).age_seconds == 0.0
    assert made.schemas == ["a"]


async def test_searches_share_the_list(made: Made) -> None:
    """Different searches take the list of fields apart once; each result has an ETag of its own."""
    made.reader.indices["a"] = AB_MAPPING
    everything, found = await made.views.fields("a", ""), await made.views.fields("a", "bee")
    assert made.fields_total == 1
    assert (json.loads(everything.body)["total"], json.loads(found.body)["total"]) == (2, 1)
    assert everything.etag != found.etag


async def test_kept_views_are_bounded(made: Made) -> None:
    """At most so many are kept; those asked for lately stay, the one not asked for the longest goes."""
    made.reader.indices |= {f"i{number:03}": A_MAPPING for number in range(KEPT)}
    await made.views.schema("a")
    for number in range(KEPT - 1):
        await made.views.schema(f"i{number:03}")
    await made.views.schema("a")
    await made.views.schema(f"i{KEPT - 1:03}")
    assert len(made.views._schemas._kept) == KEPT
    made.schemas.clear()
    await made.views.schema("a")
    assert made.schemas == []
    await made.views.schema("i000")
    assert made.schemas == ["i000"]


async def test_an_alias_and_an_unknown_name(made: Made) -> None:
    """An alias has a view of all its indices; a name that doesn't exist has none, and nothing is computed."""
    both = await made.views.fields("both", "")
    assert (json.loads(both.body)["total"], both.indices) == (2, ("a", "b"))
    with pytest.raises(MappingNotFound):
        await made.views.schema("nowhere")
    assert made.schemas == []


async def test_a_failed_computation_is_not_kept(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that could not be made is tried again, once its failure is no longer remembered."""

    def fail(name: str, mappings: Mapping[str, bytes]) -> Any:
        raise RuntimeError("unforeseen")

    with monkeypatch.context() as patched:
        patched.setattr(module, "json_schema", fail)
        with pytest.raises(RuntimeError):
            await made.views.schema("a")
    assert len(made.views._schemas._kept) == 0
    made.views._schemas._flights._failures.clear()
    assert (await made.views.schema("a")).body


async def test_a_search_is_bounded(made: Made) -> None:
    """More than a person types is refused: each word is looked for in each field."""
    assert b'"total":0' in (await made.views.fields("a", "x" * MAX_QUERY_CHARACTERS)).body
    with pytest.raises(BadRequest, match="at most 200 characters"):
        await made.views.fields("a", "x" * (MAX_QUERY_CHARACTERS + 1))
