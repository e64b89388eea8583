"""What the mapping browser lists: the names that are known, and the distinct mappings. Pure; of many thousands of names
it takes tens of milliseconds, and so belongs into a thread.
"""

import enum
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cacheapp.mapping.fields import FieldCounts
from cacheapp.state.listing import MAX_PATTERN_CHARACTERS
from cacheapp.state.names import matches
from cacheapp.state.snapshot import IndexEntry, Snapshot
from esassistant.config.model import MappingCacheConfig
from esassistant.errors import BadRequest

PAGE = 100
NAMED = 10
"""How many indices of one mapping are named; the total is given beside."""

INDEX, ALIAS, DATA_STREAM = "index", "alias", "data stream"


class State(enum.StrEnum):
    """Whether a mapping would be answered from memory: fresh, stale but still answered, or only after it is read."""

    FRESH = "fresh"
    STALE = "stale"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class Times:
    """The moment that ages count back from, on the monotonic clock, and how old is how fresh."""

    now: float
    ttl: float
    max_stale: float

    @classmethod
    def at(cls, now: float, config: MappingCacheConfig) -> "Times":
        return cls(now, config.ttl, config.max_stale)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which names: those with `pattern` in them (or that match it, where it has a `*`), in this state, with this
    mapping, of this alias or data stream. `cursor`: where the page before ended.
    """

    pattern: str = ""
    state: State | None = None
    mapping: str = ""
    of: str = ""
    cursor: str = ""

    @classmethod
    def asked_for(cls, query: Mapping[str, str]) -> "Wanted":
        """What the query of an address says. Raises `BadRequest`."""
        pattern, state = query.get("pattern", "").strip(), query.get("state", "")
        if len(pattern) > MAX_PATTERN_CHARACTERS:
            raise BadRequest(f"A pattern has at most {MAX_PATTERN_CHARACTERS} characters.")
        if state and state not in list(State):
            raise BadRequest(f"Use state={', state='.join(State)}, or leave it out.")
        return cls(
            pattern,
            State(state) if state else None,
            *(query.get(name, "") for name in ("mapping", "of", "cursor")),
        )

    @property
    def narrows(self) -> bool:
        """Whether it leaves out any name."""
        return bool(self.pattern or self.state or self.mapping or self.of)

    @property
    def filters(self) -> dict[str, str]:
        """The part of an address's query that asks for the same again, from the first page on."""
        named = {"pattern": self.pattern, "state": self.state or "", "mapping": self.mapping, "of": self.of}
        return {name: value for name, value in named.items() if value}

    def has(self, name: str) -> bool:
        """Whether the name alone is one of those wanted, whatever the case."""
        pattern = self.pattern.lower()
        return matches(name.lower(), pattern) if "*" in pattern else pattern in name.lower()


@dataclass(frozen=True, slots=True)
class Row:
    """One name. `fields_total`, `mapping_hash` and `others_total` (with the same mapping) are those of an index;
    `indices_total` is how many indices an alias or data stream stands for.
    """

    name: str
    kind: str
    state: State
    age_seconds: float
    fields_total: int | None
    mapping_hash: str | None
    others_total: int
    indices_total: int


@dataclass(frozen=True, slots=True)
class Names:
    """One page of names. `kinds` counts all that match; `first` is the number of the first one here, from 1."""

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
    """Indices that share one mapping: the first by name, and how many."""

    mapping_hash: str
    names: tuple[str, ...]
    total: int
    fields_total: int | None


@dataclass(frozen=True, slots=True)
class Groups:
    """One page of distinct mappings, those of the most indices first. `indices_total`: of all that match."""

    rows: tuple[Group, ...]
    total: int
    indices_total: int
    first: int
    next_cursor: str

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1


def list_names(snapshot: Snapshot, counts: FieldCounts, wanted: Wanted, times: Times) -> Names:
    """The names after `wanted.cursor`, which is a name itself."""
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


def list_groups(snapshot: Snapshot, counts: FieldCounts, wanted: Wanted, times: Times) -> Groups:
    """The distinct mappings of the indices that match; `wanted.cursor` is a number. Raises `BadRequest` for another."""
    cursor = wanted.cursor or "0"
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 9:
        raise BadRequest("This cursor is not one of ours: use the links of the pages.")
    start = int(cursor)
    found = [name for name in _matching(snapshot, wanted, times) if name in snapshot.indices]
    groups = groups_of(snapshot, counts, found, start, start + PAGE)
    total = len({snapshot.indices[name].mapping_hash for name in found})
    following = str(start + PAGE) if start + PAGE < total else ""
    return Groups(groups, total, len(found), start + 1, following)


def groups_of(snapshot: Snapshot, counts: FieldCounts, names: Iterable[str], start: int, end: int) -> tuple[Group, ...]:
    """Some of the distinct mappings of indices, which must be known and in order; those of the most indices first."""
    having: dict[str, list[str]] = {}
    for name in names:
        having.setdefault(snapshot.indices[name].mapping_hash, []).append(name)
    ordered = sorted(having.items(), key=lambda item: (-len(item[1]), item[1][0]))
    return tuple(
        Group(known, tuple(indices[:NAMED]), len(indices), _fields_total(snapshot, counts, known))
        for known, indices in ordered[start:end]
    )


def kind_of(snapshot: Snapshot, name: str) -> str:
    """What sort of name it is."""
    if name in snapshot.indices:
        return INDEX
    return DATA_STREAM if name in snapshot.data_streams else ALIAS


def _matching(snapshot: Snapshot, wanted: Wanted, times: Times) -> list[str]:
    """In alphabetical order."""
    among: Iterable[str] = {*snapshot.indices, *snapshot.aliases}
    if wanted.of:
        among = (name for name in snapshot.aliases.get(wanted.of, ()) if name in snapshot.indices)
    if wanted.mapping:
        known: Mapping[str, IndexEntry] = snapshot.indices
        among = (name for name in among if name in known and known[name].mapping_hash == wanted.mapping)
    found = sorted(filter(wanted.has, among))
    if wanted.state:
        found = [name for name in found if _state(snapshot, name, times)[0] is wanted.state]
    return found


def _row(snapshot: Snapshot, counts: FieldCounts, sharing: Mapping[str, int], name: str, times: Times) -> Row:
    state, age_seconds = _state(snapshot, name, times)
    entry = snapshot.indices.get(name)
    known = None if entry is None else entry.mapping_hash
    return Row(
        name,
        kind_of(snapshot, name),
        state,
        age_seconds,
        None if known is None else _fields_total(snapshot, counts, known),
        known,
        0 if known is None else sharing[known] - 1,
        1 if entry is not None else len(snapshot.aliases[name]),
    )


def _fields_total(snapshot: Snapshot, counts: FieldCounts, mapping_hash: str) -> int | None:
    body = snapshot.bodies.get(mapping_hash)
    return None if body is None else counts.count(mapping_hash, body)


def _state(snapshot: Snapshot, name: str, times: Times) -> tuple[State, float]:
    age_seconds = max(0.0, times.now - snapshot.confirmed_of(name))
    if snapshot.resolve(name) is None or age_seconds > times.ttl + times.max_stale:
        return State.UNREAD, age_seconds
    return (State.FRESH if age_seconds <= times.ttl else State.STALE), age_seconds
