"""Callers as values: how a caller is known, and what it may do and see. Also keeps the tokens that are in force."""

import enum
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Final

from django.conf import settings

from esassistant.asgi_types import Scope
from esassistant.config.model import Details
from esassistant.config.tokens import API, Right, ScopedToken
from esassistant.config.toml_file import EVERYTHING


class CallerKind(enum.Enum):
    """How a caller is known."""

    ANONYMOUS = "anonymous"
    TOKEN = "token"  # noqa: S105  (a kind of caller)
    STAFF = "staff"


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who makes requests.

    Attributes:
        token: The name of the token, for logs and metrics.
        patterns: Patterns of the names of indices, aliases and data streams that exist for this caller.
        expires_at: When the token expires, in seconds of the wall clock.
        max_in_flight: The most requests of this token at once in this process. None: no limit of its own.
    """

    kind: CallerKind
    rights: frozenset[Right] = frozenset()
    patterns: tuple[str, ...] = ()
    token: str | None = None
    expires_at: float | None = None
    max_in_flight: int | None = None
    sees_all: bool = field(init=False)
    """True if every name exists for this caller. Then it may also see what isn't about single names: totals and
    operations.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "sees_all", EVERYTHING in self.patterns)

    def may(self, right: Right) -> bool:
        """Return True if the caller has this right, for the names that exist for it."""
        return right in self.rights

    @property
    def reads_all(self) -> bool:
        """True if the caller may read what is about the whole cluster or the whole service."""
        return self.sees_all and Right.READ in self.rights


EVERY_RIGHT: Final = frozenset(Right)
NOBODY: Final = Caller(CallerKind.ANONYMOUS)
ANYBODY: Final = Caller(CallerKind.ANONYMOUS, frozenset({Right.READ}), (EVERYTHING,))
"""A caller without a token, where everybody may read details."""
STAFF: Final = Caller(CallerKind.STAFF, EVERY_RIGHT, (EVERYTHING,))
API_CALLER: Final = Caller(CallerKind.TOKEN, EVERY_RIGHT, (EVERYTHING,), token=API)


def anonymous(details: Details) -> Caller:
    """Return the caller for a request without token and session."""
    return ANYBODY if details is Details.ALWAYS else NOBODY


def caller_with(token: ScopedToken) -> Caller:
    """Return the caller that has this token."""
    return Caller(
        CallerKind.TOKEN,
        token.may,
        token.indices,
        token=token.name,
        expires_at=None if token.expires is None else token.expires.timestamp(),
        max_in_flight=token.max_in_flight,
    )


def bearer_token(authorization: str) -> str | None:
    """Return the token of an `Authorization` header, or None for other schemes, which we don't check."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


class Tokens:
    """The tokens in force in this process: those of `ESASSISTANT_API_TOKENS`, and those of the file.

    Callers are looked up by the digest of the token that they send. The duration of that tells nothing about any token:
    the digest of a guess is not similar to that of a token, however similar the guess is.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._api: tuple[str, ...] | None = None
        self._started_with: tuple[ScopedToken, ...] | None = None
        self._callers: dict[bytes, Caller] = {}

    def find(self, token: str) -> Caller | None:
        """Return the caller that has `token`, even if it has expired, or None if nobody has it."""
        config = settings.ESASSISTANT
        if config.api_tokens is not self._api or config.scoped_tokens is not self._started_with:
            self.put_in_force(config.scoped_tokens)  # the first call, or a test with other settings
        return self._callers.get(sha256(token.encode("utf-8", "surrogateescape")).digest())

    def has_expired(self, caller: Caller) -> bool:
        """Return True if the token of `caller` has expired."""
        return caller.expires_at is not None and self._now() >= caller.expires_at

    def put_in_force(self, scoped: Iterable[ScopedToken]) -> None:
        """Replace all tokens with a scope by these."""
        config = settings.ESASSISTANT
        self._api, self._started_with = config.api_tokens, config.scoped_tokens
        callers = {bytes.fromhex(token.sha256): caller_with(token) for token in scoped}
        callers |= {sha256(token.encode()).digest(): API_CALLER for token in config.api_tokens}
        self._callers = callers


@cache
def tokens() -> Tokens:
    """Return the tokens of this process."""
    return Tokens()


def authorization_of(scope: Scope) -> str:
    """Return the `Authorization` header of a request. If there are several, they are joined as Django joins them."""
    return b",".join(value for name, value in scope["headers"] if name == b"authorization").decode("latin-1")


def live_caller(authorization: str) -> Caller | None:
    """Return the caller of an `Authorization` header, if its bearer token is one of ours and hasn't
    expired; else None.
    """
    token = bearer_token(authorization)
    caller = None if token is None else tokens().find(token)
    return None if caller is None or tokens().has_expired(caller) else caller
