"""Many names are filtered where nobody waits for it."""

import threading
from typing import Any

import pytest

from cacheapp.cache.mapping_cache import MANY_NAMES, MappingCache
from cacheapp.state.listing import NameFilter, Page, name_page
from cacheapp.state.visible import ALL_VISIBLE
from tests.support.fakes import A_MAPPING, FakeReader, cache_config, spawn
from tests.support.states import reading


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
