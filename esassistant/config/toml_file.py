"""Reads files with entries such as `[[token]]`, which an operator writes. Messages name the entry and the line that is
wrong.
"""

import re
import stat
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 1_000_000
EVERYTHING = "*"
_UNUSABLE = re.compile(r'[\s",/<>?\\|#:\x00-\x1f\x7f-\x9f]')
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class BadFile(ValueError):
    """The file can't be used; the message says where and why, and contains no secret."""


def read_text(path: Path) -> str:
    """Read a file. Raise `BadFile` if it can't be read, is no regular file, is too large, or isn't UTF-8."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadFile("is no regular file")  # opening a pipe would wait for a writer
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadFile(f"can't be read ({error.strerror or type(error).__name__})") from None
    if len(raw) > MAX_FILE_BYTES:
        raise BadFile(f"has more than {MAX_FILE_BYTES} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadFile("is not UTF-8") from None


def entries(text: str, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the `[[kind]]` entries of a file, each after a text that says where it stands. An empty file has no
    entries. Raise `BadFile` if the text isn't TOML, or has anything but such entries.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadFile(f"is not TOML: {error}") from None
    if unknown := sorted(document.keys() - {kind}):
        raise BadFile(f"has the unknown key {unknown[0][:80]!r}; write entries as [[{kind}]]")
    given = document.get(kind, [])
    if not isinstance(given, list) or not all(isinstance(entry, Mapping) for entry in given):
        raise BadFile(f"has a {kind} that is no [[{kind}]] entry, with two brackets on each side")
    lines = _lines(text, kind, len(given))
    for place, entry in enumerate(given):
        yield _where(kind, place, entry, lines), entry


def check_keys(entry: Mapping[str, Any], where: str, keys: Collection[str], required: Collection[str]) -> None:
    """Raise `BadFile` if `entry` has an unknown key, or lacks a required one."""
    if unknown := sorted(entry.keys() - set(keys)):
        raise BadFile(f"{where}: there is no key {unknown[0][:80]!r}; use {', '.join(keys)}")
    if missing := [key for key in required if key not in entry]:
        raise BadFile(f"{where}: {missing[0]} is missing")


def patterns(given: Any, where: str) -> tuple[str, ...]:
    """Return the value of `indices`: names and patterns of indices, aliases and data streams. Raise `BadFile` if it
    isn't a list of such names and patterns.
    """
    if not isinstance(given, list) or not given or not all(isinstance(pattern, str) for pattern in given):
        raise BadFile(f'{where}: indices is a list of names and patterns, such as ["logs-*"]; ["*"] is everything')
    for pattern in given:
        can_be_name = pattern and pattern[0] not in "-_+" and not _UNUSABLE.search(pattern)
        if not can_be_name or (pattern != EVERYTHING and not pattern.strip("*")):
            raise BadFile(
                f"{where}: {pattern[:80]!r} can't be the name of an index, alias or data stream, nor a pattern of such"
            )
    return tuple(given)


def _lines(text: str, kind: str, count: int) -> list[int] | None:
    """Return the line on which each entry begins, or None if that isn't clear."""
    header = re.compile(rf"^[ \t]*\[\[[ \t]*[\"']?{kind}[\"']?[ \t]*\]\]", re.MULTILINE)
    lines, line, place = list[int](), 1, 0
    for match in header.finditer(text):
        line += text.count("\n", place, match.start())  # counted from the header before, as a file may have thousands
        place = match.start()
        lines.append(line)
    return lines if len(lines) == count else None


def _where(kind: str, place: int, entry: Mapping[str, Any], lines: list[int] | None) -> str:
    named = entry.get("name")
    name = f" {named!r}" if isinstance(named, str) and NAME.fullmatch(named) else ""
    line = "" if lines is None else f" (line {lines[place]})"
    return f"{kind} {place + 1}{name}{line}"
