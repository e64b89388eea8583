"""The list of names: indices, aliases and data streams, filtered and in pages."""

import base64
import binascii
from bisect import bisect_right
from dataclasses import dataclass

from cacheapp.state.names import matches
from cacheapp.state.snapshot import Snapshot
from esassistant.errors import BadRequest

DEFAULT_LIMIT = 100
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


class NamePages:
    """Pages over snapshots. Keeps the sorted names of the latest snapshot, as each page needs them."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._names: list[str] = []

    def page(self, snapshot: Snapshot, now: float, *, pattern: str, limit: int, cursor: str | None) -> Page:
        """The names after `cursor` that match `pattern`, at most `limit`. Raises `BadRequest` for a cursor that isn't
        ours.
        """
        if snapshot is not self._snapshot:
            self._snapshot, self._names = snapshot, sorted({*snapshot.indices, *snapshot.aliases})
        if len(pattern) > MAX_PATTERN_CHARACTERS:
            raise BadRequest(f"A pattern has at most {MAX_PATTERN_CHARACTERS} characters.")
        start = 0 if cursor is None else bisect_right(self._names, _decode_cursor(cursor))
        found: list[Listed] = []
        for name in self._names[start:]:
            if matches(name, pattern):
                if len(found) == limit:
                    return Page(tuple(found), _encode_cursor(found[-1].name))
                found.append(_listed(snapshot, name, now))
        return Page(tuple(found), None)


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
