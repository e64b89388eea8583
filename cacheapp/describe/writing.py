"""Write entries as lines: fields with a common beginning on one line, grouped by type. Pure.

keyword status customer; date placed_at            at the top level
shipping.: keyword carrier; date sent delivered    shipping.carrier, shipping.sent, shipping.delivered
  sent — when the parcel left the house
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from cacheapp.describe.entries import Entry, written
from cacheapp.describe.tokens import BYTES_PER_TOKEN, cost


class Piece(NamedTuple):
    """A piece of a text, its size in bytes, and the cost of its runs in tokens."""

    text: str
    size_bytes: int
    cost: float


class Line:
    """The entries of one line. The paths of all begin with `prefix`, which is empty at the top level."""

    __slots__ = ("entries", "is_nested", "prefix")

    def __init__(self, prefix: str, is_nested: bool, entries: Sequence[Entry]) -> None:
        self.prefix = prefix
        self.is_nested = is_nested
        self.entries = entries

    def pieces(self, noted: frozenset[str] | None) -> list[Piece]:
        """Return the text of the line in pieces, with the notes of the paths in `noted`; None: all notes."""
        start = len(self.prefix) + 1 if self.prefix else 0
        by_types: dict[str, list[Piece]] = {}
        notes: list[Piece] = []
        for entry in self.entries:
            piece = _entry_piece(entry.path, start, entry.marks)
            if entry.types in by_types:
                by_types[entry.types].append(piece)
            else:
                by_types[entry.types] = [piece]
            if entry.note and (noted is None or entry.path in noted):
                notes.append(sized(f"\n  {written(entry.path[start:])} — {entry.note}"))
        separator = "\n"
        if self.prefix:
            separator = f"\n{written(self.prefix)}.{' (nested)' if self.is_nested else ''}: "
        pieces: list[Piece] = []
        for types, of_type in by_types.items():
            pieces.append(sized(separator + types))
            pieces += of_type
            separator = "; "
        pieces += notes
        return pieces


class _Object:
    """An object, used while lines are chosen: its own entries, and the objects in it by name."""

    __slots__ = ("around", "below", "entries", "is_nested", "prefix")

    def __init__(self, prefix: str, around: "_Object | None" = None) -> None:
        self.prefix = prefix
        self.around = around
        self.is_nested = False
        self.below: dict[str, _Object] = {}
        self.entries: list[Entry] = []


def lines_of(entries: Iterable[Entry]) -> list[Line]:
    """Put entries into lines so that the text gets short: an object has its own line if that is shorter than to write
    its name before each of its fields. A nested object always has one.
    """
    root = _Object("")
    objects = {"": root}
    for entry in entries:
        around = entry.path.rpartition(".")[0]
        found = objects.get(around) or _object(objects, around)
        found.entries.append(entry)
        if entry.nested_path is not None:
            _object(objects, entry.nested_path).is_nested = True
    chosen: list[Line] = []
    left = _choose(root, chosen)
    if left:
        chosen.append(Line("", False, left))
    return sorted(chosen, key=lambda line: line.prefix)


def _object(objects: dict[str, _Object], prefix: str) -> _Object:
    """Return the object with that path. Make it, and the objects around it, if they aren't there yet."""
    missing = []
    while prefix not in objects:
        missing.append(prefix)
        prefix = prefix.rpartition(".")[0]
    found = objects[prefix]
    for path in reversed(missing):
        around, found = found, _Object(path, found)
        around.below[path] = objects[path] = found
    return found


def _choose(root: _Object, chosen: list[Line]) -> list[Entry]:
    """Add the lines of the objects below `root` that get their own to `chosen`; return the entries that stay with
    `root`.

    Objects are handled before those around them. There is no recursion, because names may have any number of dots.
    """
    ordered = [root]
    for found in ordered:  # the list grows meanwhile
        ordered += found.below.values()
    for found in reversed(ordered[1:]):
        if not found.entries:
            continue
        around = found.around
        assert around is not None  # only the root is in no other object
        saved_bytes = (len(found.prefix) - len(around.prefix)) * len(found.entries)
        paid_bytes = len(found.prefix) + 3 + sum(len(types) + 2 for types in {entry.types for entry in found.entries})
        if found.is_nested or around is root or saved_bytes > paid_bytes:
            chosen.append(Line(found.prefix, found.is_nested, found.entries))
        else:
            around.entries += found.entries
    return root.entries


@lru_cache(maxsize=50_000)
def sized(text: str) -> Piece:
    """Return a text as a piece."""
    return Piece(text, len(text.encode("utf-8", "surrogatepass")), cost(text))


@lru_cache(maxsize=50_000)
def _entry_piece(path: str, start: int, marks: str) -> Piece:
    """Return the piece of one entry. The first `start` characters of its path are at the beginning of the line
    already.
    """
    return sized(f" {written(path[start:])}{marks}")


def tokens_of(texts: Iterable[str]) -> float:
    """Return how many tokens texts have together at most."""
    return tokens_of_pieces(map(sized, texts))


def tokens_of_pieces(pieces: Iterable[Piece]) -> float:
    """Return how many tokens pieces have together at most."""
    size_bytes, runs = 0, 0.0
    for _, piece_bytes, piece_runs in pieces:
        size_bytes += piece_bytes
        runs += piece_runs
    return max(size_bytes / BYTES_PER_TOKEN, runs)
