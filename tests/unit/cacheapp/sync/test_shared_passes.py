"""When a full pass is skipped, and what processes that share a store take over from each other."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cacheapp.cluster.metadata_version import Era, MetadataVersion
from cacheapp.cluster.reader import Sent, uncounted
from cacheapp.errors import MappingNotFound, WatchRefused
from cacheapp.reports import PassOutcome
from cacheapp.state.readings import Listing
from cacheapp.stores.protocol import Lease
from esassistant.elasticsearch.node_pool import at_one_node
from tests.support.fakes import (
    A_MAPPING,
    B_MAPPING,
    C_MAPPING,
    FakeClock,
    FakeReader,
    Instance,
    MemoryStore,
    mappings_of,
    no_answer,
    settle,
)

Make = Callable[..., Instance]


@pytest.fixture
async def make() -> Make:
    """Makes instances that share one cluster of three indices, one store and one clock."""
    reader = FakeReader({"a": A_MAPPING, "b": B_MAPPING, "c": C_MAPPING})
    clock = FakeClock()
    store = MemoryStore(clock)
    return lambda **config: Instance(reader, store, clock, config)


class FakeMetadata:
    """A cluster's metadata version: what `now` says and `is_still` compares with; `failure`: raised by both."""

    def __init__(self) -> None:
        self.version = MetadataVersion(Era("cluster", 1), 7, "state")
        self.requests_total = 0
        self.failure: Exception | None = None
        self.asked_from: list[int] = []

    def _arrive(self) -> None:
        self.requests_total += 1
        if self.failure is not None:
            raise self.failure

    async def now(self, at_least: int = 1) -> MetadataVersion:
        self._arrive()
        self.asked_from.append(at_least)
        return self.version

    async def is_still(self, version: MetadataVersion) -> bool:
        self._arrive()
        return version == self.version


def with_metadata(instance: Instance) -> FakeMetadata:
    metadata: Any = FakeMetadata()
    instance.runner._metadata = metadata
    return metadata  # type: ignore[no-any-return]


async def test_unchanged(make: Make) -> None:
    """While the metadata is the same a pass costs one request, renews all ages, and is published as a pass."""
    one = make()
    with_metadata(one)
    assert (await one.run()).outcome is PassOutcome.COMPLETED
    one.clock.advance(5.0)
    asked = len(one.reader.asked)
    report = await one.run()
    assert (report.outcome, report.requests_total, report.indices_total) == (PassOutcome.UNCHANGED, 1, 3)
    assert (len(one.reader.asked), report.published) == (asked, True)
    answer = one.cache.peek("a")
    assert answer is not None
    assert answer.age_seconds == 0.0
    assert one.schedule.next_pass_in() == 240.0
    other = make()
    await other.sharing.take_over()
    taken = other.cache.peek("a")
    assert taken is not None
    assert taken.age_seconds == 0.0


async def test_changed_metadata_is_read(make: Make) -> None:
    """Another version, and the pass reads everything; it is looked for from the one after it."""
    one = make()
    metadata = with_metadata(one)
    await one.run()
    metadata.version = replace(metadata.version, number=9)
    assert [(await one.run()).outcome for _ in range(2)] == [PassOutcome.COMPLETED, PassOutcome.UNCHANGED]
    assert metadata.asked_from == [1, 8]


@pytest.mark.parametrize("nodes_total", [3, None])
async def test_a_version_that_not_all_nodes_may_have(make: Make, nodes_total: int | None) -> None:
    """With several nodes, one of which may answer from older mappings, "unchanged" rests on a pass that began five
    seconds after the version was first seen.
    """
    one = make()
    metadata = with_metadata(one)
    one.reader.nodes_total = nodes_total
    for number in (7, 8):
        metadata.version = replace(metadata.version, number=number)
        outcomes = []
        for _ in range(4):
            outcomes.append((await one.run()).outcome)
            one.clock.advance(2.5)
        assert outcomes == [PassOutcome.COMPLETED] * 3 + [PassOutcome.UNCHANGED]


async def test_a_pass_that_moved_to_another_node(make: Make) -> None:
    """What was read at two nodes, one of which may lag behind, is no ground for "unchanged"."""
    one = make()
    with_metadata(one)
    with at_one_node() as pin:
        pin.moved = True
        await one.run()
    assert [(await one.run()).outcome for _ in range(2)] == [PassOutcome.COMPLETED, PassOutcome.UNCHANGED]


async def test_not_after_a_partial_pass(make: Make) -> None:
    """What could not be read is asked for by the next pass, though nothing changed in the cluster."""
    one = make()
    with_metadata(one)
    await one.run()
    one.runner._version = None
    one.reader.broken["b"] = no_answer()
    assert (await one.run()).outcome is PassOutcome.PARTIAL
    one.reader.broken.clear()
    assert [(await one.run()).outcome for _ in range(2)] == [PassOutcome.COMPLETED, PassOutcome.UNCHANGED]


async def test_not_after_a_change_pass_with_failures(make: Make) -> None:
    """What a change pass could not read is mended by the next full pass."""
    one = make()
    with_metadata(one)
    await one.run()
    one.reader.indices |= {"d": A_MAPPING, "e": B_MAPPING}
    one.reader.broken["e"] = no_answer()
    assert (await one.refresher.read_changes()).changes_total == 1
    one.reader.broken.clear()
    assert (await one.run()).outcome is PassOutcome.COMPLETED
    assert "e" in one.cache.snapshot.indices


async def test_not_after_a_read_that_adds_a_name(make: Make) -> None:
    """A name that a read adds was not there for the last full pass: the next one lists anew, at the same version."""
    one = make()
    metadata = with_metadata(one)
    await one.run()
    one.clock.advance(1.0)
    one.reader.indices["d"] = A_MAPPING
    await one.cache.get("d")
    assert [(await one.run()).outcome for _ in range(2)] == [PassOutcome.COMPLETED, PassOutcome.UNCHANGED]
    assert metadata.asked_from == [1, 7]


async def test_not_while_a_read_adds_a_name(make: Make) -> None:
    """The same when it is read while the full pass runs."""
    one = make()
    with_metadata(one)
    one.reader.gate.clear()
    started = await one.refresher.ask("api", limited=False)
    await settle()
    one.clock.advance(1.0)
    one.reader.indices["d"] = A_MAPPING
    reading = asyncio.create_task(one.cache.get("d"))
    await settle()
    one.reader.gate.set()
    assert started.id is not None
    await asyncio.gather(one.refresher.wait(started.id), reading)
    await settle()
    assert [(await one.run()).outcome for _ in range(2)] == [PassOutcome.COMPLETED, PassOutcome.UNCHANGED]


async def test_not_after_a_read_that_drops_a_name_in_any_process(make: Make) -> None:
    """A name that goes after a read denied it goes in every process, and no next pass says that nothing changed."""
    one, other = make(), make()
    for instance in (one, other):
        with_metadata(instance)
        await instance.run()
        assert (await instance.run()).outcome is PassOutcome.UNCHANGED
    await one.sharing.take_over()
    one.clock.advance(1.0)
    del one.reader.indices["b"]
    with pytest.raises(MappingNotFound):
        await one.cache.reread("b")
    await settle()
    await other.sharing.take_over()
    assert "b" not in one.cache.snapshot.indices.keys() | other.cache.snapshot.indices.keys()
    assert one.store.is_free("refresh")
    one.reader.indices["b"] = B_MAPPING
    one.clock.advance(1.0)
    for instance in (other, one):
        report = await instance.run()
        assert (report.outcome, report.indices_total) == (PassOutcome.COMPLETED, 3)
    assert (await one.run()).outcome is PassOutcome.UNCHANGED


@pytest.mark.parametrize("name", ["b", "all"])
async def test_not_after_a_read_that_denies_what_the_pass_lists(make: Make, name: str) -> None:
    """A node that lags behind denies a new name beside the first pass: the next one reads everything, and has it."""
    one = make()
    with_metadata(one)
    one.reader.cluster_aliases["all"] = ("a", "c")
    one.reader.gate.clear()
    started = await one.refresher.ask("api", limited=False)
    await settle()
    one.clock.advance(1.0)

    async def lagging(name: str) -> dict[str, bytes]:
        raise MappingNotFound(f"There is no {name}.")

    one.reader.mapping = lagging  # type: ignore[method-assign]
    with pytest.raises(MappingNotFound):
        await one.cache.get(name)
    one.reader.gate.set()
    assert started.id is not None
    await one.refresher.wait(started.id)
    await settle()
    one.clock.advance(1.0)
    assert [(await one.run()).outcome for _ in range(2)] == [PassOutcome.COMPLETED, PassOutcome.UNCHANGED]
    assert one.cache.peek(name) is not None


async def test_unchanged_though_a_read_adds_what_is_never_listed(make: Make) -> None:
    """A name that can be read but is never listed costs one pass that reads everything, not each of them."""
    one = make()
    with_metadata(one)
    await one.run()
    listed = one.reader.listing

    async def listing(cluster_uuid: str | None = None, sent: Sent = uncounted) -> Listing:
        found = await listed(cluster_uuid, sent)
        return replace(found, uuids={name: uuid for name, uuid in found.uuids.items() if name != "secret"})

    one.reader.listing = listing  # type: ignore[method-assign]
    one.reader.indices["secret"] = A_MAPPING
    outcomes = []
    for _ in range(3):
        one.clock.advance(20.0)
        assert (await one.cache.get("secret")).indices == ("secret",)
        await settle()
        one.clock.advance(1.0)
        outcomes.append((await one.run()).outcome)
    assert outcomes == [PassOutcome.COMPLETED, PassOutcome.UNCHANGED, PassOutcome.UNCHANGED]


async def test_where_the_watch_is_refused_everything_is_read(make: Make) -> None:
    """A cluster that doesn't tell its version, from the start or all of a sudden, is read by every pass."""
    one = make()
    metadata = with_metadata(one)
    await one.run()
    metadata.failure = WatchRefused("not for you")
    assert [(await one.run()).outcome for _ in range(2)] == [PassOutcome.COMPLETED, PassOutcome.COMPLETED]


async def published_late(one: Instance, other: Instance, change: Callable[[], None]) -> Lease:
    """`other` reads the cluster; then it changes, `one` finds that by a change pass and publishes it; and then `other`
    publishes what it read before. Returns the lease of `one`.
    """
    await one.run()
    await other.run()
    one.clock.advance(1.0)
    state = one.store.published
    assert state is not None
    one.clock.advance(1.0)
    change()
    await one.refresher.read_changes()
    lease = await one.store.lease("watch", "one", 30.0)
    assert isinstance(lease, Lease)
    assert await one.sharing.publish(lease)
    assert not await one.sharing.publish_if_ahead(lease)
    generation, _, _ = one.store.published or state
    one.store.published = (generation + 1, state[1], state[2])
    one.clock.advance(1.0)
    await one.sharing.take_over()
    return lease


async def test_what_did_not_reach_the_store_is_published_later(make: Make) -> None:
    """A change that is found while the store is away is not lost to the others until the next one: it is published once
    the store is back, and once.
    """
    one, other = make(), make()
    await one.run()
    await other.sharing.take_over()
    lease = await one.store.lease("watch", "one", 30.0)
    assert isinstance(lease, Lease)
    one.clock.advance(1.0)
    one.reader.indices["a"] = b'{"properties":{"x":{"type":"ip"},"y":{"type":"ip"}}}'
    assert (await one.refresher.read_changes()).changes_total == 1
    one.store.down = True
    assert not await one.sharing.publish(lease)
    assert not await one.sharing.publish_if_ahead(lease)
    one.store.down = False
    assert await one.sharing.publish_if_ahead(lease)
    assert not await one.sharing.publish_if_ahead(lease)
    await other.sharing.take_over()
    assert b'"y"' in mappings_of(other.cache, ["a"])["a"]


async def test_who_knows_more_than_was_published(make: Make) -> None:
    """An older state that another process publishes leaves what is newer here in place; it is ahead until published."""
    one, other = make(), make()
    lease = await published_late(
        one, other, lambda: one.reader.indices.update(a=b'{"properties":{"x":{"type":"ip"},"y":{"type":"ip"}}}')
    )
    assert b'"y"' in mappings_of(one.cache, ["a"])["a"]
    assert await one.sharing.publish_if_ahead(lease)
    assert not await one.sharing.publish_if_ahead(lease)


async def test_an_overtaken_lease_publishes_nothing(make: Make) -> None:
    """What the holder of an overtaken lease knows isn't published, and the statistics say why."""
    one = make()
    lease = Lease("watch", 1, 10.0)
    assert not await one.sharing.publish(lease)
    await one.run()
    for holder in ("one", "other"):
        await one.store.lease("watch", holder, 10.0)
        one.clock.advance(11.0)
    assert not await one.sharing.publish(lease)
    assert one.refresher.report().store_error is not None
    one.store.down = True
    assert not await one.sharing.publish(lease)


async def test_what_one_process_could_not_read_another_keeps(make: Make) -> None:
    """A process that listed a name but could not read it publishes that it is there: who has read it keeps it."""
    one, other = make(), make()
    other.store.down = True
    await other.run()
    other.store.down = False
    one.clock.advance(1.0)
    one.reader.broken["c"] = no_answer()
    report = await one.run()
    assert (report.outcome, report.published, set(one.cache.snapshot.indices)) == (
        PassOutcome.PARTIAL,
        True,
        {"a", "b"},
    )
    await other.sharing.take_over()
    assert mappings_of(other.cache, "abc") == {"a": A_MAPPING, "b": B_MAPPING, "c": C_MAPPING}
    lease = await other.store.lease("watch", "other", 30.0)
    assert isinstance(lease, Lease)
    assert await other.sharing.publish_if_ahead(lease)
    await one.sharing.take_over()
    assert mappings_of(one.cache, "c") == {"c": C_MAPPING}


async def test_a_created_index_is_published_again(make: Make) -> None:
    """Who knows an index that the published state lacks, as it was made later, is ahead: others would not list it."""
    one, other = make(), make()
    lease = await published_late(one, other, lambda: one.reader.indices.update(new=A_MAPPING))
    assert "new" in one.cache.snapshot.indices
    assert await one.sharing.publish_if_ahead(lease)


async def test_a_deleted_index_stays_deleted(make: Make) -> None:
    """What a later listing no longer had doesn't come back with an older state that another process published, and
    whoever listed it is ahead.
    """
    one, other = make(), make()
    one.reader.cluster_aliases["all"] = ("a", "b")

    def delete() -> None:
        del one.reader.indices["c"]
        del one.reader.cluster_aliases["all"]

    lease = await published_late(one, other, delete)
    assert "c" not in one.cache.snapshot.indices
    assert "all" not in one.cache.snapshot.aliases
    assert await one.sharing.publish_if_ahead(lease)


async def test_what_the_watch_finds_reaches_who_ran_the_last_pass(make: Make) -> None:
    """A change that one process finds after another's pass is newer than that pass, also in the eyes of the latter."""
    one, other = make(), make()
    await one.run()
    one.clock.advance(5.0)
    await other.run()
    await one.sharing.take_over()
    one.clock.advance(5.0)
    one.reader.indices["a"] = b'{"properties":{"a":{"type":"keyword"},"b":{"type":"ip"}}}'
    assert (await one.refresher.read_changes()).changes_total == 1
    lease = await one.store.lease("watch", "one", 30.0)
    assert isinstance(lease, Lease)
    assert await one.sharing.publish(lease)
    await other.sharing.take_over()
    assert mappings_of(other.cache, ["a"]) == mappings_of(one.cache, ["a"])
