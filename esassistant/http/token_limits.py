"""Limits how many requests of one token may be under way at once. Also notes the token of each request."""

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
    """ASGI wrapper that refuses a request at once if its token already has `max_in_flight` requests under way in this
    process. Answers of the hot path don't pass here, as they never wait.
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
                del self._in_flight[name]  # names come and go with changes of the file


def _caller(scope: Scope) -> Caller | None:
    """Return the caller that has the token of a request, even if it has expired; an inner layer refuses that."""
    token = bearer_token(authorization_of(scope))
    return None if token is None else tokens().find(token)
