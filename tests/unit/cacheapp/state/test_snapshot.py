"""The snapshot: one copy per distinct mapping, and what names stand for."""

from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from tests.support.fakes import A_MAPPING, B_MAPPING, C_MAPPING
from tests.support.snapshots import changed

A, B, C = map(mapping_hash, (A_MAPPING, B_MAPPING, C_MAPPING))


def entry(known: str, confirmed_at: float = 100.0, uuid: str | None = "u") -> IndexEntry:
    return IndexEntry(uuid, known, confirmed_at, Source.ELASTICSEARCH)


def snapshot(**indices: IndexEntry) -> Snapshot:
    """Indices by name, with their bodies, and an alias over all of them."""
    bodies = {mapping_hash(body): body for body in (A_MAPPING, B_MAPPING, C_MAPPING)}
    return changed(Snapshot(), indices, bodies, aliases={"all": tuple(indices)})


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


def test_resolve() -> None:
    """An index stands for itself, an alias for its indices; unknown names and incomplete aliases for nothing."""
    known = changed(snapshot(a=entry(A), b=entry(B)), {}, {}, aliases={"half": ("a", "gone")})
    assert known.resolve("a") == ("a",)
    assert known.resolve("all") == ("a", "b")
    assert known.resolve("half") is None
    assert known.resolve("unknown") is None


def test_a_member_that_is_gone() -> None:
    """An alias outlives an index that was found gone by itself: it isn't whole any more, its age is that of the
    rest.
    """
    left = changed(snapshot(a=entry(A, 90.0), b=entry(B, 95.0)), {}, {}, aliases={"all": ("a", "b")}, aliases_at=99.0)
    gone = changed(left, {}, {}, removed=["a"])
    assert (left.confirmed_of("all"), gone.confirmed_of("all")) == (90.0, 95.0)
    assert gone.resolve("all") is None
    assert changed(gone, {}, {}, removed=["b"]).confirmed_of("all") == 99.0
