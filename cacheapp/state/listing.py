"""The list of names: indices, aliases and data streams, filtered and in pages."""

import base64
import binascii
from bisect import bisect_right
from dataclasses import dataclass

import msgspec

from cacheapp.state.names import matches
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import ALL_VISIBLE, Visible
from esassistant.errors import BadRequest
from esassistant.http.answer import etag_of

DEFAULT_LIMIT = 100
EVERYTHING = "*"
FIRST_PAGE_SECONDS = 1.0
"""So long the first page is given as it is."""
MAX_LIMIT = 1000
MAX_PATTERN_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class Listed:
    """One name. `kind`: index, alias or data_stream; `mapping_hash` is None unless it is an index."""

    name: str
    kind: str
    mapping_hash: str | None
    indices: tuple[str, ...]
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Page:
    """A page of names in alphabetical order. `next_cursor` asks for the next; None: this is the last."""

    names: tuple[Listed, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class FirstPage:
    """The first page of all names as JSON, of a snapshot, and until when it is given. Callers don't get its `etag`: a
    moment later it is another one.
    """

    snapshot: Snapshot
    until: float
    body: bytes
    etag: str


class NamePages:
    """Pages over snapshots. Keeps the sorted names of the latest snapshot, as each page needs them, and the first page,
    which most ask for, for a moment.
    """

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._names: list[str] = []
        self._first: FirstPage | None = None

    def first(self, snapshot: Snapshot, now: float) -> FirstPage:
        """The first page of all names, as everybody gets it unless he asks for something else. Its ages are those at
        the end of the moment for which it is given: no age is understated.
        """
        first = self._first
        if first is None or first.snapshot is not snapshot or now >= first.until:
            until = now + FIRST_PAGE_SECONDS
            page = self.page(snapshot, until, pattern=EVERYTHING, limit=DEFAULT_LIMIT, cursor=None)
            body = msgspec.json.encode(page)
            first = self._first = FirstPage(snapshot, until, body, etag_of(body))
        return first

    def page(
        self,
        snapshot: Snapshot,
        now: float,
        *,
        pattern: str,
        limit: int,
        cursor: str | None,
        visible: Visible = ALL_VISIBLE,
    ) -> Page:
        """The visible names after `cursor` that match `pattern`, at most `limit`. Raises `BadRequest` for a cursor that
        isn't ours.
        """
        self._sort(snapshot)
        if len(pattern) > MAX_PATTERN_CHARACTERS:
            raise BadRequest(f"A pattern has at most {MAX_PATTERN_CHARACTERS} characters.")
        start = 0 if cursor is None else bisect_right(self._names, _decode_cursor(cursor))
        found: list[Listed] = []
        for name in self._names[start:]:
            if matches(name, pattern) and visible.covers(name):
                if len(found) == limit:
                    return Page(tuple(found), _encode_cursor(found[-1].name))
                found.append(_listed(snapshot, name, now))
        return Page(tuple(found), None)

    def _sort(self, snapshot: Snapshot) -> None:
        known = self._snapshot
        if snapshot is known:
            return
        self._snapshot = snapshot
        if (
            known is None
            or known.indices.keys() != snapshot.indices.keys()
            or known.aliases.keys() != snapshot.aliases.keys()
        ):
            self._names = sorted({*snapshot.indices, *snapshot.aliases})


def _listed(snapshot: Snapshot, name: str, now: float) -> Listed:
    entry = snapshot.indices.get(name)
    if entry is not None:
        return Listed(name, "index", entry.mapping_hash, (name,), _age(snapshot, name, now))
    kind = "data_stream" if name in snapshot.data_streams else "alias"
    return Listed(name, kind, None, snapshot.aliases[name], _age(snapshot, name, now))


def _age(snapshot: Snapshot, name: str, now: float) -> float:
    return round(now - snapshot.confirmed_of(name), 3)


def _encode_cursor(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> str:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True).decode()
    except (ValueError, binascii.Error):
        raise BadRequest("This cursor is not one of ours: use the `next_cursor` of the page before.") from None
