"""The file of tokens with a scope, `ESASSISTANT_TOKENS_FILE`: parses its entries, and says what is wrong with one."""

import enum
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from hashlib import sha256
from pathlib import Path
from typing import Any

from esassistant.config.toml_file import NAME, BadFile, check_keys, entries, patterns, read_text

MOST_IN_FLIGHT = 1_000_000
API = "api"
"""The name in logs and metrics for all tokens of `ESASSISTANT_API_TOKENS`."""
OTHER = "other"
"""The name in metrics for all tokens beyond those that are counted separately."""

KEYS = ("name", "sha256", "may", "indices", "expires", "max_in_flight")
REQUIRED = KEYS[:4]
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


class Right(enum.StrEnum):
    """What a token may do. `READ`: read mappings and everything made from them; `SEARCH`: search documents; `REFRESH`:
    have mappings read anew.
    """

    READ = "read"
    SEARCH = "search"
    REFRESH = "refresh"


@dataclass(frozen=True, slots=True)
class ScopedToken:
    """One entry of the file.

    Attributes:
        sha256: The digest of the token, in lower case. The token itself is stored nowhere.
        indices: Patterns of names of indices, aliases and data streams.
        expires: None: never.
        max_in_flight: The most requests at once in each process. None: no limit of its own.
    """

    name: str
    sha256: str = field(repr=False)
    may: frozenset[Right]
    indices: tuple[str, ...]
    expires: datetime | None = None
    max_in_flight: int | None = None


def digest_of(token: bytes) -> str:
    """Return what the file has in place of a token. A plain digest is enough, as a token is long and random and can't
    be guessed from it.
    """
    return sha256(token).hexdigest()


def load_tokens(path: Path, api_tokens: Collection[str] = ()) -> tuple[ScopedToken, ...]:
    """Read and parse the file. Raise `BadFile` if it can't be read, or if something in it is wrong."""
    return parse_tokens(read_text(path), api_tokens)


def parse_tokens(text: str, api_tokens: Collection[str] = ()) -> tuple[ScopedToken, ...]:
    """Parse the tokens of a file.

    Args:
        text: The whole file, TOML with `[[token]]` entries; an empty file has none.
        api_tokens: The tokens of `ESASSISTANT_API_TOKENS`, which may do everything. The file must not repeat one of
            them.

    Raises:
        BadFile: Something is wrong. The message names the entry and the line of the first mistake.
    """
    everything = {digest_of(token.encode()) for token in api_tokens}
    names: dict[str, str] = {}
    digests: dict[str, str] = {}
    found = []
    for where, entry in entries(text, "token"):
        token = _token(entry, where)
        if token.sha256 in everything:
            raise BadFile(f"{where}: this token is in ESASSISTANT_API_TOKENS too, where it may do everything")
        for what, value, known in (("name", token.name, names), ("sha256", token.sha256, digests)):
            if value in known:
                raise BadFile(f"{where}: {known[value]} has the same {what}")
            known[value] = where
        found.append(token)
    return tuple(found)


def _token(entry: Mapping[str, Any], where: str) -> ScopedToken:
    check_keys(entry, where, KEYS, REQUIRED)
    name, digest = entry["name"], entry["sha256"]
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in (API, OTHER):
        raise BadFile(
            f"{where}: a name has 1 to 64 of letters, digits, '.', '_' and '-', and is neither {API!r} nor {OTHER!r}"
        )
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise BadFile(f"{where}: sha256 is the SHA-256 of the token in 64 hexadecimal digits")
    return ScopedToken(
        name=name,
        sha256=digest.lower(),
        may=frozenset(_rights(entry["may"], where)),
        indices=patterns(entry["indices"], where),
        expires=_expiry(entry.get("expires"), where),
        max_in_flight=_in_flight(entry.get("max_in_flight"), where),
    )


def _rights(given: Any, where: str) -> list[Right]:
    rights = ", ".join(f'"{right.value}"' for right in Right)
    if not isinstance(given, list) or not given:
        raise BadFile(f"{where}: may is a list of some of {rights}")
    try:
        return [Right(right) for right in given]
    except ValueError:
        wrong = next(right for right in given if right not in list(Right))
        raise BadFile(f"{where}: there is no right {str(wrong)[:80]!r}; use some of {rights}") from None


def _expiry(given: Any, where: str) -> datetime | None:
    """Return when a token expires. A date without a time means its first moment in UTC. Raise `BadFile` if it is
    neither a date nor a time with an offset.
    """
    if given is None:
        return None
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise BadFile(f"{where}: expires needs an offset, such as Z for UTC: {given.isoformat()}Z")
        return given.astimezone(UTC)
    if isinstance(given, date):
        return datetime.combine(given, time(), UTC)
    raise BadFile(f"{where}: expires is a date without quotes, such as 2027-01-31 or 2027-01-31T18:00:00Z")


def _in_flight(given: Any, where: str) -> int | None:
    if given is not None and (type(given) is not int or not 1 <= given <= MOST_IN_FLIGHT):
        raise BadFile(f"{where}: max_in_flight is a whole number from 1 to {MOST_IN_FLIGHT}")
    return given
