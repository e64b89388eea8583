"""Misses that instances answer for each other: who reads, who waits, for how long, and what is not believed."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.errors import MappingNotFound
from cacheapp.reports import SharedAnswersReport
from cacheapp.state.published import StoredState
from cacheapp.state.readings import Listing, Mappings, Reading
from cacheapp.state.snapshot import Source, mapping_hash
from cacheapp.stores import shared_answers
from cacheapp.stores.shared_answers import (
    LONGEST_SHARED_SECONDS,
    PAUSES_SECONDS,
    WAIT_SECONDS,
    SharedAnswer,
    SharedReader,
)
from esassistant.errors import ClusterUnavailable, StoreUnavailable
from tests.support.fakes import (
    A_MAPPING,
    B_MAPPING,
    C_MAPPING,
    FakeClock,
    FakeReader,
    cache_config,
    no_answer,
    settle,
    spawn,
)

NOISE = 1.5


class MemoryAnswers:
    """`SharedAnswers` in memory. `down`: every call raises. `on_claim` is called before a claim is decided."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.down = False
        self.poisoned_total = 3
        self.calls: list[str] = []
        self.shared: dict[str, tuple[float, float, Mapping[str, bytes]]] = {}
        self.claims: dict[str, str] = {}
        self.on_claim: Callable[[], Any] = lambda: None

    async def _arrive(self, call: str) -> None:
        self.calls.append(call)
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("The store is down.")

    async def fetch(self, name: str) -> SharedAnswer | None:
        await self._arrive("fetch")
        if name not in self.shared or self.shared[name][1] <= self.clock():
            return None
        at, _, mappings = self.shared[name]
        return SharedAnswer(mappings, self.clock() - at)

    async def share(self, name: str, mappings: Mapping[str, bytes], age_seconds: float, ttl_seconds: float) -> None:
        await self._arrive("share")
        at = self.clock() - age_seconds
        self.shared[name] = (at, at + ttl_seconds, mappings)

    async def forget(self, name: str) -> None:
        await self._arrive("forget")
        self.shared.pop(name, None)

    async def claim(self, name: str, holder: str, ttl_seconds: float) -> bool:
        self.on_claim()
        claimed = self.claims.setdefault(name, holder) == holder
        await self._arrive("claim")
        return claimed

    async def release(self, name: str, holder: str) -> None:
        await self._arrive("release")
        if self.claims.get(name) == holder:
            del self.claims[name]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def answers(clock: FakeClock) -> MemoryAnswers:
    return MemoryAnswers(clock)


@pytest.fixture
async def reader() -> FakeReader:
    reader = FakeReader({"a": A_MAPPING, "b": B_MAPPING})
    reader.cluster_aliases["both"] = ("a", "b")
    return reader


class Instance:
    """One process' cache, which shares answers with others."""

    def __init__(self, reader: FakeReader, answers: MemoryAnswers | None, clock: FakeClock, **config: Any) -> None:
        settings = cache_config(**config)
        self.shared = SharedReader(answers, settings.ttl, clock=clock)
        self.cache = MappingCache(reader, settings, spawn, shared=self.shared, clock=clock)

    @property
    def stats(self) -> SharedAnswersReport:
        report = self.shared.stats()
        assert report is not None
        return report


@pytest.fixture
def one(reader: FakeReader, answers: MemoryAnswers, clock: FakeClock) -> Instance:
    return Instance(reader, answers, clock)


@pytest.fixture
def two(reader: FakeReader, answers: MemoryAnswers, clock: FakeClock) -> Instance:
    return Instance(reader, answers, clock)


async def test_a_miss_here_is_a_hit_there(one: Instance, two: Instance, reader: FakeReader, clock: FakeClock) -> None:
    """What one instance read, another answers without a call, as old as it is, and says where it comes from."""
    first = await one.cache.get("both")
    clock.advance(4.0)
    second = await two.cache.get("both")
    assert reader.asked == ["both"]
    assert (second.body, second.etag, second.indices) == (first.body, first.etag, first.indices)
    assert (first.source, second.source) == (Source.ELASTICSEARCH, Source.STORE)
    assert second.age_seconds == 4.0
    assert (await two.cache.get("a")).age_seconds == 4.0, "the indices of the alias are known too"
    assert (one.stats, two.stats) == (SharedAnswersReport(0, 0, 3), SharedAnswersReport(1, 0, 3))


async def test_concurrent_misses_are_one_read(one: Instance, two: Instance, reader: FakeReader) -> None:
    """Of instances that miss a name at once, one reads it and the others wait for that."""
    reader.gate.clear()
    callers = [asyncio.create_task(instance.cache.get("a")) for instance in (one, two) * 10]
    await asyncio.sleep(0.1)
    reader.gate.set()
    gathered = await asyncio.gather(*callers)
    assert len({answer.body for answer in gathered}) == 1
    assert reader.asked == ["a"]
    assert sorted((instance.stats.shared_waits_total, instance.stats.shared_hits_total) for instance in (one, two)) == [
        (0, 0),
        (1, 1),
    ]


async def test_claims_are_given_back(one: Instance, answers: MemoryAnswers) -> None:
    """After a read nobody has a claim, and what was read is there before the claim is given back."""
    await one.cache.get("a")
    assert answers.claims == {}
    assert answers.calls == ["fetch", "claim", "fetch", "share", "release"]


async def test_the_last_look(one: Instance, two: Instance, answers: MemoryAnswers, reader: FakeReader) -> None:
    """What another instance shares just before this one gets the claim is found all the same."""
    await one.cache.get("a")
    shared, answers.shared = answers.shared, {}
    answers.on_claim = lambda: answers.shared.update(shared)
    assert (await two.cache.get("a")).source is Source.STORE
    assert reader.asked == ["a"]
    assert answers.claims == {}


async def test_bounded_wait(
    one: Instance, answers: MemoryAnswers, reader: FakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for an instance that never answers asks the cluster itself after a while, and shares that."""
    answers.claims["a"] = "somebody who died"
    started = time.monotonic()
    assert (await one.cache.get("a")).source is Source.ELASTICSEARCH
    assert WAIT_SECONDS * 0.9 <= time.monotonic() - started < WAIT_SECONDS * NOISE
    assert reader.asked == ["a"]
    assert "a" in answers.shared
    assert answers.claims["a"] == "somebody who died"
    assert one.stats.shared_waits_total == 1


async def test_slow_looks_count(one: Instance, answers: MemoryAnswers, clock: FakeClock, reader: FakeReader) -> None:
    """The wait is bounded in time, not only in looks: a slow store doesn't make it longer."""
    answers.claims["a"] = "somebody who died"
    answers.on_claim = lambda: clock.advance(WAIT_SECONDS / 2)
    await one.cache.get("a")
    assert answers.calls.count("claim") == 2
    assert sum(PAUSES_SECONDS) <= WAIT_SECONDS


async def test_a_failed_reader_is_followed(one: Instance, two: Instance, reader: FakeReader) -> None:
    """When the instance that reads fails, one that waits tries next, at once."""
    reader.gate.clear()
    failing = asyncio.create_task(one.cache.get("a"))
    await settle()
    waiting = asyncio.create_task(two.cache.get("a"))
    await asyncio.sleep(0.05)
    reader.failure = no_answer()
    reader.gate.set()
    with pytest.raises(ClusterUnavailable):
        await failing
    reader.failure = None
    started = time.monotonic()
    assert (await waiting).source is Source.ELASTICSEARCH
    assert time.monotonic() - started < WAIT_SECONDS / 2


async def test_a_cancelled_reader_gives_its_claim_back(
    answers: MemoryAnswers, clock: FakeClock, reader: FakeReader
) -> None:
    """When the owner ends a read, the claim goes with it, also while it is only being asked for; no one waits for it."""
    shared = SharedReader(answers, 10.0, clock=clock)

    async def read() -> Any:
        await asyncio.Event().wait()

    for turns in (2, 6):
        answers.calls.clear()
        task = asyncio.create_task(shared.miss("a", read, since=0.0))
        for _ in range(turns):
            await asyncio.sleep(0)
        assert "a" in answers.claims
        assert (answers.calls[-1] == "claim") is (turns == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert answers.claims == {}


async def test_a_cancelled_waiter_takes_nothing_away(answers: MemoryAnswers, clock: FakeClock) -> None:
    """A wait that is ended leaves the other instance its claim."""
    answers.claims["a"] = "other"
    waiter = asyncio.create_task(SharedReader(answers, 10.0, clock=clock).miss("a", pytest.fail, since=0.0))
    await asyncio.sleep(0.1)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert answers.claims == {"a": "other"}


@pytest.mark.parametrize("after", range(6))
async def test_the_store_fails(one: Instance, answers: MemoryAnswers, reader: FakeReader, after: int) -> None:
    """A store that goes down at whatever step costs nobody the answer, and nobody waits."""
    arrive = answers._arrive

    async def fail_later(call: str) -> None:
        answers.down = len(answers.calls) >= after
        await arrive(call)

    answers._arrive = fail_later  # type: ignore[method-assign]
    started = time.monotonic()
    assert (await one.cache.get("a")).source is Source.ELASTICSEARCH
    assert time.monotonic() - started < WAIT_SECONDS / 2
    assert reader.asked == ["a"]
    assert one.cache.stats().answers.failures_total == 0


async def test_absent_names_are_not_shared(one: Instance, two: Instance, answers: MemoryAnswers) -> None:
    """A name that doesn't exist leaves no answer, no claim, and ends the one of before."""
    for instance in (one, two):
        with pytest.raises(MappingNotFound):
            await instance.cache.get("absent")
    assert (answers.shared, answers.claims) == ({}, {})


async def test_a_deleted_index_does_not_come_back(
    one: Instance, two: Instance, answers: MemoryAnswers, reader: FakeReader, clock: FakeClock
) -> None:
    """Once an instance has heard that an index is gone, no older answer makes it answer with it again."""
    await two.cache.get("a")
    older = dict(answers.shared)
    del reader.indices["a"]
    clock.advance(1.0)
    with pytest.raises(MappingNotFound):
        await two.cache.reread("a")
    assert answers.shared == {}, "others need not believe it any longer either"
    answers.shared = older
    with pytest.raises(MappingNotFound):
        await two.cache.get("a")
    assert (await one.cache.get("b")).indices == ("b",)


async def test_a_pass_outdates_answers(
    one: Instance, two: Instance, reader: FakeReader, answers: MemoryAnswers, clock: FakeClock
) -> None:
    """What was shared before this instance's last listing, or before it took over what others published, isn't
    believed.
    """
    await one.cache.get("a")
    clock.advance(1.0)
    await two.cache.apply(Reading(Listing("cluster", {}, {}, frozenset()), Mappings.of({}), clock()), ())
    assert (await two.cache.get("a")).source is Source.ELASTICSEARCH
    older, clock.now = dict(answers.shared), clock.now + 1.0
    three = Instance(reader, answers, clock)
    await three.cache.apply_published(StoredState(0.0, {}, {}, {}), clock())
    assert (await three.cache.get("a")).source is Source.ELASTICSEARCH
    answers.shared = older
    four = Instance(reader, answers, clock)
    assert (await four.cache.get("a")).source is Source.STORE


async def test_newer_knowledge_stays(one: Instance, two: Instance, reader: FakeReader, clock: FakeClock) -> None:
    """An index whose mapping this instance read later keeps it, though an older answer names it too."""
    await one.cache.get("both")
    clock.advance(1.0)
    reader.indices["a"] = C_MAPPING
    await two.cache.reread("a")
    answer = await two.cache.get("both")
    assert answer.source is Source.STORE
    assert two.cache.snapshot.indices["a"].mapping_hash == mapping_hash(C_MAPPING)


async def test_too_old_an_answer_is_none(
    answers: MemoryAnswers, reader: FakeReader, clock: FakeClock, one: Instance
) -> None:
    """What another instance with a longer TTL shared is no answer where it isn't fresh any more."""
    patient = Instance(reader, answers, clock, ttl=100.0)
    await patient.cache.get("a")
    clock.advance(10.1)
    assert (await one.cache.get("a")).source is Source.ELASTICSEARCH


async def test_revalidations_and_rereads_ask_the_cluster(
    one: Instance, two: Instance, reader: FakeReader, clock: FakeClock
) -> None:
    """A stale answer is renewed by the cluster, as is whatever is asked for anew; others may use what comes of it."""
    await one.cache.get("a")
    assert (await one.cache.reread("a")).source is Source.ELASTICSEARCH
    clock.advance(10.1)
    await one.cache.get("a")
    await settle()
    assert reader.asked == ["a"] * 3
    assert (await two.cache.get("a")).age_seconds == 0.0
    assert reader.asked == ["a"] * 3


async def test_reread_joins_no_shared_answer(
    one: Instance, two: Instance, reader: FakeReader, answers: MemoryAnswers, clock: FakeClock
) -> None:
    """A reread that joins a miss goes to the cluster when what ended the miss was another instance's older answer."""
    await one.cache.get("a")
    reader.indices["a"] = C_MAPPING
    missing = asyncio.create_task(two.cache.get("a"))
    rereading = asyncio.create_task(two.cache.reread("a"))
    assert (await missing).source is Source.STORE
    answer = await rereading
    assert (answer.source, answer.body) == (Source.ELASTICSEARCH, b'{"a":{"mappings":%b}}' % C_MAPPING)


@pytest.mark.parametrize(("ttl", "is_shared"), [(0.5, False), (1.0, True), (1e6, True)])
async def test_how_long(
    answers: MemoryAnswers, reader: FakeReader, clock: FakeClock, ttl: float, *, is_shared: bool
) -> None:
    """Answers are shared for as long as they are fresh, an hour at most, and not at all where that is very short."""
    instance = Instance(reader, answers, clock, ttl=ttl)
    await instance.cache.get("a")
    assert (instance.shared.stats() is not None) is is_shared
    assert [end - clock() for _, end, _ in answers.shared.values()] == (
        [min(ttl, LONGEST_SHARED_SECONDS)] if is_shared else []
    )


async def test_alone(reader: FakeReader, clock: FakeClock) -> None:
    """Without shared answers, as with the database store, every miss is read, and there is nothing to report."""
    alone = Instance(reader, None, clock)
    assert (await alone.cache.get("a")).source is Source.ELASTICSEARCH
    assert alone.shared.stats() is None


def test_claims_outlast_waits() -> None:
    """Nobody takes over a claim while those who came with it still wait for its holder."""
    assert shared_answers.CLAIM_SECONDS > WAIT_SECONDS
