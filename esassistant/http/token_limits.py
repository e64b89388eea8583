"""Limits of tokens: how many requests of one token may be under way at once. Notes whose token it is, too."""

from collections import Counter
from typing import Final

from esassistant.asgi_types import ASGIApp, Receive, Scope, Send
from esassistant.errors import EsassistantError, ProblemType
from esassistant.http.callers import Caller, authorization_of, bearer_token, tokens
from esassistant.http.counters import note_of
from esassistant.http.limits import has_body
from esassistant.http.refusal import Refusal

RETRY_SECONDS: Final = 1


class TokenBusy(EsassistantError):
    """The token has as many requests under way as its entry permits."""

    status = 429
    title = "Too many requests of this token"
    problem_type = ProblemType(
        "token-busy",
        "The token has as many requests under way in this process as its entry permits (`max_in_flight`).",
        "Ask again when one of them has ended, and ask less at once.",
    )


class TokenLimits:
    """ASGI wrapper: a request of a token that has `max_in_flight` under way in this process is refused at once. What
    the hot path answers doesn't come here, as it never waits.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._in_flight: Counter[str] = Counter()
        busy = TokenBusy(
            "This token has as many requests under way as its max_in_flight permits. Ask again when one has ended.",
            retry_after_seconds=RETRY_SECONDS,
        )
        self._busy = {closes: Refusal(busy, closes=closes) for closes in (False, True)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = _caller(scope) if scope["type"] == "http" else None
        if caller is None or caller.token is None:
            await self._app(scope, receive, send)
            return
        name = caller.token
        note_of(scope).token = name
        if caller.max_in_flight is not None and self._in_flight[name] >= caller.max_in_flight:
            await self._busy[has_body(scope)].answer(scope, send)
            return
        self._in_flight[name] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight[name] -= 1
            if not self._in_flight[name]:
                del self._in_flight[name]  # names come and go with the file


def _caller(scope: Scope) -> Caller | None:
    """Who has the token of a request, even if it has expired: which is told further inside."""
    token = bearer_token(authorization_of(scope))
    return None if token is None else tokens().find(token)
