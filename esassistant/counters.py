"""Counts requests from outside everything else, so that what never reaches Django counts too; gives each its id.

What goes on inside is told by a `RequestNote` in the ASGI scope: the route that answered, and by which door.
"""

import enum
import random
import re
from dataclasses import dataclass
from typing import Any

from esassistant.access_log import AccessLog, Line
from esassistant.clock import monotonic, now_utc
from esassistant.http_statistics import HttpStatistics
from esassistant.lifespan import ASGIApp, Message, Receive, Scope, Send

NOTE = "esassistant.note"
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Door(enum.StrEnum):
    """Which part of the spine answered a request."""

    HOT = "hot"
    FAST = "fast"
    DJANGO = "django"


@dataclass(slots=True)
class RequestNote:
    """What is known of the request under way. `route` is the template of its address, None where it has none; `status`
    is None before the answer begins.
    """

    request_id: str
    send: Send | None = None
    """Straight to the server, for who fills in status and bytes itself, and adds the request id."""
    route: str | None = None
    door: Door = Door.DJANGO
    status: int | None = None
    sent_bytes: int = 0

    def answered_by(self, door: Door, route: str | None) -> None:
        self.door = door
        self.route = route


def note_of(scope: Any) -> RequestNote:
    """The note in a request's ASGI scope (or WSGI environment); where nothing counts, as with `runserver`, a new one."""
    note: RequestNote | None = scope.get(NOTE)
    if note is None:
        note = scope[NOTE] = RequestNote(_new_id())
    return note


class Counters:
    """ASGI wrapper around everything that answers HTTP. Lives as long as the process."""

    def __init__(self, app: ASGIApp, statistics: HttpStatistics, access_log: AccessLog | None) -> None:
        """`access_log` None: nothing is written."""
        self._app = app
        self._statistics = statistics
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        note = scope[NOTE] = RequestNote(_given_id(scope) or _new_id(), send)

        async def noted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                note.status = message["status"]
                message["headers"] = [*message["headers"], request_id_header(note)]
            else:
                note.sent_bytes += len(message.get("body", b""))
            await send(message)

        statistics = self._statistics
        statistics.in_flight += 1
        started_at = monotonic()
        try:
            await self._app(scope, receive, noted_send)
        except Exception:
            note.status = 500  # as the server answers, unless the answer has begun
            raise
        finally:
            ended_at = monotonic()
            statistics.in_flight -= 1
            statistics.ended(note.route, note.door, note.status, note.sent_bytes, ended_at - started_at, ended_at)
            if self._access_log is not None:
                self._access_log.write(_line(scope, note, ended_at - started_at))


def request_id_header(note: RequestNote) -> tuple[bytes, bytes]:
    """The header that every answer has."""
    return (b"x-request-id", note.request_id.encode("ascii"))


def _line(scope: Scope, note: RequestNote, seconds: float) -> Line:
    client = scope.get("client")
    return Line(
        time=now_utc(),
        request_id=note.request_id,
        client=client[0] if client else None,
        method=scope["method"],
        path=scope["path"],
        route=note.route,
        door=note.door,
        status=note.status,
        duration_ms=round(seconds * 1000, 3),
        bytes=note.sent_bytes,
    )


def _given_id(scope: Scope) -> str | None:
    """The id that a proxy gave the request, when it is harmless to repeat."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return value.decode("ascii") if REQUEST_ID.fullmatch(value) else None
    return None


def _new_id() -> str:
    return "%016x" % random.getrandbits(64)  # noqa: UP031  (a third faster than an f-string)
