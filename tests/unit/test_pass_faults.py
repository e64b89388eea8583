"""Passes amid faults: what is withheld, what fails too often, what belongs to another cluster."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from cacheapp.cluster.reader import Sent, uncounted
from cacheapp.reports import Outcome
from cacheapp.sync.pass_runner import FAILURES_IN_A_ROW
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
)

Make = Callable[..., Instance]


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

    one.reader.mappings = mappings  # type: ignore[method-assign]
    report = await one.run()
    assert report.outcome is Outcome.PARTIAL
    assert [(failed.index, failed.error) for failed in report.errors] == [
        ("b", "listed, but its mapping was not given")
    ]
    assert mappings_of(one.cache, ["b"]) == {"b": withheld}


async def test_a_pass_gives_up(make: Make) -> None:
    """After some failures in a row the rest isn't asked for: each may have taken the whole timeout."""
    one = make(batch_size=1)
    one.reader.indices = {f"i{number:02}": A_MAPPING for number in range(100)}
    one.reader.broken = dict.fromkeys(one.reader.indices, no_answer())
    report = await one.run()
    assert report.outcome is Outcome.FAILED
    assert report.failed_total == 100
    assert len(one.reader.asked) < 2 * FAILURES_IN_A_ROW


async def test_another_clusters_state_is_ignored(make: Make) -> None:
    """What was published for another cluster is not taken over: by its URLs at first, by its uuid once ours is known."""
    one, other = make(), make()
    await other.run()
    published = one.store.published
    assert published is not None
    generation, at, state = published
    one.store.published = (generation, at, replace(state, cluster_urls="elsewhere"))
    await one.refresher.take_over()
    assert not one.cache.warm
    one.store.published = (generation + 1, at, state)
    await one.refresher.take_over()
    assert one.cache.warm
    one.store.published = (generation + 2, at, replace(state, cluster_uuid="another", indices={}))
    await one.refresher.take_over()
    assert "a" in one.cache.snapshot.indices
