"""What the mapping cache does in a thread, because it would hold up the event loop."""

import asyncio
import json
import threading
from typing import Any

import pytest

from cacheapp.cache.mapping_cache import MANY_NAMES, MappingCache
from cacheapp.state.answer import LARGE_INDICES
from cacheapp.state.listing import NameFilter, Page, name_page
from cacheapp.state.readings import Listing, Mappings, Reading
from cacheapp.state.visible import ALL_VISIBLE
from tests.support.fakes import A_MAPPING, FakeClock, FakeReader, cache_config, spawn
from tests.support.states import reading


async def test_a_name_of_many_indices_is_rendered_in_a_thread() -> None:
    """An alias of very many indices is rendered off the loop, once for all who ask together, and kept from then on."""
    names = tuple(f"logs-{number:04}" for number in range(LARGE_INDICES + 1))
    clock = FakeClock()
    empty_reader = FakeReader(dict.fromkeys(names, A_MAPPING))
    empty_reader.cluster_aliases["logs"] = names
    cache = MappingCache(empty_reader, cache_config(), spawn, clock=clock)
    listing = Listing("cluster", {name: f"uuid-{name}" for name in names}, {"logs": names}, frozenset())
    await cache.apply(Reading(listing, Mappings.from_bodies(dict.fromkeys(names, A_MAPPING)), clock()), ())
    assert cache.ready("logs") is None
    assert cache.peek("logs") is not None  # that needs no rendering
    answers = await asyncio.gather(*(cache.get("logs") for _ in range(5)))
    assert {answer.indices for answer in answers} == {names}
    assert len({id(answer.body) for answer in answers}) == 1
    assert set(json.loads(answers[0].body)) == set(names)
    ready = cache.ready("logs")
    assert ready is not None
    assert ready.body is answers[0].body
    assert empty_reader.requests_total == 0
    assert cache.report().answers.hits_total == 6


@pytest.mark.parametrize(("names", "in_thread"), [(MANY_NAMES, False), (MANY_NAMES + 1, True)])
async def test_many_names_are_filtered_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, names: int, in_thread: bool
) -> None:
    """A filter that takes hardly any goes through all of them, each with fifty patterns."""
    threads: list[int] = []

    def seen(*arguments: Any, **options: Any) -> Page:
        threads.append(threading.get_ident())
        return name_page(*arguments, **options)

    monkeypatch.setattr("cacheapp.cache.mapping_cache.name_page", seen)
    reader = FakeReader({f"logs-{number}": A_MAPPING for number in range(names)})
    cache = MappingCache(reader, cache_config(), spawn)
    await cache.apply(reading(0.0, reader.indices), ())
    page = await cache.page(NameFilter("logs-1,logs-7*", visible=ALL_VISIBLE), limit=2, cursor=None)
    assert [one.name for one in page.names] == ["logs-1", "logs-7"]
    assert page.next_cursor is not None
    assert [thread != threading.get_ident() for thread in threads] == [in_thread]
