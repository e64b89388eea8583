"""Find the line of a JSON text on which a part of it stands."""

import json
import re

_BLANK = re.compile(r"[\s,:]*")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PLAIN = re.compile(r"[^\s,:\[\]{}\"]+")
MAX_DEPTH = 200


def line_of(raw: bytes, path: str) -> int:
    """Return the line, from 1, of what a JSON Pointer leads to; where it leads nowhere, of the last step that is there.

    Args:
        raw: JSON that can be parsed.
        path: The pointer.
    """
    text = raw.decode("utf-8", "replace")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    place = _start(text, 0)
    for step in steps:
        found = _below(text, place, step)
        if found is None:
            break
        key_at, place = found
        if text[place : place + 1] not in ("{", "["):
            place = key_at
            break
    return text.count("\n", 0, place) + 1


def _start(text: str, place: int) -> int:
    blank = _BLANK.match(text, place)
    return place if blank is None else blank.end()


def _below(text: str, place: int, step: str) -> tuple[int, int] | None:
    """Where the key or element of that name stands, and where its value begins."""
    is_object = text[place : place + 1] == "{"
    if not is_object and text[place : place + 1] != "[":
        return None
    place = _start(text, place + 1)
    number = 0
    while place < len(text) and text[place] not in "}]":
        key_at, key = place, str(number)
        if is_object:
            end = _end(text, place)
            key = json.loads(text[place:end])
            place = _start(text, end)
        if key == step:
            return key_at, place
        place = _start(text, _end(text, place))
        number += 1
    return None


def _end(text: str, place: int) -> int:
    """Where the value that begins here ends."""
    depth = 0
    while place < len(text):
        sign = text[place]
        if sign == '"':
            found = _TEXT.match(text, place)
            place = len(text) if found is None else found.end()
        elif sign in "{[":
            depth, place = depth + 1, place + 1
        elif sign in "}]":
            depth, place = depth - 1, place + 1
        else:
            found = _PLAIN.match(text, place) or _BLANK.match(text, place)
            place = place + 1 if found is None or found.end() == place else found.end()
            if depth == 0:
                return place
            continue
        if depth == 0:
            return place
    return place
