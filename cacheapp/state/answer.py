"""What the mapping cache answers: rendered from a snapshot, and kept as long as that snapshot stands."""

import enum
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cacheapp.state.snapshot import Snapshot, Source

MAX_KEPT_BYTES = 16_777_216
LARGE_INDICES = 200
"""So many indices take some milliseconds to render: too long for the loop."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The mappings that one name stands for: `{"<index>": {"mappings": {…}}, …}`, with a strong validator in quotes.

    `hashes` are those of the bodies in it, each once; `confirmed_at` is of the oldest thing in it; `source` says
    whether any of it was taken over from the store.
    """

    body: bytes
    etag: str
    indices: tuple[str, ...]
    hashes: frozenset[str]
    confirmed_at: float
    source: Source
    derived: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)


def render(snapshot: Snapshot, name: str) -> Rendered | None:
    """None where `name` isn't known, or one of its indices isn't."""
    indices = snapshot.resolve(name)
    if not indices:
        return None
    entries = [snapshot.indices[index] for index in indices]
    body = b",".join(
        b'%b:{"mappings":%b}' % (msgspec.json.encode(index), snapshot.bodies[entry.mapping_hash])
        for index, entry in zip(indices, entries, strict=True)
    )
    validator = hashlib.blake2b(
        b"".join(f"{index}:{entry.mapping_hash};".encode() for index, entry in zip(indices, entries, strict=True)),
        digest_size=16,
    )
    return Rendered(
        body=b"{%b}" % body,
        etag=f'"{validator.hexdigest()}"',
        indices=indices,
        hashes=frozenset(entry.mapping_hash for entry in entries),
        confirmed_at=snapshot.confirmed_of(name),
        source=Source.STORE if any(entry.source is Source.STORE for entry in entries) else Source.MEMORY,
    )


class RenderedNames:
    """The names rendered last, at most `max_bytes` of bodies; of one snapshot, so that none is ever out of date."""

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._snapshot: Snapshot | None = None
        self._kept: OrderedDict[str, Rendered] = OrderedDict()
        self.kept_bytes = 0

    def find(self, snapshot: Snapshot, name: str) -> Rendered | None:
        """What `name` stands for in `snapshot`; None where it isn't known, or where it `is_large` and not kept."""
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._kept.clear()
            self.kept_bytes = 0
        kept = self._kept.get(name)
        if kept is not None:
            self._kept.move_to_end(name)
            return kept
        if is_large(snapshot, name):
            return None
        rendered = render(snapshot, name)
        if rendered is not None:
            self.keep(snapshot, name, rendered)
        return rendered

    def keep(self, snapshot: Snapshot, name: str, rendered: Rendered) -> None:
        """Keep what was rendered elsewhere, unless it is of another snapshot than the last one asked for."""
        if snapshot is not self._snapshot or name in self._kept:
            return
        self._kept[name] = rendered
        self.kept_bytes += len(rendered.body)
        while self.kept_bytes > self._max_bytes and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self.kept_bytes -= len(dropped.body)


def is_large(snapshot: Snapshot, name: str) -> bool:
    """Whether rendering `name` belongs into a thread."""
    return name not in snapshot.indices and len(snapshot.aliases.get(name, ())) > LARGE_INDICES


class Freshness(enum.Enum):
    """How the age of an answer relates to the TTL."""

    FRESH = "fresh"
    STALE = "stale"


class MappingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The mappings that a name stands for, as Elasticsearch renders them: `{"<index>": {"mappings": {…}}, …}`.

    `age_seconds` is that of the oldest index in it, which the cluster confirmed for the moment `confirmed_at` of the
    monotonic clock. `etag` is a strong validator of `body`, in quotes. What follows from the mappings may be kept in
    `derived`: it goes when they do.
    """

    body: bytes
    etag: str
    indices: tuple[str, ...]
    confirmed_at: float
    age_seconds: float
    freshness: Freshness
    source: Source
    derived: dict[Any, Any]


def answer_at(rendered: Rendered, now: float, ttl: float, source: Source) -> MappingAnswer:
    """The answer that `rendered` is at `now`. `source`: who said so."""
    age = now - rendered.confirmed_at
    return MappingAnswer(
        body=rendered.body,
        etag=rendered.etag,
        indices=rendered.indices,
        confirmed_at=rendered.confirmed_at,
        age_seconds=age,
        freshness=Freshness.FRESH if age <= ttl else Freshness.STALE,
        source=source,
        derived=rendered.derived,
    )
