"""What the mapping cache answers: rendered from a snapshot, and kept as long as snapshots have the same mappings."""

import enum
import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from cacheapp.state.distinct import Distinct, distinct_mappings
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source

MAX_KEPT_BYTES = 16_777_216
LARGE_INDICES = 200
"""So many indices take some milliseconds to render: too long for the loop."""
MAX_OUTLINE_BYTES = 8_388_608
LARGE_OUTLINE_INDICES = 1_000
"""So many indices take some milliseconds to find and count."""
OUTLINE_BYTES, MEMBER_BYTES = 1_000, 100
"""What an outline takes in memory, and each index in it."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The mappings that one name stands for: `{"<index>": {"mappings": {…}}, …}`, with a strong validator in quotes.

    `mapping_hashes` has that of each index; `distinct` has the mappings in it, each once; `confirmed_at` is of the
    oldest thing in it; `source` says whether any of it was taken over from the store. What follows from all this, and
    is small, may be kept in `derived`. An *outline* is all this with an empty `body`: what is derived from mappings
    needs no more, and the body of an alias repeats each mapping as often as an index has it.
    """

    body: bytes
    etag: str
    indices: tuple[str, ...]
    mapping_hashes: tuple[str, ...]
    distinct: tuple[Distinct, ...]
    confirmed_at: float
    source: Source
    derived: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)


def render(snapshot: Snapshot, name: str, *, outline: bool = False) -> Rendered | None:
    """What `name` stands for; None where it isn't known, or one of its indices isn't."""
    indices = snapshot.resolve(name)
    if not indices:
        return None
    entries = [snapshot.indices[index] for index in indices]
    members = () if outline else zip(indices, entries, strict=True)
    body = b",".join(
        b'%b:{"mappings":%b}' % (msgspec.json.encode(index), snapshot.bodies[entry.mapping_hash])
        for index, entry in members
    )
    validator = hashlib.blake2b(
        b"".join(f"{index}:{entry.mapping_hash};".encode() for index, entry in zip(indices, entries, strict=True)),
        digest_size=16,
    )
    return Rendered(
        body=b"" if outline else b"{%b}" % body,
        etag=f'"{validator.hexdigest()}"',
        indices=indices,
        mapping_hashes=tuple(entry.mapping_hash for entry in entries),
        distinct=distinct_mappings(snapshot, indices),
        confirmed_at=snapshot.confirmed_of(name),
        source=_source(entries),
    )


def renewed(rendered: Rendered, snapshot: Snapshot, name: str) -> Rendered | None:
    """The same with the ages of `snapshot`; None where `name` stands for something else there."""
    indices = snapshot.resolve(name)
    if indices != rendered.indices:
        return None
    entries = [snapshot.indices[index] for index in indices]
    if tuple(entry.mapping_hash for entry in entries) != rendered.mapping_hashes:
        return None
    return replace(rendered, confirmed_at=snapshot.confirmed_of(name), source=_source(entries), derived={})


def _source(entries: Iterable[IndexEntry]) -> Source:
    return Source.STORE if any(entry.source is Source.STORE for entry in entries) else Source.MEMORY


class RenderedNames:
    """The names rendered last, at most `max_bytes` of bodies; or their outlines, of as many bytes by estimate.

    What was rendered from an earlier snapshot is looked at again when it is asked for: mostly only ages have changed.
    """

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES, *, outlines: bool = False) -> None:
        self._max_bytes = max_bytes
        self._outlines = outlines
        self._large_indices = LARGE_OUTLINE_INDICES if outlines else LARGE_INDICES
        self._snapshot: Snapshot | None = None
        # Each with the number of the snapshot for which it was looked at last.
        self._kept: OrderedDict[str, tuple[int, Rendered]] = OrderedDict()
        self._number = 0
        self.kept_bytes = 0

    def find(self, snapshot: Snapshot, name: str) -> Rendered | None:
        """What `name` stands for in `snapshot`; None where it isn't known, or where it `is_large` and isn't kept."""
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._number += 1
        kept = self._kept.get(name)
        if kept is not None:
            number, known = kept
            if number == self._number:
                self._kept.move_to_end(name)
                return known
            self._drop(name)
            if (again := renewed(known, snapshot, name)) is not None:
                self.keep(snapshot, name, again)
                return again
        if self.is_large(snapshot, name):
            return None
        rendered = self.render(snapshot, name)
        if rendered is not None:
            self.keep(snapshot, name, rendered)
        return rendered

    def is_large(self, snapshot: Snapshot, name: str) -> bool:
        """Whether rendering `name` belongs into a thread."""
        return name not in snapshot.indices and len(snapshot.aliases.get(name, ())) > self._large_indices

    def render(self, snapshot: Snapshot, name: str) -> Rendered | None:
        """What `find` gives where nothing is kept; may be called in a thread."""
        return render(snapshot, name, outline=self._outlines)

    def keep(self, snapshot: Snapshot, name: str, rendered: Rendered) -> None:
        """Keep what was rendered elsewhere, unless it is of another snapshot than the last one asked for."""
        if snapshot is not self._snapshot:
            return
        if name in self._kept:
            if self._kept[name][0] == self._number:
                return
            self._drop(name)
        self._kept[name] = self._number, rendered
        self.kept_bytes += self._size(rendered)
        while self.kept_bytes > self._max_bytes and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def _drop(self, name: str) -> None:
        _, dropped = self._kept.pop(name)
        self.kept_bytes -= self._size(dropped)

    def _size(self, rendered: Rendered) -> int:
        return OUTLINE_BYTES + MEMBER_BYTES * len(rendered.indices) if self._outlines else len(rendered.body)


class Freshness(enum.Enum):
    """How the age of an answer relates to the TTL."""

    FRESH = "fresh"
    STALE = "stale"


class MappingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The mappings that a name stands for, as Elasticsearch renders them: `{"<index>": {"mappings": {…}}, …}`.

    `age_seconds` is that of the oldest index in it, which the cluster confirmed for the moment `confirmed_at` of the
    monotonic clock. `etag` is a strong validator of `body`, in quotes. `distinct` has the mappings, each once. What
    follows from the answer, and is small, may be kept in `derived`: it goes with the mappings and their age.
    """

    body: bytes
    etag: str
    indices: tuple[str, ...]
    distinct: tuple[Distinct, ...]
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
        distinct=rendered.distinct,
        confirmed_at=rendered.confirmed_at,
        age_seconds=age,
        freshness=Freshness.FRESH if age <= ttl else Freshness.STALE,
        source=source,
        derived=rendered.derived,
    )
