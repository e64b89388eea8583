"""The answers of the mapping cache: rendered from a snapshot, and kept as long as the following snapshots have the same
mappings.
"""

import enum
import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec

from cacheapp.errors import TooMuch
from cacheapp.state.distinct import Distinct, distinct_mappings
from cacheapp.state.expressions import Asked, Expression, Resolved, resolve
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from esassistant.units import as_bytes

MAX_KEPT_BYTES = 16_777_216
LARGE_INDICES = 200
"""With more indices than this, rendering takes some milliseconds: too long for the event loop."""
MAX_OUTLINE_BYTES = 8_388_608
LARGE_OUTLINE_INDICES = 1_000
"""With more indices than this, finding and counting them for an outline takes some milliseconds."""
OUTLINE_BYTES, MEMBER_BYTES = 1_000, 100
"""The memory that an outline takes, and each index in it, in bytes."""
MAX_BODY_BYTES = 33_554_432
"""The most bytes of mappings that a list or pattern is answered with. Each mapping counts as often as an index has
it.
"""
MAX_DISTINCT_BYTES = 16_777_216
"""The most bytes of distinct mappings that a list or pattern may stand for where something is derived from them."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The mappings that a name or an expression stands for, rendered: `{"<index>": {"mappings": {…}}, …}`.

    An *outline* is the same with an empty `body`. It is enough where something is derived from the mappings, and it is
    smaller: the body of an alias repeats each mapping as often as an index has it.

    Args:
        body: The JSON.
        etag: A strong validator of the body, in quotes.
        indices: The names of the indices, in order.
        mapping_hashes: The hash of each index's mapping, in the same order.
        distinct: The distinct mappings.
        confirmed_at: The moment for which the cluster confirmed the oldest part of it, on the monotonic clock.
        source: Whether any part of it was taken over from the store.
        derived: A place for small things that are derived from all this.
        resolved: What the expression stands for; None for a single name.
    """

    body: bytes
    etag: str
    indices: tuple[str, ...]
    mapping_hashes: tuple[str, ...]
    distinct: tuple[Distinct, ...]
    confirmed_at: float
    source: Source
    derived: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    resolved: Resolved | None = field(default=None, repr=False)


def render(snapshot: Snapshot, asked: Asked, *, outline: bool = False) -> Rendered | None:
    """Render what was asked for. Return None where it, or one of its indices, isn't known.

    Raises:
        IllegalName: The expression isn't legal.
        TooMuch: The expression stands for more than is answered at once.
    """
    if isinstance(asked, Expression):
        resolved = resolve(snapshot, asked)
        if resolved.missing or not all(map(snapshot.is_whole, resolved.indices)):
            return None
        _check_size(snapshot, resolved.indices, outline=outline)
        indices: tuple[str, ...] | None = resolved.indices
        confirmed_at = snapshot.confirmed_of_all(resolved.names, by_listing=resolved.has_patterns)
    else:
        resolved, indices = None, snapshot.resolve(asked)
        confirmed_at = 0.0 if indices is None else snapshot.confirmed_of(asked)
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
        confirmed_at=confirmed_at,
        source=_source(entries),
        resolved=resolved,
    )


def _check_size(snapshot: Snapshot, indices: Iterable[str], *, outline: bool) -> None:
    hashes: Iterable[str] = (snapshot.indices[index].mapping_hash for index in indices)
    most, what = (MAX_DISTINCT_BYTES, "different mappings") if outline else (MAX_BODY_BYTES, "mappings")
    size = sum(len(snapshot.bodies[hashed]) for hashed in (set(hashes) if outline else hashes))
    if size > most:
        raise TooMuch(
            f"This stands for {as_bytes(size)} of {what}, and at most {as_bytes(most)} are answered at once: ask for "
            "fewer names, by a longer pattern or by taking some away (logs-*,-logs-old-*)"
            + ("." if outline else "; or for ?group=mapping, which has each distinct mapping once.")
        )


def renewed(rendered: Rendered, snapshot: Snapshot, asked: Asked, *, has_same_names: bool) -> Rendered | None:
    """Return `rendered` with the ages of `snapshot`; None where it doesn't hold there.

    It doesn't hold if the name stands for other mappings in `snapshot`. An expression isn't resolved again to find that
    out: for it, None is returned unless `has_same_names`, which says that `snapshot` has the same names.
    """
    resolved = rendered.resolved
    if isinstance(asked, Expression):
        if resolved is None or not has_same_names:
            return None
        confirmed_at = snapshot.confirmed_of_all(resolved.names, by_listing=resolved.has_patterns)
        return replace(rendered, confirmed_at=confirmed_at, derived={})
    indices = snapshot.resolve(asked)
    if indices != rendered.indices:
        return None
    entries = [snapshot.indices[index] for index in indices]
    if tuple(entry.mapping_hash for entry in entries) != rendered.mapping_hashes:
        return None
    return replace(rendered, confirmed_at=snapshot.confirmed_of(asked), source=_source(entries), derived={})


def _source(entries: Iterable[IndexEntry]) -> Source:
    return Source.STORE if any(entry.source is Source.STORE for entry in entries) else Source.MEMORY


class _Kept(NamedTuple):
    """A rendered answer, with the numbers of the snapshot and of the set of names for which it was last checked."""

    snapshot_number: int
    names_number: int
    rendered: Rendered


class RenderedNames:
    """The most recently used answers to names and expressions, up to `max_bytes` of bodies; or their outlines, up to as
    many bytes by estimate.

    What was rendered from an earlier snapshot is checked again when it is asked for: mostly only ages have changed.
    """

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES, *, outlines: bool = False) -> None:
        self._max_bytes = max_bytes
        self._outlines = outlines
        self._large_indices = LARGE_OUTLINE_INDICES if outlines else LARGE_INDICES
        self._snapshot: Snapshot | None = None
        self._kept: OrderedDict[Asked, _Kept] = OrderedDict()
        self._snapshot_number = 0
        self._names_number = 0
        self.kept_bytes = 0

    def find(self, snapshot: Snapshot, asked: Asked) -> Rendered | None:
        """Return the answer of `snapshot`: the one that is kept, or one that is rendered now. Return None if the
        snapshot doesn't know what was asked for, or if no answer is kept and `is_large` is true.

        Raises what `render` raises.
        """
        if snapshot is not self._snapshot:
            self._names_number += self._snapshot is None or not snapshot.has_same_names(self._snapshot)
            self._snapshot = snapshot
            self._snapshot_number += 1
        kept = self._kept.get(asked)
        if kept is not None:
            if kept.snapshot_number == self._snapshot_number:
                self._kept.move_to_end(asked)
                return kept.rendered
            self._drop(asked)
            has_same_names = kept.names_number == self._names_number
            if (again := renewed(kept.rendered, snapshot, asked, has_same_names=has_same_names)) is not None:
                self.keep(snapshot, asked, again)
                return again
        if self.is_large(snapshot, asked):
            return None
        rendered = self.render(snapshot, asked)
        if rendered is not None:
            self.keep(snapshot, asked, rendered)
        return rendered

    def is_large(self, snapshot: Snapshot, asked: Asked) -> bool:
        """Return whether what was asked for should be rendered in a thread. An expression is compared with all
        names.
        """
        if isinstance(asked, Expression):
            return len(snapshot.indices) + len(snapshot.aliases) > LARGE_INDICES
        return asked not in snapshot.indices and len(snapshot.aliases.get(asked, ())) > self._large_indices

    def render(self, snapshot: Snapshot, asked: Asked) -> Rendered | None:
        """Render what was asked for without looking at what is kept. May be called in a thread."""
        return render(snapshot, asked, outline=self._outlines)

    def keep(self, snapshot: Snapshot, asked: Asked, rendered: Rendered) -> None:
        """Keep what was rendered elsewhere, unless it is of another snapshot than the one that `find` saw last."""
        if snapshot is not self._snapshot:
            return
        if asked in self._kept:
            if self._kept[asked].snapshot_number == self._snapshot_number:
                return
            self._drop(asked)
        self._kept[asked] = _Kept(self._snapshot_number, self._names_number, rendered)
        self.kept_bytes += self._size(asked, rendered)
        while self.kept_bytes > self._max_bytes and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def _drop(self, asked: Asked) -> None:
        self.kept_bytes -= self._size(asked, self._kept.pop(asked).rendered)

    def _size(self, asked: Asked, rendered: Rendered) -> int:
        size = OUTLINE_BYTES + MEMBER_BYTES * len(rendered.indices) if self._outlines else len(rendered.body)
        if (resolved := rendered.resolved) is None:
            return size
        return size + OUTLINE_BYTES + len(str(asked)) + MEMBER_BYTES * (len(resolved.names) + len(resolved.indices))


class Freshness(enum.Enum):
    """Whether an answer is older than the TTL."""

    FRESH = "fresh"
    STALE = "stale"


class MappingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The mappings that a name or expression stands for, as Elasticsearch renders them:
    `{"<index>": {"mappings": {…}}, …}`.

    Args:
        body: The JSON.
        etag: A strong validator of the body, in quotes.
        indices: The names of the indices, in order.
        distinct: The distinct mappings.
        confirmed_at: The moment for which the cluster confirmed the oldest of these indices, on the monotonic clock.
        age_seconds: How long ago that is.
        freshness: Whether that is within the TTL.
        source: Where the answer came from.
        derived: A place for small things that are derived from the answer. It is dropped when the mappings or their age
            change.
        resolved: What the expression stands for; None for a single name.
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
    resolved: Resolved | None = None


def answer_at(rendered: Rendered, now: float, ttl: float, source: Source) -> MappingAnswer:
    """Return `rendered` as the answer at the moment `now`. `source`: where it came from."""
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
        resolved=rendered.resolved,
    )
