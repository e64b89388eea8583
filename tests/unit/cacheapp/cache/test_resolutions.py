"""What expressions stand for, kept while the names are the same."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

import cacheapp.cache.resolutions as module
from cacheapp.cache.resolutions import Resolutions
from cacheapp.state.expressions import LARGE_LOOKS, Expression, Resolved, resolve
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from cacheapp.state.visible import ALL_VISIBLE
from tests.support.fakes import spawn

SOME = Expression("a*", ALL_VISIBLE)


def snapshot(names_total: int = 3) -> Snapshot:
    names = [f"a{number}" for number in range(names_total)]
    return Snapshot(indices={name: IndexEntry(None, "a" * 32, 0.0, Source.ELASTICSEARCH) for name in names})


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """In which thread each expression was resolved."""
    resolved_in: list[int] = []
    original: Callable[[Snapshot, Expression], Resolved] = resolve

    def counted(known: Snapshot, expression: Expression) -> Resolved:
        resolved_in.append(threading.get_ident())
        return original(known, expression)

    monkeypatch.setattr(module, "resolve", counted)
    return resolved_in


async def test_it_is_resolved_once_for_the_same_names(threads: list[int]) -> None:
    """Ages don't matter; other names do, and what is listed without being known."""
    resolutions, known = Resolutions(spawn), snapshot()
    first = await resolutions.resolve(known, SOME)
    assert await resolutions.resolve(known, SOME) is first
    assert await resolutions.resolve(replace(known, confirmed_at=5.0), SOME) is first
    assert threads == [threading.get_ident()]
    assert (await resolutions.resolve(snapshot(2), SOME)).names == ("a0", "a1")
    assert (await resolutions.resolve(replace(known, listed=frozenset({"a9"})), SOME)).names == ("a0", "a1", "a2", "a9")
    assert (await resolutions.resolve(replace(known, closed=frozenset({"a0"})), SOME)).names == ("a1", "a2")
    assert len(threads) == 4


async def test_much_is_resolved_in_a_thread(threads: list[int]) -> None:
    """Many names, or many patterns."""
    resolutions = Resolutions(spawn)
    await resolutions.resolve(snapshot(LARGE_LOOKS + 1), SOME)
    known = snapshot(LARGE_LOOKS // 20)
    await resolutions.resolve(known, Expression(",".join(f"{number}*" for number in range(21)), ALL_VISIBLE))
    await resolutions.resolve(known, SOME)
    assert [ident == threading.get_ident() for ident in threads] == [False, False, True]


async def test_they_are_kept_by_bytes() -> None:
    """Whatever the expressions are."""
    resolutions, known = Resolutions(spawn, max_bytes=20_000), snapshot()
    for number in range(100):
        await resolutions.resolve(known, Expression(f"a*,{number}*", ALL_VISIBLE))
    assert resolutions._kept.kept_bytes <= 20_000
