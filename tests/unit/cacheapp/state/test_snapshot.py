"""The snapshot: one copy per distinct mapping, and what is newer stays when processes share."""

from typing import Any

import pytest

from cacheapp.state.merge import to_publish, with_published
from cacheapp.state.published import StoredIndex, StoredState
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from tests.support.fakes import A_MAPPING, B_MAPPING, C_MAPPING

A, B, C = map(mapping_hash, (A_MAPPING, B_MAPPING, C_MAPPING))


def entry(known: str, confirmed_at: float = 100.0, uuid: str | None = "u") -> IndexEntry:
    return IndexEntry(uuid, known, confirmed_at, Source.ELASTICSEARCH)


def snapshot(**indices: IndexEntry) -> Snapshot:
    """Indices by name, with their bodies, and an alias over all of them."""
    bodies = {mapping_hash(body): body for body in (A_MAPPING, B_MAPPING, C_MAPPING)}
    return Snapshot().changed(indices, bodies, aliases={"all": tuple(indices)})


def published(age: float, bodies: dict[str, bytes], aliases: Any = None, **indices: StoredIndex) -> StoredState:
    return StoredState(age, indices, aliases or {}, bodies)


def test_one_copy_per_distinct_mapping() -> None:
    """Indices with equal mappings share one body."""
    shared = snapshot(a=entry(A), b=entry(A), c=entry(B))
    assert dict(shared.bodies) == {A: A_MAPPING, B: B_MAPPING}
    assert shared.body_bytes == len(A_MAPPING) + len(B_MAPPING)


def test_equal_bytes_equal_hash() -> None:
    """The hash depends on the bytes alone, and differs where they do."""
    assert mapping_hash(A_MAPPING) == mapping_hash(bytes(bytearray(A_MAPPING)))
    assert len({A, B, C}) == 3
    assert len(A) == 32


def test_unreferenced_bodies_are_dropped() -> None:
    """A body goes with the last index that has it, whether that was removed or got another mapping."""
    before = snapshot(a=entry(A), b=entry(A), c=entry(B))
    one_left = before.changed({}, {}, removed=["a"])
    assert set(one_left.bodies) == {A, B}
    none_left = one_left.changed({"b": entry(B)}, {})
    assert set(none_left.bodies) == {B}


def test_change_leaves_original() -> None:
    """`changed` gives a new snapshot; whoever holds the old one sees nothing of it, and nobody can write into either."""
    before = snapshot(a=entry(A))
    after = before.changed(
        {"b": entry(B)}, {B: B_MAPPING}, removed=["a", "unknown"], removed_aliases=["all", "unknown"]
    )
    assert set(before.indices) == {"a"}
    assert dict(before.aliases) == {"all": ("a",)}
    assert set(after.indices) == {"b"}
    assert dict(after.aliases) == {}
    for mapping in (after.indices, after.aliases, after.bodies):
        with pytest.raises(TypeError):
            mapping["x"] = None  # type: ignore[index]


def test_resolve() -> None:
    """An index stands for itself, an alias for its indices; unknown names and incomplete aliases for nothing."""
    known = snapshot(a=entry(A), b=entry(B)).changed({}, {}, aliases={"half": ("a", "gone")})
    assert known.resolve("a") == ("a",)
    assert known.resolve("all") == ("a", "b")
    assert known.resolve("half") is None
    assert known.resolve("unknown") is None


def test_publish_round_trip() -> None:
    """What one process publishes and another takes over has the same indices, aliases, bodies and moments."""
    sent = snapshot(a=entry(A, 100.0), b=entry(B, 40.0, None))
    state = to_publish(sent, pass_at=100.0, now=130.0, cluster_urls="urls")
    assert state.age_seconds == 30.0
    received = with_published(Snapshot(), state, now=5000.0)
    assert received.indices == {
        "a": IndexEntry("u", A, 4970.0, Source.STORE),
        "b": IndexEntry(None, B, 4910.0, Source.STORE),
    }
    assert received.aliases == sent.aliases
    assert received.bodies == sent.bodies


def test_what_pass_confirmed_needs_no_age() -> None:
    """An index is published with an age of its own unless the pass confirmed it: older or newer."""
    state = to_publish(
        snapshot(a=entry(A, 100.0), b=entry(B, 110.0), c=entry(C, 99.0)), pass_at=100.0, now=130.0, cluster_urls="urls"
    )
    assert {name: stored.age_seconds for name, stored in state.indices.items()} == {"a": None, "b": 20.0, "c": 31.0}


def test_later_confirmation_stays() -> None:
    """An entry that this process confirmed after the publisher's pass stays, an earlier one is replaced."""
    mine = snapshot(newer=entry(A, 95.0), older=entry(A, 85.0))
    state = published(10.0, {B: B_MAPPING}, newer=StoredIndex("v", B), older=StoredIndex("v", B))
    merged = with_published(mine, state, now=100.0)
    assert merged.indices["newer"] == mine.indices["newer"]
    assert merged.indices["older"] == IndexEntry("v", B, 90.0, Source.STORE)


def test_own_age_of_stored_index_counts() -> None:
    """An index that the publisher itself had from earlier is compared by its own age, not by that of the state."""
    mine = snapshot(a=entry(A, 85.0))
    state = published(10.0, {B: B_MAPPING}, a=StoredIndex("v", B, age_seconds=20.0))
    assert with_published(mine, state, now=100.0).indices["a"] == mine.indices["a"]


def test_absent_indices_go() -> None:
    """What the publisher did not find is gone, unless it was confirmed here after the publisher looked."""
    mine = snapshot(created=entry(A, 95.0), deleted=entry(A, 85.0))
    merged = with_published(mine, published(10.0, {}), now=100.0)
    assert set(merged.indices) == {"created"}


def test_aliases_are_replaced() -> None:
    """Aliases of the published state replace those known before."""
    mine = snapshot(a=entry(A, 85.0)).changed({}, {}, aliases={"old": ("a",), "both": ("a",)})
    state = published(10.0, {}, {"both": ("a", "b"), "new": ("a",)}, a=StoredIndex("u", A))
    assert with_published(mine, state, now=100.0).aliases == {"both": ("a", "b"), "new": ("a",)}


def test_known_body_is_used() -> None:
    """The store leaves out bodies that the receiver has; those are taken from its own snapshot."""
    mine = snapshot(a=entry(A, 50.0))
    merged = with_published(mine, published(10.0, {}, a=StoredIndex("u", A), b=StoredIndex("u", A)), now=100.0)
    assert set(merged.indices) == {"a", "b"}
    assert dict(merged.bodies) == {A: A_MAPPING}


def test_unknown_body_is_a_miss() -> None:
    """An index whose body neither side has, as each had evicted it, stays listed, and is read from the cluster when
    it is asked for.
    """
    merged = with_published(Snapshot(), published(10.0, {}, {"all": ("a",)}, a=StoredIndex("u", A)), now=100.0)
    assert merged.resolve("a") is None
    assert merged.resolve("all") is None
    assert merged.indices == {"a": IndexEntry("u", A, 90.0, Source.STORE)}
    evicted = snapshot(a=entry(A, 50.0)).without_bodies([A])
    assert with_published(evicted, published(10.0, {}, a=StoredIndex("u", A)), now=100.0).indices == merged.indices


def test_unknown_body_outdates_old_entry() -> None:
    """An older entry whose mapping is known to have changed isn't kept when the new body is missing."""
    mine = snapshot(a=entry(A, 50.0))
    assert with_published(mine, published(10.0, {}, a=StoredIndex("u", B)), now=100.0).resolve("a") is None


def test_a_member_that_is_gone() -> None:
    """An alias outlives an index that was found gone by itself: it isn't whole any more, its age is that of the rest."""
    left = snapshot(a=entry(A, 90.0), b=entry(B, 95.0)).changed({}, {}, aliases={"all": ("a", "b")}, aliases_at=99.0)
    gone = left.changed({}, {}, removed=["a"])
    assert (left.confirmed_of("all"), gone.confirmed_of("all")) == (90.0, 95.0)
    assert gone.resolve("all") is None
    assert gone.changed({}, {}, removed=["b"]).confirmed_of("all") == 99.0
