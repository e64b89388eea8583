"""What descriptions need is made once per mapping in a thread, kept by bytes, and never of other mappings."""

import asyncio
import json
import threading
from collections.abc import Callable

import pytest

from cacheapp.cache import descriptions as module
from cacheapp.cache.derived import MappingViews
from cacheapp.cache.descriptions import SMALL_BUDGET_TOKENS, Descriptions
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.describe.description import MAX_QUESTION_CHARACTERS, describe
from cacheapp.describe.families import Summary, summary_of
from cacheapp.describe.fields import FieldIndex
from cacheapp.errors import MappingNotFound
from cacheapp.mapping.fields import Field
from cacheapp.state.visible import ALL_VISIBLE
from esassistant.errors import BadRequest, ClusterUnavailable
from tests.support.fakes import A_MAPPING, B_MAPPING, FakeClock, FakeReader, cache_config, spawn

AB_MAPPING = b'{"properties":{"a":{"type":"keyword"},"bee":{"type":"long"}}}'


class Made:
    """Descriptions over a cluster in memory, and in which threads what they need was made."""

    def __init__(self, **bounds: float) -> None:
        self.reader = FakeReader({"a-1": A_MAPPING, "a-2": A_MAPPING, "b": B_MAPPING})
        self.reader.cluster_aliases["a"] = ("a-1", "a-2")
        self.reader.cluster_aliases["both"] = ("a-1", "b")
        self.cache = MappingCache(self.reader, cache_config(), spawn, clock=FakeClock())
        views = MappingViews(self.cache, spawn)
        self.descriptions = Descriptions(self.cache, views, spawn, **bounds)  # type: ignore[arg-type]
        self.threads: list[int] = []

    async def text(self, name: str, budget_tokens: int = 1_000) -> str:
        return (await self.descriptions.describe(name, budget_tokens, "", ALL_VISIBLE))[1].text


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads in which indices for the ranking were made."""
    threads: list[int] = []

    class Counted(FieldIndex):
        def __init__(self, fields: tuple[Field, ...], indices_total: int, about: str = "") -> None:
            threads.append(threading.get_ident())
            super().__init__(fields, indices_total, about)

    monkeypatch.setattr(module, "FieldIndex", Counted)
    return threads


async def test_equal_mappings_share(counted: list[int]) -> None:
    """Each index is made once, off the loop; one with the same mapping needs none of its own."""
    made = Made()
    one = await asyncio.gather(*(made.text("a-1") for _ in range(5)))
    assert len(set(one)) == 1
    assert (await made.text("a-2")).replace("a-2", "a-1") == one[0]
    assert len(counted) == 1
    assert counted[0] != threading.get_ident()


async def test_more_indices_are_another_description(counted: list[int]) -> None:
    """The number of indices stands in it; of several mappings all are described together."""
    made = Made()
    assert (await made.text("a")).startswith("a: 2 indices, ")
    assert (await made.text("both")).startswith("both: 2 indices, ")
    assert await made.text("both") != await made.text("a")
    assert len(counted) == 2


async def test_a_changed_mapping_is_described_anew(counted: list[int]) -> None:
    """Its hash is another key."""
    made = Made()
    before = await made.text("b")
    made.reader.indices["b"] = AB_MAPPING
    await made.cache.reread("b")
    after = await made.text("b")
    assert before != after
    assert "bee" in after


async def test_they_are_kept_by_bytes(counted: list[int]) -> None:
    """Without room for two, the one that was asked for last stays."""
    made = Made(max_kept_bytes=1)
    for name in ("a-1", "a-1", "b", "a-1"):
        await made.text(name)
    assert len(counted) == 3
    assert len(made.descriptions._kept) == 1


async def test_a_large_budget_is_written_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small description is made right here: a thread would cost more."""
    made, threads = Made(), list[int]()
    original: Callable[..., object] = describe

    def described(*arguments: object) -> object:
        threads.append(threading.get_ident())
        return original(*arguments)

    monkeypatch.setattr(module, "describe", described)
    await made.text("a-1", SMALL_BUDGET_TOKENS)
    await made.text("a-1", SMALL_BUDGET_TOKENS + 1)
    assert threads[0] == threading.get_ident() != threads[1]


async def test_what_can_t_be_described_is_said() -> None:
    """Unknown names, and questions that are too long, whoever is asked."""
    made = Made()
    with pytest.raises(MappingNotFound):
        await made.text("absent")
    long = "a" * (MAX_QUESTION_CHARACTERS + 1)
    with pytest.raises(BadRequest):
        await made.descriptions.describe("a-1", 100, long, ALL_VISIBLE)
    with pytest.raises(BadRequest):
        await made.descriptions.describe_cluster(100, long, ALL_VISIBLE)
    with pytest.raises(ClusterUnavailable, match="first pass"):
        await made.descriptions.describe_cluster(100, "", ALL_VISIBLE)


async def warm(made: Made) -> None:
    """Have the cache know all names."""
    for name in ("a", "b"):
        await made.cache.get(name)
    made.cache.warm = True


async def test_the_cluster_is_summed_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each distinct mapping once, and only what is new later."""
    made, bodies = Made(), list[bytes]()

    def summed(body: bytes) -> Summary:
        bodies.append(body)
        return summary_of(body)

    monkeypatch.setattr(module, "summary_of", summed)
    await warm(made)
    first = (await made.descriptions.describe_cluster(1_000, "", ALL_VISIBLE))[1]
    again = (await made.descriptions.describe_cluster(1_000, "", ALL_VISIBLE))[1]
    assert first == again
    assert sorted(bodies) == sorted([A_MAPPING, B_MAPPING])
    made.reader.indices["b"] = AB_MAPPING
    await made.cache.reread("b")
    assert "bee" in (await made.descriptions.describe_cluster(1_000, "", ALL_VISIBLE))[1].text
    assert bodies[2:] == [AB_MAPPING]


async def test_ages_alone_change_no_family() -> None:
    """A snapshot with the same names keeps what ranks them."""
    made = Made()
    await warm(made)
    await made.descriptions.describe_cluster(1_000, "", ALL_VISIBLE)
    kept = made.descriptions._families
    made.cache.confirm_all(5.0)
    await made.descriptions.describe_cluster(1_000, "", ALL_VISIBLE)
    assert made.descriptions._families is kept


async def test_summaries_have_a_bound() -> None:
    """Beyond it families are told by their names; what left the cluster makes room."""
    made = Made(max_summaries_bytes=0)
    await warm(made)
    await made.descriptions.describe_cluster(1_000, "", ALL_VISIBLE)
    assert len(made.descriptions._summaries) == 1
    made.descriptions._summaries["gone"] = summary_of(AB_MAPPING)
    await made.descriptions.describe_cluster(1_000, "", ALL_VISIBLE)
    assert "gone" not in made.descriptions._summaries


async def test_who_asks_waits_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """While mappings are summed up, families are described by what is known of them; later by all."""
    made = Made(summary_seconds=0.01)
    may_go_on = threading.Event()

    def summed(body: bytes) -> Summary:
        may_go_on.wait(10)
        return summary_of(body)

    monkeypatch.setattr(module, "summary_of", summed)
    await warm(made)
    early = (await made.descriptions.describe_cluster(1_000, "", ALL_VISIBLE))[1]
    assert "fields" not in early.text
    may_go_on.set()
    async with asyncio.timeout(10):
        while "fields" not in (await made.descriptions.describe_cluster(1_000, "", ALL_VISIBLE))[1].text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_an_evicted_mapping_is_left_out() -> None:
    """A family whose mapping isn't in memory has its name alone."""
    made = Made()
    await warm(made)
    snapshot = made.cache.snapshot
    made.cache.snapshot = snapshot.without_bodies([snapshot.indices["b"].mapping_hash])
    lines = (await made.descriptions.describe_cluster(1_000, "", ALL_VISIBLE))[1].text.splitlines()
    assert "b" in lines
    assert json.dumps(lines).count("fields") == 1
