"""Which names the mapping browser lists, and in which order. Pure."""

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cacheapp.errors import no_such_name
from cacheapp.shown_changes import RecentOfIndex
from cacheapp.state.expressions import Expression, asked, resolve
from cacheapp.state.listing import MAX_PATTERN_CHARACTERS
from cacheapp.state.names import matches
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import Visible
from esassistant.config.model import MappingCacheConfig
from esassistant.errors import BadRequest

PAGE = 100
"""How many rows a page lists."""
SHOWN_NAMES = 10
"""How many names are shown where there may be thousands; the total is shown beside them."""

INDEX, ALIAS, DATA_STREAM, SEVERAL = "index", "alias", "data stream", "several names"

Changes = Mapping[str, RecentOfIndex]
"""How often each index changed lately."""


class NameState(enum.StrEnum):
    """How the API would answer for a name: from memory (fresh or stale), or only after reading the mapping."""

    FRESH = "fresh"
    STALE = "stale"
    UNREAD = "unread"


class Grouping(enum.StrEnum):
    """What a row of the list is: a family of indices, a name, or a distinct mapping."""

    FAMILY = "family"
    NAME = "name"
    MAPPING = "mapping"


class Sort(enum.StrEnum):
    """The order of a list: by name, by the number of fields (most first), by age (confirmed the longest ago first), or
    by the number of recent changes (most first).
    """

    NAME = "name"
    FIELDS = "fields"
    AGE = "age"
    CHANGES = "changes"


Choice = TypeVar("Choice", bound=enum.StrEnum)


@dataclass(frozen=True, slots=True)
class Times:
    """The time at which states and ages are judged, and the ages in seconds up to which a mapping is fresh, and then
    stale.

    `now` is a time of the monotonic clock.
    """

    now: float
    ttl: float
    max_stale: float

    @classmethod
    def at(cls, now: float, config: MappingCacheConfig) -> "Times":
        return cls(now, config.ttl, config.max_stale)


@dataclass(frozen=True, slots=True)
class NameFilter:
    """Selects names.

    Args:
        pattern: A part of the name; with a `*`, a pattern for the whole name.
        state: The state of the name.
        mapping: The hash of the mapping; selects only indices.
        of: Selects the indices of an alias or data stream, or those that a list or pattern stands for.
        sort: The order of the list.
        start: How many rows are on earlier pages.
        visible: The names that exist for the reader.
    """

    pattern: str = ""
    state: NameState | None = None
    mapping: str = ""
    of: str = ""
    sort: Sort = Sort.NAME
    start: int = 0
    visible: Visible = field(kw_only=True)

    @classmethod
    def parse(cls, query: Mapping[str, str], visible: Visible) -> "NameFilter":
        """Read the query of an address. Raise `BadRequest` if a parameter can't be used."""
        pattern = query.get("pattern", "").strip()
        if len(pattern) > MAX_PATTERN_CHARACTERS:
            raise BadRequest(f"A pattern has at most {MAX_PATTERN_CHARACTERS} characters.")
        return cls(
            pattern,
            chosen(NameState, "state", query),
            query.get("mapping", ""),
            query.get("of", ""),
            chosen(Sort, "sort", query) or Sort.NAME,
            place_of(query.get("cursor", "")),
            visible=visible,
        )

    @property
    def narrows(self) -> bool:
        """Return whether the filter can leave out a name."""
        return bool(self.pattern or self.state or self.mapping or self.of)

    @property
    def filters(self) -> dict[str, str]:
        """Return the query of the address that selects the same names, from the first page on."""
        named = {"pattern": self.pattern, "state": self.state or "", "mapping": self.mapping, "of": self.of}
        return {name: value for name, value in named.items() if value}

    def matches_name(self, name: str) -> bool:
        """Return whether the pattern matches, in upper or lower case."""
        pattern = self.pattern.lower()
        return matches(name.lower(), pattern) if "*" in pattern else pattern in name.lower()

    def members(self, snapshot: Snapshot) -> frozenset[str] | None:
        """Return the indices that `of` stands for; None if `of` isn't given. Raise `IllegalName` if it is no name, and
        `MappingNotFound` if it isn't known.
        """
        if not self.of:
            return None
        of = asked(self.of, self.visible)
        if isinstance(of, Expression):
            indices = resolve(snapshot, of).indices
        elif snapshot.knows(of):
            indices = snapshot.aliases.get(of, (of,))
        else:
            raise no_such_name(of)
        return frozenset(index for index in indices if index in snapshot.indices)

    def indices(self, snapshot: Snapshot, times: Times) -> Callable[[str], bool]:
        """Return a test whether a known index is selected by `state`, `mapping` and `of`. It checks neither its name
        nor whether it is visible.
        """
        members = self.members(snapshot)

        def is_chosen(index: str) -> bool:
            return (
                (members is None or index in members)
                and (not self.mapping or snapshot.indices[index].mapping_hash == self.mapping)
                and (self.state is None or state_of(snapshot, index, times)[0] is self.state)
            )

        return is_chosen


def chosen(choices: type[Choice], name: str, query: Mapping[str, str]) -> Choice | None:
    """Return the value of a query parameter that takes one of several words; None if it isn't given. Raise `BadRequest`
    for any other word.
    """
    given = query.get(name, "")
    if not given:
        return None
    if given not in list(choices):
        raise BadRequest(f"Use {', '.join(f'{name}={choice}' for choice in choices)}, or leave it out.")
    return choices(given)


def place_of(cursor: str) -> int:
    """Return how many rows are on the pages before the one of this cursor. Raise `BadRequest` if the cursor isn't one
    of ours.
    """
    if not cursor:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 9:
        raise BadRequest("This cursor is not one of ours: use the links of the pages.")
    return int(cursor)


R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Listed(Generic[R]):
    """One page of rows. `total` counts the rows of all pages, `kinds` how many of them are of each kind,
    `indices_total` the indices that they stand for. `first` is the number of the first row, from 1; `next_cursor` is
    empty on the last page.
    """

    rows: tuple[R, ...]
    total: int
    first: int
    next_cursor: str
    kinds: tuple[tuple[str, int], ...] = ()
    indices_total: int = 0

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1


def next_cursor(start: int, total: int) -> str:
    """Return the cursor of the page after the one that begins at `start`; empty if that is the last one."""
    return str(start + PAGE) if start + PAGE < total else ""


def state_of(snapshot: Snapshot, name: str, times: Times) -> tuple[NameState, float]:
    """Return the state of a known name, and its age in seconds."""
    age_seconds = max(0.0, times.now - snapshot.confirmed_of(name))
    if snapshot.resolve(name) is None or age_seconds > times.ttl + times.max_stale:
        return NameState.UNREAD, age_seconds
    return (NameState.FRESH if age_seconds <= times.ttl else NameState.STALE), age_seconds


def kind_of(snapshot: Snapshot, name: str) -> str:
    """Return whether a known name is an index, an alias or a data stream."""
    if name in snapshot.indices:
        return INDEX
    return DATA_STREAM if name in snapshot.data_streams else ALIAS


def changes_total(indices: Iterable[str], changes: Changes) -> int:
    """Return how many changes some indices had together."""
    return sum(changes[index].total for index in indices if index in changes)


def changes_of(indices: Iterable[str], changes: Changes) -> RecentOfIndex | None:
    """Return the changes of some indices together; None if there were none."""
    found = [changes[index] for index in indices if index in changes]
    return RecentOfIndex(sum(one.total for one in found), max(one.last_at for one in found)) if found else None
