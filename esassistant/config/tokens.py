"""The file of tokens with a scope, `ESASSISTANT_TOKENS_FILE`: what an entry may say, and what is wrong with one."""

import enum
import re
import stat
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from hashlib import sha256
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 1_000_000
MOST_IN_FLIGHT = 1_000_000
API = "api"
"""Stands in logs and metrics for the tokens of `ESASSISTANT_API_TOKENS`."""
OTHER = "other"
"""Stands in metrics for what is beyond the names that are counted apart."""
EVERYTHING = "*"

KEYS = ("name", "sha256", "may", "indices", "expires", "max_in_flight")
REQUIRED = KEYS[:4]
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*[\"']?token[\"']?[ \t]*\]\]", re.MULTILINE)
_UNUSABLE = re.compile(r'[\s",/<>?\\|#:\x00-\x1f\x7f-\x9f]')


class Right(enum.StrEnum):
    """What a token may do. `READ`: mappings and all that is made of them; `SEARCH`: search documents; `REFRESH`: have
    mappings read anew.
    """

    READ = "read"
    SEARCH = "search"
    REFRESH = "refresh"


class BadTokens(ValueError):
    """The file can't be used; the message says where and why, without any digest."""


@dataclass(frozen=True, slots=True)
class ScopedToken:
    """One entry. `sha256`: of the token, in lower case; the token itself stands nowhere. `indices`: patterns of names
    of indices, aliases and data streams. `expires`: None: never. `max_in_flight`: requests at once in each process;
    None: as many as anybody.
    """

    name: str
    sha256: str = field(repr=False)
    may: frozenset[Right]
    indices: tuple[str, ...]
    expires: datetime | None = None
    max_in_flight: int | None = None


def digest_of(token: bytes) -> str:
    """What stands in the file for a token. A token is random and long, so that its plain digest can't be guessed."""
    return sha256(token).hexdigest()


def load_tokens(path: Path, api_tokens: Collection[str] = ()) -> tuple[ScopedToken, ...]:
    """Read the file. Raises `BadTokens` when it can't be read, too."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadTokens("is no regular file")  # to open a pipe would wait for who writes to it
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadTokens(f"can't be read ({error.strerror or type(error).__name__})") from None
    if len(raw) > MAX_FILE_BYTES:
        raise BadTokens(f"has more than {MAX_FILE_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadTokens("is not UTF-8") from None
    return parse_tokens(text, api_tokens)


def parse_tokens(text: str, api_tokens: Collection[str] = ()) -> tuple[ScopedToken, ...]:
    """Read the tokens of a file.

    Args:
        text: The whole file, TOML with `[[token]]` entries; an empty file has none.
        api_tokens: Tokens that may do everything; the file can't narrow them.

    Raises:
        BadTokens: Something is wrong; the first such thing is named by entry and line.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadTokens(f"is not TOML: {error}") from None
    if unknown := sorted(document.keys() - {"token"}):
        raise BadTokens(f"has the unknown key {unknown[0][:80]!r}; write entries as [[token]]")
    given = document.get("token", [])
    if not isinstance(given, list) or not all(isinstance(entry, Mapping) for entry in given):
        raise BadTokens("has a token that is no [[token]] entry, with two brackets on each side")
    lines = _lines(text, len(given))
    everything = {digest_of(token.encode()) for token in api_tokens}
    names: dict[str, str] = {}
    digests: dict[str, str] = {}
    found = []
    for place, entry in enumerate(given):
        where = _where(place, entry, lines)
        token = _token(entry, where)
        if token.sha256 in everything:
            raise BadTokens(f"{where}: this token is in ESASSISTANT_API_TOKENS too, where it may do everything")
        for what, value, known in (("name", token.name, names), ("sha256", token.sha256, digests)):
            if value in known:
                raise BadTokens(f"{where}: {known[value]} has the same {what}")
            known[value] = where
        found.append(token)
    return tuple(found)


def _lines(text: str, entries: int) -> list[int] | None:
    """Return the line on which each entry begins; None where that can't be told."""
    lines, line, place = list[int](), 1, 0
    for match in _HEADER.finditer(text):
        line += text.count("\n", place, match.start())  # from the header before: a file may have thousands
        place = match.start()
        lines.append(line)
    return lines if len(lines) == entries else None


def _where(place: int, entry: Mapping[str, Any], lines: list[int] | None) -> str:
    named = entry.get("name")
    name = f" {named!r}" if isinstance(named, str) and _NAME.fullmatch(named) else ""
    line = "" if lines is None else f" (line {lines[place]})"
    return f"token {place + 1}{name}{line}"


def _token(entry: Mapping[str, Any], where: str) -> ScopedToken:
    if unknown := sorted(entry.keys() - set(KEYS)):
        raise BadTokens(f"{where}: there is no key {unknown[0][:80]!r}; use {', '.join(KEYS)}")
    if missing := [key for key in REQUIRED if key not in entry]:
        raise BadTokens(f"{where}: {missing[0]} is missing")
    name, digest = entry["name"], entry["sha256"]
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in (API, OTHER):
        raise BadTokens(
            f"{where}: a name has 1 to 64 of letters, digits, '.', '_' and '-', and is neither {API!r} nor {OTHER!r}"
        )
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise BadTokens(f"{where}: sha256 is the SHA-256 of the token in 64 hexadecimal digits")
    return ScopedToken(
        name=name,
        sha256=digest.lower(),
        may=frozenset(_rights(entry["may"], where)),
        indices=_patterns(entry["indices"], where),
        expires=_expiry(entry.get("expires"), where),
        max_in_flight=_in_flight(entry.get("max_in_flight"), where),
    )


def _rights(given: Any, where: str) -> list[Right]:
    rights = ", ".join(f'"{right.value}"' for right in Right)
    if not isinstance(given, list) or not given:
        raise BadTokens(f"{where}: may is a list of some of {rights}")
    try:
        return [Right(right) for right in given]
    except ValueError:
        wrong = next(right for right in given if right not in list(Right))
        raise BadTokens(f"{where}: there is no right {str(wrong)[:80]!r}; use some of {rights}") from None


def _patterns(given: Any, where: str) -> tuple[str, ...]:
    if not isinstance(given, list) or not given or not all(isinstance(pattern, str) for pattern in given):
        raise BadTokens(f'{where}: indices is a list of names and patterns, such as ["logs-*"]; ["*"] is everything')
    for pattern in given:
        can_be_name = pattern and pattern[0] not in "-_+" and not _UNUSABLE.search(pattern)
        if not can_be_name or (pattern != EVERYTHING and not pattern.strip("*")):
            raise BadTokens(
                f"{where}: {pattern[:80]!r} can't be the name of an index, alias or data stream, nor a pattern of such"
            )
    return tuple(given)


def _expiry(given: Any, where: str) -> datetime | None:
    """A date is its first moment in UTC."""
    if given is None:
        return None
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise BadTokens(f"{where}: expires needs an offset, such as Z for UTC: {given.isoformat()}Z")
        return given.astimezone(UTC)
    if isinstance(given, date):
        return datetime.combine(given, time(), UTC)
    raise BadTokens(f"{where}: expires is a date without quotes, such as 2027-01-31 or 2027-01-31T18:00:00Z")


def _in_flight(given: Any, where: str) -> int | None:
    if given is not None and (type(given) is not int or not 1 <= given <= MOST_IN_FLIGHT):
        raise BadTokens(f"{where}: max_in_flight is a whole number from 1 to {MOST_IN_FLIGHT}")
    return given
