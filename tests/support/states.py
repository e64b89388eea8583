"""Readings, states to publish, and helpers to take a lease and to load what is published."""

from cacheapp.state.published import Loaded, StoredIndex, StoredState
from cacheapp.state.readings import Listing, Mappings, Reading
from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores.protocol import Lease, Store

A_MAPPING = b'{"properties":{"a":{"type":"keyword"}}}'
B_MAPPING = b'{"properties":{"b":{"type":"long"}}}'
C_MAPPING = b'{"properties":{"c":{"type":"date"}}}'
A, B, C = map(mapping_hash, (A_MAPPING, B_MAPPING, C_MAPPING))
LONG = 60.0
JITTER = 5.0
"""Ages are wall time here: an age is the published one, plus at most so many seconds on a slow machine."""


def reading(listed_at: float, indices: dict[str, bytes], aliases: dict[str, tuple[str, ...]] | None = None) -> Reading:
    listing = Listing("cluster", {name: f"uuid-{name}" for name in indices}, aliases or {}, frozenset())
    return Reading(listing, Mappings.from_bodies(indices), listed_at)


async def take(store: Store, holder: str = "one", ttl_seconds: float = LONG, name: str = "refresh") -> Lease:
    """Return the lease, which must be free or belong to the holder."""
    lease = await store.lease(name, holder, ttl_seconds)
    assert isinstance(lease, Lease)
    return lease


async def load(store: Store, *known: str) -> Loaded:
    """Return what is published. Something must be."""
    loaded = await store.load(known)
    assert loaded is not None
    return loaded


def state(
    indices: dict[str, StoredIndex], *bodies: bytes, age: float = 0.0, aliases: dict[str, tuple[str, ...]] | None = None
) -> StoredState:
    """Return a state with these bodies under their hashes."""
    return StoredState(age, indices, aliases or {}, {mapping_hash(body): body for body in bodies})


FIRST = StoredState(
    age_seconds=0.0,
    indices={"a": StoredIndex("u-a", A, field_count=0), "b": StoredIndex(None, B), "ü": StoredIndex("u", A, None, 7)},
    aliases={"x": ("b", "a"), "logs": ("a",), "empty": ()},
    bodies={A: A_MAPPING, B: B_MAPPING},
    data_streams=frozenset({"logs"}),
    cluster_uuid="cluster",
    cluster_urls="urls",
)
