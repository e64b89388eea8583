"""Find the positions of parts of a JSON text."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_BLANK = re.compile(r"[\s,:]*")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(_TEXT.pattern + r"|[{}\[\]]", re.DOTALL)
_PLAIN = re.compile(r"[^\s,:\[\]{}\"]+")
Span = tuple[int, int]
"""The positions in a text, in characters, at which something begins and ends."""


def line_of(raw: bytes, path: str) -> int:
    """Return the line number, from 1, of what a JSON Pointer leads to. If it leads nowhere: of the last step that
    exists.

    Args:
        raw: JSON that can be parsed.
        path: The pointer.
    """
    text = raw.decode("utf-8", "replace")
    return text.count("\n", 0, spans_of(text, [path])[path][0]) + 1


def spans_of(text: str, paths: Iterable[str]) -> dict[str, Span]:
    """Return the positions of what JSON Pointers lead to. For one that leads nowhere: those of the last step that
    exists.

    The span of a member is its key, together with the value if that is neither an object nor a list. The text is read
    once for all pointers.

    Args:
        text: JSON that can be parsed.
        paths: The pointers.
    """
    root = _Wanted()
    for path in paths:
        wanted = root
        for step in path.split("/")[1:]:
            wanted = wanted.below.setdefault(step.replace("~1", "/").replace("~0", "~"), _Wanted())
        wanted.paths.append(path)
    start = _start(text, 0)
    found: dict[str, Span] = {}
    _look_into(text, start, root, (start, start + 1), found, _ends(text))
    return found


@dataclass(slots=True)
class _Wanted:
    """What is looked for in a value: the pointers that end here, and what is wanted below it, by the next step."""

    paths: list[str] = field(default_factory=list)
    below: dict[str, "_Wanted"] = field(default_factory=dict)

    def give(self, span: Span, found: dict[str, Span]) -> None:
        """Give this span to all pointers that lead here or further down, unless they have one already."""
        left = [self]
        while left:
            one = left.pop()
            for path in one.paths:
                found.setdefault(path, span)
            left.extend(one.below.values())


def _look_into(
    text: str, place: int, wanted: _Wanted, span: Span, found: dict[str, Span], ends: dict[int, int]
) -> None:
    """Look for what is wanted in the value that begins at `place`. `span` is the span of the value as a whole."""
    for path in wanted.paths:
        found[path] = span
    is_object = text[place : place + 1] == "{"
    if wanted.below and (is_object or text[place : place + 1] == "["):
        place, number = _start(text, place + 1), 0
        while place < len(text) and text[place] not in "}]":
            key_at, key = place, str(number)
            key_end = place + 1
            if is_object:
                key_end = _end(text, place, ends)
                key = json.loads(text[place:key_end])
                place = _start(text, key_end)
            end = _end(text, place, ends)
            if (below := wanted.below.get(key)) is not None and not any(path in found for path in below.paths):
                is_plain = text[place : place + 1] not in ("{", "[")
                _look_into(text, place, below, (key_at, end if is_plain else key_end), found, ends)
            place, number = _start(text, end), number + 1
    wanted.give(span, found)


def _start(text: str, place: int) -> int:
    blank = _BLANK.match(text, place)
    return place if blank is None else blank.end()


def _ends(text: str) -> dict[int, int]:
    """Return the end of each object and each list, by its beginning. The text is read once, as an inner one is part of
    all outer ones.
    """
    ends: dict[int, int] = {}
    opened: list[int] = []
    for sign in _BRACKET.finditer(text):
        if sign[0] in ("{", "["):
            opened.append(sign.start())
        elif sign[0] in ("}", "]") and opened:
            ends[opened.pop()] = sign.end()
    return ends


def _end(text: str, place: int, ends: dict[int, int]) -> int:
    """Return the end of the value that begins at `place`."""
    if (known := ends.get(place)) is not None:
        return known
    found = (_TEXT if text[place : place + 1] == '"' else _PLAIN).match(text, place)
    return place + 1 if found is None else found.end()
