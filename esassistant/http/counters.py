"""Counts all requests, also those that never reach Django, and gives each an id. It lies outside of everything else.

The inner layers note in a `RequestNote` in the ASGI scope which route answered, and through which door.
"""

import enum
import random
import re
from dataclasses import dataclass
from typing import Any

from esassistant.asgi_types import ASGIApp, Message, Receive, Scope, Send
from esassistant.clock import monotonic, now_utc
from esassistant.http.access_log import AccessLog, LogLine
from esassistant.http.statistics import REFUSED, HttpStatistics

NOTE = "esassistant.note"
REQUEST_ID = b"x-request-id"
HARMLESS_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Door(enum.StrEnum):
    """The part of the server that answered a request. `REFUSED`: a limit refused it before the lanes."""

    HOT = "hot"
    DIRECT = "direct"
    STREAM = "stream"
    FAST = "fast"
    DJANGO = "django"
    REFUSED = REFUSED


@dataclass(slots=True)
class RequestNote:
    """What is known about the present request.

    Attributes:
        route: The template of its address; None if it has none.
        status: None before the answer begins.
        is_long_poll: The request waits on purpose, so its duration says nothing about latency.
        token: The name of the caller's token.
    """

    request_id: bytes
    route: str | None = None
    door: Door = Door.DJANGO
    status: int | None = None
    sent_bytes: int = 0
    is_long_poll: bool = False
    token: str | None = None

    def answered_by(self, door: Door, route: str | None) -> None:
        self.door = door
        self.route = route


def note_of(scope: Any) -> RequestNote:
    """Return the note in the ASGI scope (or WSGI environment) of a request. If nothing counts requests, as with
    `runserver`, make a new one.
    """
    note: RequestNote | None = scope.get(NOTE)
    if note is None:
        note = scope[NOTE] = RequestNote(request_id_of(None))
    return note


def request_id_of(given: bytes | None) -> bytes:
    """Return the id of a request: the one from a proxy if it is harmless to repeat, else a new one."""
    if given is not None and HARMLESS_ID.fullmatch(given):
        return given
    return b"%016x" % random.getrandbits(64)


class Counters:
    """ASGI wrapper that counts requests. The hot path lies outside of it and calls `count` itself. Lives as long as the
    process.
    """

    def __init__(self, app: ASGIApp, statistics: HttpStatistics, access_log: AccessLog | None) -> None:
        """
        Args:
            access_log: None: no lines are written.
        """
        self._app = app
        self._statistics = statistics
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == REQUEST_ID]
        note = scope[NOTE] = RequestNote(request_id_of(given[0] if len(given) == 1 else None))

        async def noted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                note.status = message["status"]
                message["headers"] = [*message["headers"], (REQUEST_ID, note.request_id)]
            elif scope["method"] != "HEAD":  # the server sends no body for HEAD
                note.sent_bytes += len(message.get("body", b""))
            await send(message)

        self._statistics.in_flight += 1
        started_at = monotonic()
        try:
            await self._app(scope, receive, noted_send)
        except Exception:
            if note.status is None:
                note.status = 500  # the server answers 500 if no answer has begun
            raise
        finally:
            self._statistics.in_flight -= 1
            self.count(
                scope,
                note.request_id,
                note.route,
                note.door,
                note.status,
                note.sent_bytes,
                started_at,
                is_long_poll=note.is_long_poll,
                token=note.token,
            )

    def count(
        self,
        scope: Scope,
        request_id: bytes,
        route: str | None,
        door: Door,
        status: int | None,
        sent_bytes: int,
        started_at: float,
        *,
        is_long_poll: bool = False,
        token: str | None = None,
    ) -> None:
        """Count a request that has just ended, and write its line of the access log.

        Args:
            route: The template of its address; None if it has none.
            status: None if it ended without an answer.
            started_at: When it began, on the monotonic clock.
            is_long_poll: Whether it waited on purpose; then its duration doesn't count as latency.
            token: The name of the caller's token; None if there is none.
        """
        ended_at = monotonic()
        self._statistics.ended(
            route, door, status, sent_bytes, ended_at - started_at, ended_at, is_long_poll=is_long_poll
        )
        if token is not None:
            self._statistics.ended_of(token, door, status)
        if self._access_log is not None:
            client = scope.get("client")
            self._access_log.write(
                LogLine(
                    time=now_utc(),
                    request_id=request_id.decode("ascii"),
                    client=client[0] if client else None,
                    method=scope["method"],
                    path=scope["path"],
                    route=route,
                    door=door,
                    status=status,
                    duration_ms=round((ended_at - started_at) * 1000, 3),
                    bytes=sent_bytes,
                    token=token,
                )
            )
