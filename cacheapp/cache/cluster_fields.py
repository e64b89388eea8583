"""The fields of the whole cluster, one row for each path: its types, in how many indices it is, and in which families.

Ten thousand indices with fifty distinct mappings take fifty derivations, which are shared with the views of single
names. The rows are made in a thread. They are kept, within a number of bytes, until a name or a mapping changes.
"""

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from cacheapp.cache.derived import FIELDS, MappingViews
from cacheapp.cache.kept import KeptByBytes
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.describe.families import members_of_families
from cacheapp.errors import MappingNotFound, no_such_name
from cacheapp.mapping.fields import Field
from cacheapp.state.distinct import Distinct
from cacheapp.state.expressions import EVERYTHING, Expression
from cacheapp.state.field_pages import FieldFilter, FieldPage, field_page
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import Visible
from esassistant.resource import Handle

MAX_KEPT_BYTES = 16_777_216
ROW_BYTES = 400
"""The memory that a row takes, its name aside; measured for a row with two families."""
KEY_BYTES = 1_000
"""The memory that a set of rows takes, its rows and the texts of its key aside. Counted because a set may have no rows:
otherwise callers could have any number of sets kept.
"""
SHOWN_FAMILIES = 10
SHOWN_CLOSED = 100


class TypeTotal(msgspec.Struct, frozen=True, gc=False):
    """One of the types of a field, and in how many indices the field has it."""

    type: str
    indices_total: int


class ClusterField(msgspec.Struct, frozen=True, gc=False):
    """One field over all indices that have it (`indices_total`). `families`: the first ones by name of the
    `families_total` families that these belong to. If indices disagree on the type, `types` has several entries, and
    `conflict` says in how many indices each type is; otherwise `conflict` is empty.
    """

    name: str
    types: tuple[str, ...]
    indices_total: int
    families: tuple[str, ...]
    families_total: int
    conflict: tuple[TypeTotal, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterFieldPage:
    """A page of fields of the cluster. `total`: how many fields there are on all pages. `unread_indices_total`: how
    many indices have a mapping that isn't in memory; their fields are missing here.

    `closed_indices`: the closed indices among those whose fields are here, the first by name of `closed_indices_total`.
    Only exact names include closed indices; `left_out_closed_total` counts those that match a pattern and are left out.
    """

    total: int
    fields: tuple[ClusterField, ...]
    next_cursor: str | None
    unread_indices_total: int
    closed_indices: tuple[str, ...] = ()
    closed_indices_total: int = 0
    left_out_closed_total: int = 0


@dataclass(frozen=True, slots=True)
class Having:
    """The indices that have one mapping: how many they are, and the names of their families, sorted."""

    indices_total: int
    families: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows made of a snapshot. They are valid until a name or a mapping changes."""

    snapshot: Snapshot
    fields: tuple[ClusterField, ...]
    unread_indices_total: int
    closed_indices: tuple[str, ...] = ()
    left_out_closed_total: int = 0


class ClusterFields:
    """Makes and keeps the rows. One per process, owned by the registry; used only on its event loop."""

    def __init__(self, cache: MappingCache, views: MappingViews, *, max_kept_bytes: int = MAX_KEPT_BYTES) -> None:
        self._cache = cache
        self._views = views
        self._max_kept_bytes = max_kept_bytes
        self._kept: KeptByBytes[Hashable, _Rows] = KeptByBytes(max_kept_bytes)
        self._kept_of = Snapshot()
        # Rows are made one set at a time, and once for all who wait for the same.
        self._making = asyncio.Lock()

    async def page(
        self, wanted: FieldFilter, *, pattern: str | None, visible: Visible, limit: int, cursor: str | None
    ) -> ClusterFieldPage:
        """Return a page of fields.

        Args:
            wanted: Which fields.
            pattern: The indices in which to look, as an expression of names. None: all indices except hidden and closed
                ones.
            visible: The names that exist for the caller.
            limit: How many fields the page has at most.
            cursor: The end of the page before; None for the first page.

        Raises:
            BadRequest: The search is too long, or the cursor or the pattern isn't valid.
            MappingNotFound: The pattern stands for nothing that exists for the caller.
            ClusterUnavailable: No pass has ended yet.
        """
        wanted.check()
        rows = await self._rows(pattern, visible)
        page: FieldPage[ClusterField] = await self._views.in_turn(field_page, rows.fields, wanted, limit, cursor)
        return ClusterFieldPage(
            total=page.total,
            fields=page.fields,
            next_cursor=page.next_cursor,
            unread_indices_total=rows.unread_indices_total,
            closed_indices=rows.closed_indices[:SHOWN_CLOSED],
            closed_indices_total=len(rows.closed_indices),
            left_out_closed_total=rows.left_out_closed_total,
        )

    async def of_paths(
        self, paths: Sequence[str], *, pattern: str | None, visible: Visible, type_: str = ""
    ) -> tuple[ClusterField, ...]:
        """Return the fields with these paths, in the order of the paths. If `type_` is given, return only fields of
        that type, and multi-fields of these paths that have it. `pattern` and `visible`: as for `page`. Raise what
        `page` raises.
        """
        rows = await self._rows(pattern, visible)
        return await self._views.in_turn(rows_of_paths, rows.fields, paths, type_)

    async def _rows(self, pattern: str | None, visible: Visible) -> _Rows:
        snapshot = self._cache.snapshot
        if not snapshot.has_same_names(self._kept_of):  # all rows are void, and would keep the snapshots alive
            self._kept = KeptByBytes(self._max_kept_bytes)
        self._kept_of = snapshot
        key = pattern, visible.patterns
        if (rows := self._ready(key)) is None:
            async with self._making:
                if (rows := self._ready(key)) is None:
                    rows = await self._make(pattern, visible)
                    key_bytes = KEY_BYTES + len(pattern or "") + sum(map(len, visible.patterns))
                    rows_bytes = sum(ROW_BYTES + len(field.name) for field in rows.fields)
                    self._kept.keep(key, rows, key_bytes + rows_bytes)
        return rows

    async def hashes_with(self, path: str) -> frozenset[str]:
        """Return the hashes of all mappings in memory that have a field of that path."""
        snapshot = self._cache.snapshot
        distinct = [Distinct(mapping_hash, body, ()) for mapping_hash, body in snapshot.bodies.items()]
        parts = await self._views.parts(FIELDS, distinct)
        return frozenset(one.mapping_hash for one, fields in zip(distinct, parts, strict=True) if _has(fields, path))

    def _ready(self, key: Hashable) -> _Rows | None:
        kept, snapshot = self._kept.find(key), self._cache.snapshot
        if kept is None or not kept.snapshot.has_same_names(snapshot):
            return None
        return kept if not kept.unread_indices_total or kept.snapshot.bodies is snapshot.bodies else None

    async def _make(self, pattern: str | None, visible: Visible) -> _Rows:
        expression = Expression(EVERYTHING if pattern is None else pattern, visible)
        try:
            resolved = await self._cache.resolve(expression)
        except MappingNotFound:
            if pattern is not None:
                raise
            return _Rows(self._cache.snapshot, (), 0)  # the cluster has no indices to show
        if resolved.missing:
            raise self._cache.absent(no_such_name(resolved.missing[0]), visible)
        snapshot = self._cache.snapshot
        counted = await self._views.in_turn(having_by_hash, snapshot, resolved.indices, visible)
        distinct = [
            Distinct(mapping_hash, snapshot.bodies[mapping_hash], ())
            for mapping_hash in counted
            if mapping_hash in snapshot.bodies
        ]
        unread = sum(one.indices_total for hashed, one in counted.items() if hashed not in snapshot.bodies)
        parts = await self._views.parts(FIELDS, distinct)
        having = [counted[one.mapping_hash] for one in distinct]
        closed = tuple(index for index in resolved.indices if index in snapshot.closed) if snapshot.closed else ()
        fields = await self._views.in_turn(cluster_fields, parts, having)
        return _Rows(snapshot, fields, unread, closed, len(resolved.closed))


CLUSTER_FIELDS: Handle[ClusterFields] = Handle("cluster_fields")


def having_by_hash(snapshot: Snapshot, indices: Iterable[str], visible: Visible) -> dict[str, Having]:
    """Return, for each mapping, how many of the `indices` have it, and their families. All of the `indices` exist for
    the caller.
    """
    chosen = {index for index in indices if index in snapshot.indices}
    totals = Counter(snapshot.indices[index].mapping_hash for index in chosen)
    families: dict[str, set[str]] = {mapping_hash: set() for mapping_hash in totals}
    for name, _, members in members_of_families(snapshot, visible):
        for index in members:
            if index in chosen:
                families[snapshot.indices[index].mapping_hash].add(name)
    return {hashed: Having(total, tuple(sorted(families[hashed]))) for hashed, total in totals.items()}


def cluster_fields(parts: Sequence[tuple[Field, ...]], having: Sequence[Having]) -> tuple[ClusterField, ...]:
    """Return the rows for the fields of distinct mappings, sorted by path. `having`: the indices of each mapping."""
    by_name: dict[str, list[tuple[str, Having]]] = {}
    for fields, one in zip(parts, having, strict=True):
        for field in fields:
            by_name.setdefault(field.name, []).append((field.types[0], one))
    families: dict[tuple[int, ...], tuple[str, ...]] = {}
    return tuple(_row(name, by_name[name], families) for name in sorted(by_name))


def rows_of_paths(rows: Sequence[ClusterField], paths: Sequence[str], type_: str) -> tuple[ClusterField, ...]:
    """Return the rows of these paths, in the order of the paths. With a type: those that have it, and their
    multi-fields that do.

    None of the paths may be an object's: only then is everything below a path a multi-field.
    """
    places = {path: place for place, path in enumerate(paths)}
    found: list[tuple[int, str, ClusterField]] = []
    for row in rows:
        place = places.get(row.name)
        if place is None and type_:
            place = places.get(row.name.rpartition(".")[0])
        if place is not None and (not type_ or type_ in row.types):
            found.append((place, row.name, row))
    return tuple(row for *_, row in sorted(found, key=lambda one: one[:2]))


def _row(name: str, found: Sequence[tuple[str, Having]], known: dict[tuple[int, ...], tuple[str, ...]]) -> ClusterField:
    totals: Counter[str] = Counter()
    for type_, one in found:
        totals[type_] += one.indices_total
    types = tuple(sorted(totals))
    key = tuple(id(one) for _, one in found)
    if (families := known.get(key)) is None:  # most fields of a mapping are in the same set of mappings
        families = known[key] = tuple(sorted({family for _, one in found for family in one.families}))
    conflict = tuple(TypeTotal(type_, totals[type_]) for type_ in types) if len(types) > 1 else ()
    return ClusterField(name, types, totals.total(), families[:SHOWN_FAMILIES], len(families), conflict)


def _has(fields: tuple[Field, ...], path: str) -> bool:
    place = bisect_left(fields, path, key=lambda field: field.name)
    return place < len(fields) and fields[place].name == path
