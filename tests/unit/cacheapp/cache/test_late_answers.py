"""Answers of the cluster that come after a pass that began later: the caller gets them with their age, what is known
stays.
"""

import asyncio

import pytest

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.state.answer import MappingAnswer
from cacheapp.state.snapshot import mapping_hash
from tests.support.fakes import A_MAPPING, B_MAPPING, C_MAPPING, FakeClock, FakeReader, cache_config, settle, spawn
from tests.support.states import reading

ASKED_AT = 1000.0
ROOM = len(A_MAPPING)


class Late:
    """A cache with room for one mapping, and a reader whose answers to single names are late."""

    def __init__(self) -> None:
        self.clock = FakeClock(ASKED_AT)
        self.reader = FakeReader()
        self.cache = MappingCache(self.reader, cache_config(max_bytes=ROOM), spawn, clock=self.clock)
        self._answered = asyncio.Event()

    async def ask(self, name: str, answer: dict[str, bytes]) -> "asyncio.Task[MappingAnswer]":
        """Asks the cache for what it has to read, which will be answered with `answer`."""

        async def late(name: str) -> dict[str, bytes]:
            await self._answered.wait()
            return answer

        self.reader.mapping = late  # type: ignore[method-assign]
        asking = asyncio.create_task(self.cache.get(name))
        await settle()
        self.clock.advance(1.0)
        return asking

    async def passed(self, indices: dict[str, bytes], aliases: dict[str, tuple[str, ...]] | None = None) -> None:
        """A pass that began after that ends before it."""
        await self.cache.apply(reading(self.clock(), indices, aliases), ())
        self.clock.advance(1.0)

    async def answered(self, asking: "asyncio.Task[MappingAnswer]") -> MappingAnswer:
        self._answered.set()
        answer = await asking
        assert answer.confirmed_at == ASKED_AT
        return answer

    def confirmed(self, name: str) -> MappingAnswer | None:
        """What is answered from memory for `name` after the cluster said that nothing changed since the pass."""
        self.clock.advance(1.0)
        self.cache.confirm_all(self.clock())
        return self.cache.peek(name)


@pytest.fixture
def late() -> Late:
    return Late()


async def test_a_deleted_index_does_not_come_back(late: Late) -> None:
    """An index that a pass found gone isn't known again by an older answer, or its age would be renewed for good."""
    asking = await late.ask("x", {"x": A_MAPPING})
    await late.passed({})
    assert (await late.answered(asking)).indices == ("x",)
    assert late.confirmed("x") is None
    assert dict(late.cache.snapshot.indices) == {}


async def test_a_removed_alias_does_not_come_back(late: Late) -> None:
    """No more does an alias, and its index stays what the pass found."""
    asking = await late.ask("x", {"a": A_MAPPING})
    await late.passed({"a": B_MAPPING})
    assert (await late.answered(asking)).indices == ("a",)
    assert late.confirmed("x") is None
    assert late.cache.snapshot.indices["a"].mapping_hash == mapping_hash(B_MAPPING)


async def test_an_older_mapping_does_not_replace_one_that_was_evicted(late: Late) -> None:
    """That a newer mapping isn't kept is no reason to take an older one for it."""
    asking = await late.ask("x", {"x": A_MAPPING})
    await late.passed({"x": C_MAPPING, "y": B_MAPPING})
    late.cache.snapshot = late.cache.snapshot.without_bodies([mapping_hash(C_MAPPING)])
    assert A_MAPPING in (await late.answered(asking)).body
    assert late.confirmed("x") is None
    assert late.cache.snapshot.indices["x"].mapping_hash == mapping_hash(C_MAPPING)


async def test_the_same_mapping_is_kept_again(late: Late) -> None:
    """An older answer with the mapping that is known, but not kept, gives the mapping back, and leaves its age."""
    asking = await late.ask("x", {"x": A_MAPPING})
    await late.passed({"x": A_MAPPING})
    late.cache.snapshot = late.cache.snapshot.without_bodies([mapping_hash(A_MAPPING)])
    late._answered.set()
    assert (await asking).confirmed_at == ASKED_AT + 1.0
    assert late.cache.snapshot.is_whole("x")


async def test_an_alias_that_is_newer_but_not_whole_is_answered(late: Late) -> None:
    """An alias that a pass found moved to an index whose mapping isn't kept is answered as it was read, not with
    404.
    """
    asking = await late.ask("x", {"a": A_MAPPING})
    await late.passed({"a": A_MAPPING, "b": B_MAPPING}, {"x": ("a", "b")})
    late.cache.snapshot = late.cache.snapshot.without_bodies([mapping_hash(B_MAPPING)])
    assert (await late.answered(asking)).indices == ("a",)
    assert late.cache.snapshot.aliases["x"] == ("a", "b")
