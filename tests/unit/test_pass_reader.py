"""What a pass reads: everything, or what the listing says is other; what it does when batches fail; when it is skipped."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from cacheapp.errors import WatchRefused
from cacheapp.metadata import Era, MetadataVersion
from cacheapp.pass_reader import BAD_NAMES_IN_A_ROW, FAILURES_IN_A_ROW, Mappings, PassReader
from cacheapp.passes import Pass
from cacheapp.reader import Listing
from cacheapp.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from cacheapp.stats import Outcome
from esassistant.clock import now_utc
from esassistant.errors import ClusterUnavailable
from esassistant.store import Lease
from tests.unit.fakes import (
    A_MAPPING,
    B_MAPPING,
    C_MAPPING,
    FakeClock,
    FakeReader,
    Instance,
    MemoryStore,
    cache_config,
    no_answer,
)

Make = Callable[..., Instance]


def new_pass() -> Pass:
    return Pass("id", "test", FakeClock(), now_utc(), 0.0)


def passes_of(reader: FakeReader, **config: Any) -> PassReader:
    return PassReader(reader, cache_config(**config), FakeClock())


def known(*names: str, **changes: Any) -> Snapshot:
    """A snapshot of indices as `FakeReader` lists them when their mapping is A's; `changes` of all their entries."""
    entry = IndexEntry("", mapping_hash(A_MAPPING), 1.0, Source.ELASTICSEARCH, 1)
    return Snapshot(
        {name: structs.replace(entry, **{"uuid": f"uuid-{name}", **changes}) for name in names},
        bodies={entry.mapping_hash: A_MAPPING},
        cluster_uuid="cluster",
    )


@pytest.fixture
async def reader() -> FakeReader:
    """A cluster of four indices with the same mapping."""
    return FakeReader(dict.fromkeys("abcd", A_MAPPING))


@pytest.fixture
async def make() -> Make:
    """Makes instances that share one cluster of three indices, one store and one clock."""
    reader = FakeReader({"a": A_MAPPING, "b": B_MAPPING, "c": C_MAPPING})
    clock = FakeClock()
    store = MemoryStore(clock)
    return lambda **config: Instance(reader, store, clock, config)


async def test_everything(reader: FakeReader) -> None:
    """A full pass reads all mappings in batches, whatever is known, and leaves nothing alone."""
    current = new_pass()
    reading = await passes_of(reader).everything(current)
    assert reader.asked == [("a", "b"), ("c", "d")]
    assert reading.mappings == Mappings.of(dict.fromkeys("abcd", A_MAPPING))
    assert (reading.left_alone, reading.listed_at) == (frozenset(), 1000.0)
    assert (current.indices_total, current.read_total, current.errors) == (4, 4, {})


async def test_an_unchanged_cluster_is_only_listed(reader: FakeReader) -> None:
    """A change pass over what is known asks for no mapping."""
    reading = await passes_of(reader).changes(new_pass(), known(*"abcd"))
    assert (reader.asked, reading.mappings, reading.left_alone) == ([], Mappings(), frozenset("abcd"))


@pytest.mark.parametrize(
    ("b", "why"),
    [
        (None, "new"),
        ({"uuid": "another"}, "created again"),
        ({"uuid": None}, "of unknown uuid"),
        ({"field_count": 2}, "with another number of fields"),
        ({"field_count": None}, "whose number of fields isn't known"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
async def test_changes(reader: FakeReader, b: dict[str, Any] | None, why: str) -> None:
    """A change pass reads the index that is other than what is known, and no more."""
    snapshot = (
        known(*"acd") if b is None else replace(known(), indices={**known(*"acd").indices, **known("b", **b).indices})
    )
    reading = await passes_of(reader).changes(new_pass(), snapshot)
    assert (reader.asked, set(reading.mappings.hashes), reading.left_alone) == ([("b",)], {"b"}, frozenset("acd")), why


async def test_what_the_cluster_does_not_count_is_read(reader: FakeReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that the listing has no count of (closed, recovering) may have changed: it is read, each time."""
    listed = reader.listing

    async def listing(cluster_uuid: str | None = None) -> Listing:
        found = await listed(cluster_uuid)
        return replace(found, field_counts={name: count for name, count in found.field_counts.items() if name != "c"})

    monkeypatch.setattr(reader, "listing", listing)
    for _ in range(2):
        await passes_of(reader).changes(new_pass(), known(*"abcd"))
    assert reader.asked == [("c",), ("c",)]


async def test_gone_indices_are_neither_read_nor_left_alone(reader: FakeReader) -> None:
    """An index that is no longer listed is in nothing of what was read, so that it goes."""
    reading = await passes_of(reader).changes(new_pass(), known(*"abcd", "gone"))
    assert (reader.asked, reading.left_alone) == ([], frozenset("abcd"))


async def test_a_failing_batch_is_split(reader: FakeReader) -> None:
    """Of a batch that fails each half is asked for again, down to the one mapping that is bad."""
    reader.broken["c"] = no_answer()
    current = new_pass()
    reading = await passes_of(reader, batch_size=4).everything(current)
    assert set(reading.mappings.hashes) == set("abd")
    assert current.errors == {"c": "Elasticsearch could not be reached."}
    assert sorted(reader.asked, key=len) == [("d",), ("c",), ("c", "d"), ("a", "b"), tuple("abcd"), tuple("abcd")]


async def test_bad_names_beside_each_other() -> None:
    """Rolled-over indices with the same bad mapping don't take others with them; without end it isn't tried."""
    names = [f"i{number:03}" for number in range(300)]
    for bad, failed in ((names[100:130], 30), (names[:250], None)):
        reader = FakeReader(dict.fromkeys(names, A_MAPPING))
        reader.broken = dict.fromkeys(bad, no_answer())
        current = new_pass()
        await passes_of(reader, batch_size=100).everything(current)
        assert failed in (None, len(current.errors))
        assert set(bad) <= set(current.errors)
        assert len(reader.asked) <= 6 * BAD_NAMES_IN_A_ROW


async def test_a_second_try_mends(reader: FakeReader) -> None:
    """A fault that passes leaves no trace: what failed at first is read, and there is no error."""
    reader.broken = {"a": no_answer(), "d": no_answer()}
    mappings = reader.mappings

    async def mend(names: Sequence[str]) -> dict[str, bytes]:
        try:
            return await mappings(names)
        finally:
            for name in names:
                reader.broken.pop(name, None)

    reader.mappings = mend  # type: ignore[method-assign]
    current = new_pass()
    reading = await passes_of(reader, batch_size=1).everything(current)
    assert (set(reading.mappings.hashes), current.errors, current.read_total) == (set("abcd"), {}, 4)
    assert len(reader.asked) == 5  # both that failed were asked for again in one request


async def test_long_names_fit_the_second_try() -> None:
    """What failed in many batches doesn't become one request that is too long."""
    names = [f"{'n' * 200}{number:03}" for number in range(60)]
    reader = FakeReader(dict.fromkeys(names, A_MAPPING))
    reader.failure = None
    mappings, failed = reader.mappings, set[str]()

    async def fail_once(batch: Sequence[str]) -> dict[str, bytes]:
        read = await mappings(batch)
        if not failed.issuperset(batch) and len(failed) < 40:
            failed.update(batch)
            raise no_answer()
        return read

    reader.mappings = fail_once  # type: ignore[method-assign, assignment]
    current = new_pass()
    await passes_of(reader, batch_size=10).everything(current)
    assert (current.errors, current.read_total) == ({}, 60)
    assert max(len(",".join(batch)) for batch in reader.asked) <= 3_800


async def test_it_gives_up() -> None:
    """When nothing but failures come back the rest isn't asked for, is named, and the pass has failed."""
    names = [f"i{number:02}" for number in range(60)]
    reader = FakeReader(dict.fromkeys(names, A_MAPPING))
    reader.broken = dict.fromkeys(names, no_answer())
    current = new_pass()
    with pytest.raises(ClusterUnavailable, match="No mapping could be read"):
        await passes_of(reader, batch_size=1).everything(current)
    assert FAILURES_IN_A_ROW <= len(reader.asked) < FAILURES_IN_A_ROW + 4
    assert set(current.errors) == set(names)
    assert current.errors["i59"] == "not asked for: too many failures in a row before it"


async def test_deleted_while_it_is_read(reader: FakeReader) -> None:
    """An index that goes between listing and reading is no failure: it isn't listed any more."""
    mappings = reader.mappings

    async def delete(names: Sequence[str]) -> dict[str, bytes]:
        reader.indices.pop("b", None)
        return await mappings(names)

    reader.mappings = delete  # type: ignore[method-assign]
    current = new_pass()
    reading = await passes_of(reader).everything(current)
    assert (set(reading.mappings.hashes), current.errors) == (set("acd"), {})


async def test_withheld_in_a_change_pass(reader: FakeReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that is listed but whose mapping isn't given is a failure in a change pass too; alone, it fails the
    pass.
    """

    async def withhold(names: Sequence[str]) -> dict[str, bytes]:
        return {name: reader.indices[name] for name in names if name != "b"}

    monkeypatch.setattr(reader, "mappings", withhold)
    current = new_pass()
    reading = await passes_of(reader).changes(current, known(*"cd"))
    assert (set(reading.mappings.hashes), reading.left_alone) == ({"a"}, frozenset("cd"))
    assert current.errors == {"b": "listed, but its mapping was not given"}
    with pytest.raises(ClusterUnavailable):
        await passes_of(reader).changes(new_pass(), known(*"acd"))


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
    instance.refresher._metadata = metadata
    return metadata  # type: ignore[no-any-return]


async def test_unchanged(make: Make) -> None:
    """While the metadata is the same a pass costs one request, renews all ages, and is published as a pass."""
    one = make()
    with_metadata(one)
    assert (await one.run()).outcome is Outcome.COMPLETED
    one.clock.advance(5.0)
    asked = len(one.reader.asked)
    report = await one.run()
    assert (report.outcome, report.requests_total, report.indices_total) == (Outcome.UNCHANGED, 1, 3)
    assert (len(one.reader.asked), report.published) == (asked, True)
    answer = one.cache.peek("a")
    assert answer is not None
    assert answer.age_seconds == 0.0
    assert one.refresher._due_in() == 240.0
    other = make()
    await other.refresher.take_over()
    taken = other.cache.peek("a")
    assert taken is not None
    assert taken.age_seconds == 0.0


async def test_changed_metadata_is_read(make: Make) -> None:
    """Another version, and the pass reads everything; it is looked for from the one after it."""
    one = make()
    metadata = with_metadata(one)
    await one.run()
    metadata.version = replace(metadata.version, number=9)
    assert [(await one.run()).outcome for _ in range(2)] == [Outcome.COMPLETED, Outcome.UNCHANGED]
    assert metadata.asked_from == [1, 8]


async def test_not_after_a_partial_pass(make: Make) -> None:
    """What could not be read is asked for by the next pass, though nothing changed in the cluster."""
    one = make()
    with_metadata(one)
    await one.run()
    one.refresher._version = None
    one.reader.broken["b"] = no_answer()
    assert (await one.run()).outcome is Outcome.PARTIAL
    one.reader.broken.clear()
    assert [(await one.run()).outcome for _ in range(2)] == [Outcome.COMPLETED, Outcome.UNCHANGED]


async def test_not_after_a_change_pass_with_failures(make: Make) -> None:
    """What a change pass could not read is mended by the next full pass."""
    one = make()
    with_metadata(one)
    await one.run()
    one.reader.indices |= {"d": A_MAPPING, "e": B_MAPPING}
    one.reader.broken["e"] = no_answer()
    assert await one.refresher.find_changes() == 1
    one.reader.broken.clear()
    assert (await one.run()).outcome is Outcome.COMPLETED
    assert "e" in one.cache.snapshot.indices


async def test_where_the_watch_is_refused_everything_is_read(make: Make) -> None:
    """A cluster that doesn't tell its version, from the start or all of a sudden, is read by every pass."""
    one = make()
    metadata = with_metadata(one)
    await one.run()
    metadata.failure = WatchRefused("not for you")
    assert [(await one.run()).outcome for _ in range(2)] == [Outcome.COMPLETED, Outcome.COMPLETED]


async def published_late(one: Instance, other: Instance, change: Callable[[], None]) -> None:
    """`other` reads the cluster; then it changes, `one` finds that by a change pass and publishes it; and then `other`
    publishes what it read before.
    """
    await one.run()
    await other.run()
    one.clock.advance(1.0)
    state = one.store.published
    assert state is not None
    one.clock.advance(1.0)
    change()
    await one.refresher.find_changes()
    lease = await one.store.lease("watch", "one", 30.0)
    assert isinstance(lease, Lease)
    assert await one.refresher.publish(lease)
    assert not one.refresher.is_ahead
    generation, _, _ = one.store.published or state
    one.store.published = (generation + 1, state[1], state[2])
    one.clock.advance(1.0)
    await one.refresher.take_over()


async def test_who_knows_more_than_was_published(make: Make) -> None:
    """An older state that another process publishes leaves what is newer here in place; it is ahead until published."""
    one, other = make(), make()
    await published_late(
        one, other, lambda: one.reader.indices.update(a=b'{"properties":{"x":{"type":"ip"},"y":{"type":"ip"}}}')
    )
    assert b'"y"' in one.cache.mappings(["a"])["a"]
    assert one.refresher.is_ahead
    lease = await one.store.lease("watch", "one", 30.0)
    assert isinstance(lease, Lease)
    assert await one.refresher.publish(lease)
    assert not one.refresher.is_ahead


async def test_an_overtaken_lease_publishes_nothing(make: Make) -> None:
    """What the holder of an overtaken lease knows isn't published, and the statistics say why."""
    one = make()
    lease = Lease("watch", 1, 10.0)
    assert not await one.refresher.publish(lease)
    await one.run()
    for holder in ("one", "other"):
        await one.store.lease("watch", holder, 10.0)
        one.clock.advance(11.0)
    assert not await one.refresher.publish(lease)
    assert one.refresher.stats().store_error is not None
    one.store.down = True
    assert not await one.refresher.publish(lease)


async def test_a_created_index_is_published_again(make: Make) -> None:
    """Who knows an index that the published state lacks, as it was made later, is ahead: others would not list it."""
    one, other = make(), make()
    await published_late(one, other, lambda: one.reader.indices.update(new=A_MAPPING))
    assert "new" in one.cache.snapshot.indices
    assert one.refresher.is_ahead


async def test_a_deleted_index_stays_deleted(make: Make) -> None:
    """What a later listing no longer had doesn't come back with an older state that another process published, and
    whoever listed it is ahead.
    """
    one, other = make(), make()
    one.reader.cluster_aliases["all"] = ("a", "b")

    def delete() -> None:
        del one.reader.indices["c"]
        del one.reader.cluster_aliases["all"]

    await published_late(one, other, delete)
    assert "c" not in one.cache.snapshot.indices
    assert "all" not in one.cache.snapshot.aliases
    assert one.refresher.is_ahead


async def test_what_the_watch_finds_reaches_who_ran_the_last_pass(make: Make) -> None:
    """A change that one process finds after another's pass is newer than that pass, also in the eyes of the latter."""
    one, other = make(), make()
    await one.run()
    one.clock.advance(5.0)
    await other.run()
    await one.refresher.take_over()
    one.clock.advance(5.0)
    one.reader.indices["a"] = b'{"properties":{"a":{"type":"keyword"},"b":{"type":"ip"}}}'
    assert await one.refresher.find_changes() == 1
    lease = await one.store.lease("watch", "one", 30.0)
    assert isinstance(lease, Lease)
    assert await one.refresher.publish(lease)
    await other.refresher.take_over()
    assert other.cache.mappings(["a"]) == one.cache.mappings(["a"])
