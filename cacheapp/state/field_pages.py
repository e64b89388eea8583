"""Pages of fields, of one name or of the whole cluster: filtered, and ranked by how well the search finds them.
Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Generic, Protocol, TypeVar

import msgspec

from cacheapp.mapping.fields import Field, TypeIndices, check_query, ranks
from cacheapp.mapping.tree import OBJECT_TYPES
from cacheapp.state.cursors import decode_cursor, encode_cursor, not_ours

RANKS = "012"
MAX_FIELD_CHARACTERS = 1_000
"""The longest path, or beginning of a path, in a filter."""


class Row(Protocol):
    """What can be filtered: anything with the path of a field and its types."""

    @property
    def name(self) -> str: ...

    @property
    def types(self) -> tuple[str, ...]: ...


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class FieldFilter:
    """Which fields are wanted.

    Args:
        q: The words to search for; empty: any.
        type: The type that a field has to have; empty: any.
        prefix: What the field's path has to begin with.
        leaves: Whether to leave out fields that only hold other fields.
    """

    q: str = ""
    type: str = ""
    prefix: str = ""
    leaves: bool = False

    def check(self) -> None:
        """Raise `BadRequest` if the search text is too long."""
        check_query(self.q)

    def takes(self, row: Row) -> bool:
        """Return whether a field is wanted by all conditions but `q`."""
        return (
            (not self.type or self.type in row.types)
            and row.name.startswith(self.prefix)
            and not (self.leaves and OBJECT_TYPES.issuperset(row.types))
        )


@dataclass(frozen=True, slots=True)
class FieldPage(Generic[R]):
    """A page of fields. `total`: how many fields are wanted, on all pages. `next_cursor`: asks for the next page; None:
    this is the last.
    """

    total: int
    fields: tuple[R, ...]
    next_cursor: str | None


def field_page(among: Sequence[R], wanted: FieldFilter, limit: int | None, cursor: str | None) -> FieldPage[R]:
    """Return the wanted fields that come after `cursor`, best first and then by name; at most `limit`, or all if that
    is None.

    Raises:
        BadRequest: The cursor isn't ours.
    """
    after = None if cursor is None else _place(cursor)
    ranked = ranks((row for row in among if wanted.takes(row)), wanted.q)
    keyed = [((rank, row.name), row) for rank, rows in enumerate(ranked) for row in rows]
    left = keyed if after is None else [one for one in keyed if one[0] > after]
    page = sorted(left, key=_key) if limit is None else nsmallest(limit, left, key=_key)
    more = len(page) < len(left)
    next_cursor = encode_cursor(f"{page[-1][0][0]}{page[-1][0][1]}") if more else None
    return FieldPage(len(keyed), tuple(row for _, row in page), next_cursor)


def _key(one: tuple[tuple[int, str], Row]) -> tuple[int, str]:
    return one[0]


def _place(cursor: str) -> tuple[int, str]:
    place = decode_cursor(cursor)
    if place[:1] not in RANKS or not place:
        raise not_ours()
    return int(place[0]), place[1:]


class CompactField(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A field without the members that have their default value: null, empty, or false for `runtime` and `too_deep`."""

    name: str
    types: tuple[str, ...]
    searchable: bool | None = None
    aggregatable: bool | None = None
    indices_total: int
    nested_path: str | None = None
    multi_field_of: str | None = None
    alias_of: str | None = None
    runtime: bool = False
    format: str | None = None
    meta: Mapping[str, str] = msgspec.field(default_factory=dict)
    conflict: tuple[TypeIndices, ...] = ()
    format_conflict: tuple[str | None, ...] = ()
    meta_conflict: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    nested_path_conflict: tuple[str | None, ...] = ()
    too_deep: bool = False


def compact(field: Field) -> CompactField:
    """Return a field without the members that have their default value."""
    return CompactField(**msgspec.structs.asdict(field))
