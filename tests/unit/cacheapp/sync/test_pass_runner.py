"""What a pass reads: everything, or what the listing says is other; what it does when batches fail."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.cluster.reader import Sent, uncounted
from cacheapp.errors import MappingNotFound
from cacheapp.reports import PassOutcome
from cacheapp.state.merge import PassChanges
from cacheapp.state.readings import Listing, Mappings, Reading
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from cacheapp.sync.pass_record import CHANGES, EVERYTHING, Pass, PassScope
from cacheapp.sync.pass_runner import (
    BAD_NAMES_IN_A_ROW,
    FAILURES_IN_A_ROW,
    MANY_INDICES,
    UNKNOWN_AGAIN_SECONDS,
    PassRunner,
)
from esassistant.clock import now_utc
from esassistant.config.model import MappingCacheConfig
from esassistant.errors import ClusterUnavailable
from tests.support.fakes import (
    A_MAPPING,
    B_MAPPING,
    C_MAPPING,
    FakeClock,
    FakeReader,
    Instance,
    MemoryStore,
    cache_config,
    mappings_of,
    no_answer,
    spawn,
)

Make = Callable[..., Instance]


def new_pass() -> Pass:
    return Pass("id", "test", FakeClock(), now_utc(), 0.0)


class NotingCache(MappingCache):
    """Keeps what passes apply to it."""

    def __init__(self, reader: FakeReader, config: MappingCacheConfig) -> None:
        super().__init__(reader, config, spawn, clock=FakeClock())
        self.readings: list[Reading] = []

    async def apply(self, reading: Reading, failed: Iterable[str]) -> PassChanges:
        self.readings.append(reading)
        return await super().apply(reading, failed)


class Passes:
    """Runs passes over a cache of its own; each method returns what the pass read."""

    def __init__(self, reader: FakeReader, **config: Any) -> None:
        self.cache = NotingCache(reader, cache_config(**config))
        self.runner = PassRunner(self.cache, reader, cache_config(**config), None, clock=FakeClock())

    async def everything(self, current: Pass) -> Reading:
        confirmed_at = await self.runner.run(current, EVERYTHING)
        reading = self.cache.readings[-1]
        assert confirmed_at == reading.listed_at
        return reading

    async def changes(self, current: Pass, known: Snapshot) -> Reading:
        self.cache.snapshot = known
        assert await self.runner.run(current, CHANGES) is None
        return self.cache.readings[-1]


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


async def test_everything(reader: FakeReader) -> None:
    """A full pass reads all mappings in batches, whatever is known, and leaves nothing alone."""
    current = new_pass()
    reading = await Passes(reader).everything(current)
    assert reader.asked == [("a", "b"), ("c", "d")]
    assert reading.mappings == Mappings.from_bodies(dict.fromkeys("abcd", A_MAPPING))
    assert (reading.left_alone, reading.listed_at) == (frozenset(), 1000.0)
    assert (current.indices_total, current.read_total, current.errors) == (4, 4, {})


@pytest.fixture
async def many() -> FakeReader:
    """A cluster of more indices than come in a moment."""
    return FakeReader({f"index-{number:03}": A_MAPPING for number in range(MANY_INDICES + 1)})


def expecting(reader: FakeReader, *names: str) -> tuple[Passes, list[set[str]]]:
    """Passes that read some names first; and what is known, by the time that the others are asked for."""
    passes, seen = Passes(reader, batch_size=4), list[set[str]]()

    async def first(_: Listing) -> Sequence[str]:
        return names

    original = reader.mappings

    async def mappings(asked: Sequence[str], sent: Sent = uncounted) -> dict[str, bytes]:
        seen.append(set(passes.cache.snapshot.indices))
        return await original(asked, sent)

    reader.mappings = mappings  # type: ignore[method-assign, assignment]
    passes.runner = PassRunner(passes.cache, reader, cache_config(batch_size=4), None, first=first, clock=FakeClock())
    return passes, seen


async def test_what_will_be_asked_for_is_read_first(many: FakeReader) -> None:
    """In its order, and answered before the rest is read; nothing is asked for twice, all of it is new."""
    passes, seen = expecting(many, "index-050", "index-007")
    current = new_pass()
    reading = await passes.everything(current)
    assert many.asked[0] == ("index-050", "index-007")
    assert seen[:2] == [set(), {"index-050", "index-007"}]
    asked = [name for names in many.asked for name in names]
    assert sorted(asked) == sorted(many.indices)
    assert set(reading.mappings.hashes) == set(many.indices)
    assert (reading.left_alone, current.changed_total, current.read_total) == (frozenset(), 101, 101)
    assert passes.cache.warm


async def test_what_fails_first_is_told_once(many: FakeReader) -> None:
    """A name that can't be read fails the pass for itself alone, and isn't asked for with the others again."""
    many.broken["index-050"] = no_answer()
    passes, _ = expecting(many, "index-050")
    current = new_pass()
    await passes.everything(current)
    assert current.errors.keys() == {"index-050"}
    assert len(passes.cache.snapshot.indices) == 100


async def test_no_order_where_it_does_not_matter(many: FakeReader) -> None:
    """Where mappings are known, or few are to be read, or nobody expects anything, the names are read by name."""
    passes, _ = expecting(many, "index-050")
    passes.cache.snapshot = known("index-000")
    await passes.everything(new_pass())
    assert many.asked[0][0] == "index-000"
    many.asked.clear()
    nothing_expected, _ = expecting(many)
    await nothing_expected.everything(new_pass())
    assert many.asked[0][0] == "index-000"
    few = FakeReader(dict.fromkeys("abcd", A_MAPPING))
    others, _ = expecting(few, "d")
    await others.everything(new_pass())
    assert few.asked[0][0] == "a"


async def test_an_unchanged_cluster_is_only_listed(reader: FakeReader) -> None:
    """A change pass over what is known asks for no mapping."""
    reading = await Passes(reader).changes(new_pass(), known(*"abcd"))
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
    reading = await Passes(reader).changes(new_pass(), snapshot)
    assert (reader.asked, set(reading.mappings.hashes), reading.left_alone) == ([("b",)], {"b"}, frozenset("acd")), why


async def test_what_the_cluster_does_not_count_is_read(reader: FakeReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that the listing has no count of (closed, recovering) may have changed: it is read, but again only after
    a while, as a whole cluster may be recovering; what waits is told.
    """
    listed = reader.listing

    async def listing(cluster_uuid: str | None = None, sent: Sent = uncounted) -> Listing:
        found = await listed(cluster_uuid, sent)
        return replace(found, field_counts={name: count for name, count in found.field_counts.items() if name != "c"})

    monkeypatch.setattr(reader, "listing", listing)
    await Passes(reader).changes(new_pass(), known(*"abcd"))  # with a count before
    assert reader.asked == [("c",)]
    for seconds, postponed in ((UNKNOWN_AGAIN_SECONDS - 1, 1001.0), (UNKNOWN_AGAIN_SECONDS + 1, None)):
        reader.asked.clear()
        current = new_pass()
        current.may_postpone = True
        recently = {**known(*"abd").indices, **known("c", field_count=None, confirmed_at=1000.0 - seconds).indices}
        passes = Passes(reader)
        reading = await passes.changes(current, replace(known(*"abcd"), indices=recently))
        assert (current.postponed_until, reader.asked) == (postponed, [] if postponed else [("c",)])
        assert ("c" in reading.left_alone) == bool(postponed)
        reader.asked.clear()
        await passes.runner.run(current, PassScope(changes_only=True, named=frozenset("c")))
        assert (current.postponed_until, reader.asked) == (None, [("c",)])  # what is named is never postponed


async def test_where_nothing_is_counted_nothing_is_read(reader: FakeReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that refuses all numbers of fields says of no index that it changed: only new and recreated ones are
    read.
    """
    listed = reader.listing

    async def listing(cluster_uuid: str | None = None, sent: Sent = uncounted) -> Listing:
        return replace(await listed(cluster_uuid, sent), field_counts={}, is_counted=False)

    monkeypatch.setattr(reader, "listing", listing)
    snapshot = replace(known(*"abc"), indices={**known(*"ab").indices, **known("c", uuid="another").indices})
    await Passes(reader).changes(new_pass(), snapshot)
    assert reader.asked == [("c", "d")]


async def test_gone_indices_are_neither_read_nor_left_alone(reader: FakeReader) -> None:
    """An index that is no longer listed is in nothing of what was read, so that it goes."""
    reading = await Passes(reader).changes(new_pass(), known(*"abcd", "gone"))
    assert (reader.asked, reading.left_alone) == ([], frozenset("abcd"))


async def test_matching(reader: FakeReader) -> None:
    """A pass over patterns reads what matches by name, by alias or by both, confirms nothing else, and refuses patterns
    that match nothing.
    """
    reader.cluster_aliases = {"logs": ("c", "elsewhere"), "other": ("d",)}
    passes, current = Passes(reader), new_pass()
    assert await passes.runner.run(current, PassScope(patterns=("a", "log*"))) is None
    assert (reader.asked, passes.cache.readings[-1].left_alone) == ([("a", "c")], frozenset("bd"))
    assert (current.read_total, current.outcome) == (2, PassOutcome.COMPLETED)
    with pytest.raises(MappingNotFound, match="No index, alias or data stream matches x, y"):
        await passes.runner.run(new_pass(), PassScope(patterns=("x", "y")))


async def test_a_failing_batch_is_split(reader: FakeReader) -> None:
    """Of a batch that fails each half is asked for again, down to the one mapping that is bad; that is asked for once
    more after all others, and once more.
    """
    reader.broken["c"] = no_answer()
    current = new_pass()
    reading = await Passes(reader, batch_size=4).everything(current)
    assert set(reading.mappings.hashes) == set("abd")
    assert current.errors == {"c": "Elasticsearch could not be reached."}
    assert reader.asked == [tuple("abcd"), tuple("abcd"), ("c", "d"), ("d",), ("c",), ("a", "b"), ("c",), ("c",)]


async def test_bad_names_beside_each_other() -> None:
    """Rolled-over indices with the same bad mapping don't take others with them; without end it isn't tried."""
    names = [f"i{number:03}" for number in range(300)]
    for bad, failed in ((names[100:130], 30), (names[:250], None)):
        reader = FakeReader(dict.fromkeys(names, A_MAPPING))
        reader.broken = dict.fromkeys(bad, no_answer())
        current = new_pass()
        await Passes(reader, batch_size=100).everything(current)
        assert failed in (None, len(current.errors))
        assert set(bad) <= set(current.errors)
        assert len(reader.asked) <= 6 * BAD_NAMES_IN_A_ROW


async def test_a_second_try_mends(reader: FakeReader) -> None:
    """A fault that passes leaves no trace: what failed at first is read, and there is no error."""
    reader.broken = {"a": no_answer(), "d": no_answer()}
    mappings = reader.mappings

    async def mend(names: Sequence[str], sent: Sent = uncounted) -> dict[str, bytes]:
        try:
            return await mappings(names, sent)
        finally:
            for name in names:
                reader.broken.pop(name, None)

    reader.mappings = mend  # type: ignore[method-assign]
    current = new_pass()
    reading = await Passes(reader, batch_size=1).everything(current)
    assert (set(reading.mappings.hashes), current.errors, current.read_total) == (set("abcd"), {}, 4)
    assert len(reader.asked) == 5  # both that failed were asked for again in one request


async def test_long_names_fit_the_second_try() -> None:
    """What failed in many batches doesn't become one request that is too long."""
    names = [f"{'n' * 200}{number:03}" for number in range(60)]
    reader = FakeReader(dict.fromkeys(names, A_MAPPING))
    reader.failure = None
    mappings, failed = reader.mappings, set[str]()

    async def fail_once(batch: Sequence[str], sent: Sent = uncounted) -> dict[str, bytes]:
        read = await mappings(batch, sent)
        if not failed.issuperset(batch) and len(failed) < 40:
            failed.update(batch)
            raise no_answer()
        return read

    reader.mappings = fail_once  # type: ignore[method-assign, assignment]
    current = new_pass()
    await Passes(reader, batch_size=10).everything(current)
    assert (current.errors, current.read_total) == ({}, 60)
    assert max(len(",".join(batch)) for batch in reader.asked) <= 3_800


async def test_it_gives_up() -> None:
    """When nothing but failures come back the rest isn't asked for, is named, and the pass has failed."""
    names = [f"i{number:02}" for number in range(60)]
    reader = FakeReader(dict.fromkeys(names, A_MAPPING))
    reader.broken = dict.fromkeys(names, no_answer())
    current = new_pass()
    with pytest.raises(ClusterUnavailable, match="No mapping could be read"):
        await Passes(reader, batch_size=1).everything(current)
    assert FAILURES_IN_A_ROW <= len(reader.asked) < FAILURES_IN_A_ROW + 4
    assert set(current.errors) == set(names)
    assert current.errors["i59"] == "not asked for: too many failures in a row before it"


async def test_deleted_while_it_is_read(reader: FakeReader) -> None:
    """An index that goes between listing and reading is no failure: it isn't listed any more."""
    mappings = reader.mappings

    async def delete(names: Sequence[str], sent: Sent = uncounted) -> dict[str, bytes]:
        reader.indices.pop("b", None)
        return await mappings(names, sent)

    reader.mappings = delete  # type: ignore[method-assign]
    current = new_pass()
    reading = await Passes(reader).everything(current)
    assert (set(reading.mappings.hashes), current.errors) == (set("acd"), {})


async def test_withheld_in_a_change_pass(reader: FakeReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that is listed but whose mapping isn't given is a failure in a change pass too; alone, it doesn't make
    the cluster unavailable: the watch would begin anew, for ever.
    """

    async def withhold(names: Sequence[str], sent: Sent = uncounted) -> dict[str, bytes]:
        sent()
        return {name: reader.indices[name] for name in names if name != "b"}

    monkeypatch.setattr(reader, "mappings", withhold)
    current = new_pass()
    reading = await Passes(reader).changes(current, known(*"cd"))
    assert (set(reading.mappings.hashes), reading.left_alone) == ({"a"}, frozenset("cd"))
    assert current.errors == {"b": "listed, but no mapping that can be read was given"}
    current = new_pass()
    assert (await Passes(reader).changes(current, known(*"acd"))).mappings.hashes == {}
    assert set(current.errors) == {"b"}


async def test_passes_at_once_count_their_own_requests(reader: FakeReader) -> None:
    """A change pass beside a full one: neither is told the other's."""
    passes, full, changes = Passes(reader, batch_size=2), new_pass(), new_pass()
    reader.gate.clear()
    both = asyncio.gather(passes.everything(full), passes.changes(changes, known(*"abcd")))
    await asyncio.sleep(0)
    reader.gate.set()
    await both
    assert (full.requests_total, changes.requests_total) == (3, 1)
    assert reader.requests_total == 4


@pytest.fixture
async def make() -> Make:
    """Makes instances that share one cluster of three indices, one store and one clock."""
    reader = FakeReader({"a": A_MAPPING, "b": B_MAPPING, "c": C_MAPPING})
    reader.cluster_aliases["all"] = ("a", "b", "c")
    clock = FakeClock()
    store = MemoryStore(clock)
    return lambda **config: Instance(reader, store, clock, config)


async def test_a_withheld_mapping_is_a_failure(make: Make) -> None:
    """An index that is listed, but whose mapping isn't in the answer, has not gone: it stays, and is named."""
    one = make()
    await one.run()
    withheld = one.reader.indices["b"]

    async def mappings(names: Sequence[str], sent: Sent = uncounted) -> dict[str, bytes]:
        sent()
        return {name: one.reader.indices[name] for name in names if name != "b"}

    one.reader.mappings = mappings  # type: ignore[method-assign, assignment]
    report = await one.run()
    assert report.outcome is PassOutcome.PARTIAL
    assert [(failed.index, failed.error) for failed in report.errors] == [
        ("b", "listed, but no mapping that can be read was given")
    ]
    assert mappings_of(one.cache, ["b"]) == {"b": withheld}


async def test_a_pass_gives_up(make: Make) -> None:
    """After some failures in a row the rest isn't asked for: each may have taken the whole timeout."""
    one = make(batch_size=1)
    one.reader.indices = {f"i{number:02}": A_MAPPING for number in range(100)}
    one.reader.broken = dict.fromkeys(one.reader.indices, no_answer())
    report = await one.run()
    assert report.outcome is PassOutcome.FAILED
    assert report.failed_total == 100
    assert len(one.reader.asked) < 2 * FAILURES_IN_A_ROW


async def test_another_clusters_state_is_ignored(make: Make) -> None:
    """What was published for another cluster is not taken over: by its URLs at first, by its uuid once ours is
    known.
    """
    one, other = make(), make()
    await other.run()
    published = one.store.published
    assert published is not None
    generation, at, state = published
    one.store.published = (generation, at, replace(state, cluster_urls="elsewhere"))
    one.reader.failure = no_answer()
    await one.sharing.take_over()
    assert not one.cache.warm
    one.store.published = (generation + 1, at, state)
    await one.sharing.take_over()
    assert one.cache.warm
    one.store.published = (generation + 2, at, replace(state, cluster_uuid="another", indices={}))
    await one.sharing.take_over()
    assert "a" in one.cache.snapshot.indices
