"""List names and distinct mappings for the mapping browser. Pure; many thousands of names take tens of milliseconds, so
that it belongs in a thread.
"""

import enum
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cacheapp.mapping.fields import FieldCounts
from cacheapp.state.expressions import Expression, asked, resolve
from cacheapp.state.listing import MAX_PATTERN_CHARACTERS
from cacheapp.state.names import matches
from cacheapp.state.snapshot import IndexEntry, Snapshot
from cacheapp.state.visible import ALL_VISIBLE
from esassistant.config.model import MappingCacheConfig
from esassistant.errors import BadRequest

PAGE = 100
"""How many names or mappings a page lists."""
SHOWN_NAMES = 10
"""How many names are shown where there may be thousands; the total is given beside."""

INDEX, ALIAS, DATA_STREAM, SEVERAL = "index", "alias", "data stream", "several names"


class NameState(enum.StrEnum):
    """How the API would answer for a name: from memory, fresh or stale, or only after it has read the mapping."""

    FRESH = "fresh"
    STALE = "stale"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class Times:
    """The time by which states and ages are judged, and up to which ages (in seconds) a mapping is fresh and stale.

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
        pattern: A part of the name, or what matches all of it where it has a `*`.
        state: The state of the name.
        mapping: The hash of the mapping, which only indices have.
        of: What stands for the index: an alias or data stream, a list or a pattern.
        cursor: Where the page before ended.
    """

    pattern: str = ""
    state: NameState | None = None
    mapping: str = ""
    of: str = ""
    cursor: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> "NameFilter":
        """Read the query of an address. Raises `BadRequest`."""
        # `q` is what the search in the header of each page sends.
        pattern, state = (query.get("pattern") or query.get("q", "")).strip(), query.get("state", "")
        if len(pattern) > MAX_PATTERN_CHARACTERS:
            raise BadRequest(f"A pattern has at most {MAX_PATTERN_CHARACTERS} characters.")
        if state and state not in list(NameState):
            raise BadRequest(f"Use state={', state='.join(NameState)}, or leave it out.")
        return cls(
            pattern,
            NameState(state) if state else None,
            *(query.get(name, "") for name in ("mapping", "of", "cursor")),
        )

    @property
    def narrows(self) -> bool:
        """Whether it can leave out a name."""
        return bool(self.pattern or self.state or self.mapping or self.of)

    @property
    def filters(self) -> dict[str, str]:
        """The query of an address that selects the same names, from the first page on."""
        named = {"pattern": self.pattern, "state": self.state or "", "mapping": self.mapping, "of": self.of}
        return {name: value for name, value in named.items() if value}

    def matches_name(self, name: str) -> bool:
        """Whether the pattern matches, whatever the case."""
        pattern = self.pattern.lower()
        return matches(name.lower(), pattern) if "*" in pattern else pattern in name.lower()


@dataclass(frozen=True, slots=True)
class Row:
    """One name.

    An index has a `mapping_hash`, `fields_total` (None: its mapping is not in memory), and `others_total` indices with
    the same mapping; an alias or data stream stands for `indices_total` indices.
    """

    name: str
    kind: str
    state: NameState
    age_seconds: float
    fields_total: int | None
    mapping_hash: str | None
    others_total: int
    indices_total: int


@dataclass(frozen=True, slots=True)
class Names:
    """One page of names. `total` and `kinds` count all that match; `first` is the number of the first row, from 1."""

    rows: tuple[Row, ...]
    total: int
    kinds: tuple[tuple[str, int], ...]
    first: int
    next_cursor: str

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1


@dataclass(frozen=True, slots=True)
class Group:
    """Indices that share one mapping: the first by name, and how many there are."""

    mapping_hash: str
    names: tuple[str, ...]
    total: int
    fields_total: int | None


@dataclass(frozen=True, slots=True)
class Groups:
    """One page of distinct mappings, those of the most indices first. `indices_total` counts all that match."""

    rows: tuple[Group, ...]
    total: int
    indices_total: int
    first: int
    next_cursor: str

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1


def list_names(snapshot: Snapshot, counts: FieldCounts, wanted: NameFilter, times: Times) -> Names:
    """List a page of the names that match, those after `wanted.cursor`, a name itself. Raises `IllegalName`."""
    found = _matching(snapshot, wanted, times)
    start = sum(name <= wanted.cursor for name in found) if wanted.cursor else 0
    shown = found[start : start + PAGE]
    sharing = Counter(entry.mapping_hash for entry in snapshot.indices.values())
    kinds = Counter(kind_of(snapshot, name) for name in found)
    return Names(
        tuple(_row(snapshot, counts, sharing, name, times) for name in shown),
        len(found),
        tuple((kind, kinds[kind]) for kind in (INDEX, ALIAS, DATA_STREAM) if kinds[kind]),
        start + 1,
        shown[-1] if start + PAGE < len(found) else "",
    )


def list_groups(snapshot: Snapshot, counts: FieldCounts, wanted: NameFilter, times: Times) -> Groups:
    """List a page of the distinct mappings of the indices that match.

    Raises:
        BadRequest: `wanted.cursor` is not a number, or `wanted.of` is no name or expression.
    """
    cursor = wanted.cursor or "0"
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 9:
        raise BadRequest("This cursor is not one of ours: use the links of the pages.")
    start = int(cursor)
    found = [name for name in _matching(snapshot, wanted, times) if name in snapshot.indices]
    groups = group_by_mapping(snapshot, counts, found, start, start + PAGE)
    total = len({snapshot.indices[name].mapping_hash for name in found})
    following = str(start + PAGE) if start + PAGE < total else ""
    return Groups(groups, total, len(found), start + 1, following)


def group_by_mapping(
    snapshot: Snapshot, counts: FieldCounts, names: Iterable[str], start: int, end: int
) -> tuple[Group, ...]:
    """Group indices of the snapshot, given in order, by their mapping.

    Returns:
        The groups from number `start` up to `end`, those of the most indices first.
    """
    by_hash: dict[str, list[str]] = {}
    for name in names:
        by_hash.setdefault(snapshot.indices[name].mapping_hash, []).append(name)
    ordered = sorted(by_hash.items(), key=lambda item: (-len(item[1]), item[1][0]))
    return tuple(
        Group(mapping_hash, tuple(indices[:SHOWN_NAMES]), len(indices), _fields_total(snapshot, counts, mapping_hash))
        for mapping_hash, indices in ordered[start:end]
    )


def kind_of(snapshot: Snapshot, name: str) -> str:
    """Tell an index, an alias and a data stream apart."""
    if name in snapshot.indices:
        return INDEX
    return DATA_STREAM if name in snapshot.data_streams else ALIAS


def _matching(snapshot: Snapshot, wanted: NameFilter, times: Times) -> list[str]:
    """The names that match, in alphabetical order."""
    among: Iterable[str] = {*snapshot.indices, *snapshot.aliases}
    if wanted.of:
        of = asked(wanted.of, ALL_VISIBLE)
        members = resolve(snapshot, of).indices if isinstance(of, Expression) else snapshot.aliases.get(of, ())
        among = (name for name in members if name in snapshot.indices)
    if wanted.mapping:
        entries: Mapping[str, IndexEntry] = snapshot.indices
        among = (name for name in among if name in entries and entries[name].mapping_hash == wanted.mapping)
    found = sorted(filter(wanted.matches_name, among))
    if wanted.state:
        found = [name for name in found if _state(snapshot, name, times)[0] is wanted.state]
    return found


def _row(snapshot: Snapshot, counts: FieldCounts, sharing: Mapping[str, int], name: str, times: Times) -> Row:
    state, age_seconds = _state(snapshot, name, times)
    entry = snapshot.indices.get(name)
    mapping_hash = None if entry is None else entry.mapping_hash
    return Row(
        name,
        kind_of(snapshot, name),
        state,
        age_seconds,
        None if mapping_hash is None else _fields_total(snapshot, counts, mapping_hash),
        mapping_hash,
        0 if mapping_hash is None else sharing[mapping_hash] - 1,
        1 if entry is not None else len(snapshot.aliases[name]),
    )


def _fields_total(snapshot: Snapshot, counts: FieldCounts, mapping_hash: str) -> int | None:
    body = snapshot.bodies.get(mapping_hash)
    return None if body is None else counts.count(mapping_hash, body)


def _state(snapshot: Snapshot, name: str, times: Times) -> tuple[NameState, float]:
    age_seconds = max(0.0, times.now - snapshot.confirmed_of(name))
    if snapshot.resolve(name) is None or age_seconds > times.ttl + times.max_stale:
        return NameState.UNREAD, age_seconds
    return (NameState.FRESH if age_seconds <= times.ttl else NameState.STALE), age_seconds
