"""The list of names: indices, aliases and data streams, filtered and in pages."""

import enum
import math
from bisect import bisect_right
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

import msgspec

from cacheapp.state.choice import NameChoice
from cacheapp.state.cursors import decode_cursor, encode_cursor
from cacheapp.state.expressions import parse
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import ALL_VISIBLE, Visible
from esassistant.http.answer import etag_of

DEFAULT_LIMIT = 100
MAX_PATTERN_CHARACTERS = 255
"""The longest pattern by which the mapping browser filters."""
FIRST_PAGE_SECONDS = 1.0
"""How long the first page is kept and given again."""
MAX_LIMIT = 1000


class Kind(enum.Enum):
    """What kind of thing a name stands for."""

    INDEX = "index"
    ALIAS = "alias"
    DATA_STREAM = "data_stream"


class State(enum.Enum):
    """The state by which names can be filtered. `closed`: all of the name's indices are closed; `open`: otherwise;
    `stale`: what is known of it is older than the TTL.
    """

    OPEN = "open"
    CLOSED = "closed"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Listed:
    """One name in the list. `mapping_hash` is None unless the name is that of an index. `closed_indices`: those of
    `indices` that are closed, as far as the last listing told.
    """

    name: str
    kind: Kind
    mapping_hash: str | None
    indices: tuple[str, ...]
    closed_indices: tuple[str, ...]
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Page:
    """A page of names in alphabetical order. `next_cursor`: asks for the next page; None: this is the last."""

    names: tuple[Listed, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class FirstPage:
    """The first page of all names of a snapshot, as JSON, and the moment until which it is given. Callers don't get its
    `etag`, because it changes every second.
    """

    snapshot: Snapshot
    until: float
    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class NameFilter:
    """Which names are wanted.

    Args:
        pattern: An expression of names, as everywhere else, except that a pattern gives closed indices too. None: all
            names, including hidden ones.
        kind: What kind of thing the name stands for; None: any.
        state: The state of what the name stands for; None: any.
        mapping_hashes: Only names that stand for an index with one of these mappings; None: with any.
        visible: The names that exist for the caller.
    """

    pattern: str | None = None
    kind: Kind | None = None
    state: State | None = None
    mapping_hashes: Container[str] | None = None
    visible: Visible = field(kw_only=True)


ANY_NAME = NameFilter(visible=ALL_VISIBLE)


class NamePages:
    """Makes pages of names. Keeps the sorted names of the latest snapshot, which each page needs, and for a moment the
    first page, which most callers ask for.
    """

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._names: list[str] = []
        self._first: FirstPage | None = None

    def first(self, snapshot: Snapshot, now: float) -> FirstPage:
        """Return the first page of all names, as callers without a filter and with all names in their scope get it. Its
        ages are those at the end of the time for which it is kept, so that no age is understated.
        """
        first = self._first
        if first is None or first.snapshot is not snapshot or now >= first.until:
            until = now + FIRST_PAGE_SECONDS
            names = self.sorted_names(snapshot)
            page = name_page(names, snapshot, until, ANY_NAME, limit=DEFAULT_LIMIT, cursor=None)
            body = msgspec.json.encode(page)
            first = self._first = FirstPage(snapshot, until, body, etag_of(body))
        return first

    def sorted_names(self, snapshot: Snapshot) -> Sequence[str]:
        """Return all names of a snapshot, sorted. The list is kept until there are other names, and never changed."""
        known = self._snapshot
        if snapshot is known:
            return self._names
        self._snapshot = snapshot
        if (
            known is None
            or known.indices.keys() != snapshot.indices.keys()
            or known.aliases.keys() != snapshot.aliases.keys()
        ):
            self._names = sorted({*snapshot.indices, *snapshot.aliases})
        return self._names


def name_page(
    names: Sequence[str],
    snapshot: Snapshot,
    now: float,
    wanted: NameFilter,
    *,
    limit: int,
    cursor: str | None,
    ttl: float = math.inf,
) -> Page:
    """Return the wanted names that come after `cursor`, at most `limit`. `names`: all names of the snapshot, sorted.
    Names older than `ttl` count as stale. Raises `BadRequest` for a cursor that isn't ours, and for an illegal pattern.

    If few names are wanted it goes through all, which takes tens of milliseconds for ten thousand.
    """
    choice = None if wanted.pattern is None else NameChoice(parse(wanted.pattern))
    start = 0 if cursor is None else bisect_right(names, decode_cursor(cursor))
    found: list[Listed] = []
    for name in names[start:]:
        if not wanted.visible.covers(name) or (choice is not None and not _is_given(snapshot, name, choice)):
            continue
        listed = _listed(snapshot, name, now)
        if _is_wanted(snapshot, listed, wanted, ttl):
            if len(found) == limit:
                return Page(tuple(found), encode_cursor(found[-1].name))
            found.append(listed)
    return Page(tuple(found), None)


def _is_given(snapshot: Snapshot, name: str, choice: NameChoice) -> bool:
    """Return whether an expression gives a name. An index that is hidden by its settings is given only by its exact
    name.
    """
    if name in snapshot.hidden and not choice.names(name):
        return False
    return choice.covers((name,))


def _is_wanted(snapshot: Snapshot, listed: Listed, wanted: NameFilter, ttl: float) -> bool:
    if wanted.kind is not None and listed.kind is not wanted.kind:
        return False
    if wanted.mapping_hashes is not None and not any(
        entry.mapping_hash in wanted.mapping_hashes
        for index in listed.indices
        if (entry := snapshot.indices.get(index)) is not None
    ):
        return False
    if wanted.state is None:
        return True
    if wanted.state is State.STALE:
        return listed.age_seconds > ttl
    is_closed = bool(listed.indices) and len(listed.closed_indices) == len(listed.indices)
    return is_closed is (wanted.state is State.CLOSED)


def _listed(snapshot: Snapshot, name: str, now: float) -> Listed:
    entry = snapshot.indices.get(name)
    if entry is not None:
        return _listed_as(Kind.INDEX, entry.mapping_hash, (name,), snapshot, name, now)
    kind = Kind.DATA_STREAM if name in snapshot.data_streams else Kind.ALIAS
    return _listed_as(kind, None, snapshot.aliases[name], snapshot, name, now)


def _listed_as(
    kind: Kind, mapping_hash: str | None, indices: tuple[str, ...], snapshot: Snapshot, name: str, now: float
) -> Listed:
    closed = tuple(index for index in indices if index in snapshot.closed) if snapshot.closed else ()
    return Listed(name, kind, mapping_hash, indices, closed, _age(snapshot, name, now))


def _age(snapshot: Snapshot, name: str, now: float) -> float:
    return round(now - snapshot.confirmed_of(name), 3)
