"""The way of a login to Django. By the failures before it, it is refused, slowed or passed on.

All this happens on the loop, before Django's thread: a login that is refused or waits takes no thread.
"""

import asyncio
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any, Final, cast

from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.core.handlers.asgi import ASGIRequest
from django.http import UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.template.loader import render_to_string

from esassistant.asgi_types import Message, Receive, Scope, Send
from esassistant.clock import Sleep
from esassistant.http.counters import Door, note_of
from esassistant.http.failed_logins import SLOW_SECONDS, whole_seconds
from esassistant.http.gate import Gate
from esassistant.http.limits import overloaded, replayed
from esassistant.http.logins import NOTE, Begun, LoginNote, Logins, refusal_of
from esassistant.http.problems import headers_of, problem_body
from esassistant.http.refusal import Refusal, encoded
from esassistant.http.security_headers import CONTENT_SECURITY_POLICY, security_headers
from esassistant.units import as_duration

WAITING_SLOWED: Final = 64
"""The most slowed logins that wait at once in a process. Further ones are refused like all requests
that find no place.
"""
PLACEHOLDER: Final = "TIME-TO-WAIT"
TEMPLATE: Final = "esassistant/login_refused.html"


class LoginLane:
    """ASGI application for POSTs to the login page. Lives as long as the process."""

    def __init__(
        self, stock: Callable[..., Awaitable[None]], gate: Gate, logins: Logins, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._stock = stock
        self._gate = gate
        self._logins = logins
        self._sleep = sleep
        self._slowed = 0
        self._overloaded = Refusal(overloaded())
        self._page: bytes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not await self._gate.enter():
            await self._overloaded.answer(scope, send)
            return
        has_place = True
        try:
            if (body := await _body(receive)) is None:
                note_of(scope).answered_by(Door.REFUSED, None)  # the client has left
                return
            name = login_name(scope, body)
            if name is None:  # Django says what is missing, and checks no password
                await self._stock(scope, replayed(body, receive), send)
                return
            attempt, shown_address = self._logins.attempt(scope, name)
            if (seconds := self._logins.refused_seconds(attempt)) is not None:
                await self._refuse(scope, send, seconds)
                return
            begun = await self._logins.begin(attempt, shown_address)
            if (seconds := begun.verdict.refused_seconds) is not None:
                await self._refuse(scope, send, seconds)
                return
            if begun.verdict.is_slowed:
                self._gate.leave()
                has_place = False
                has_place = await self._after_a_wait()
            if has_place:
                await self._check(scope, replayed(body, receive), send, begun)
            else:
                await self._logins.end(begun, succeeded=False, failed=False)
                await self._overloaded.answer(scope, send)
        finally:
            if has_place:
                self._gate.leave()

    async def _after_a_wait(self) -> bool:
        """Wait for `SLOW_SECONDS` outside of the gate, and then for a place in it. Return False if too many logins wait
        already, or if no place became free.
        """
        if self._slowed >= WAITING_SLOWED:
            return False
        self._slowed += 1
        try:
            await self._sleep(SLOW_SECONDS)
        finally:
            self._slowed -= 1
        return await self._gate.enter()

    async def _check(self, scope: Scope, receive: Receive, send: Send, begun: Begun) -> None:
        """Let Django check the password.

        1. Django's signal says that somebody logged in: success.
        2. It answers 200, which is the form again: failure.
        3. No answer began, as the client left: failure, as nobody knows whether the password was checked.
        4. Any other answer (no CSRF token, another Host, no database): the password was not checked.
        """
        note = scope[NOTE] = LoginNote()
        is_ended = False

        async def noted_send(message: Message) -> None:
            nonlocal is_ended
            if message["type"] == "http.response.start":
                # Note this before the answer is sent: the client may log in elsewhere as soon as it has it.
                is_ended = True
                await self._logins.end(begun, succeeded=note.succeeded, failed=message["status"] == 200)
            await send(message)

        await self._stock(scope, receive, noted_send)
        if not is_ended:
            await self._logins.end(begun, succeeded=note.succeeded, failed=True)

    async def _refuse(self, scope: Scope, send: Send, seconds: float) -> None:
        """Answer 429: with a page for a browser, else with a problem."""
        note = note_of(scope)
        note.answered_by(Door.REFUSED, None)
        error = refusal_of(seconds)
        headers = {**headers_of(error), "Vary": "Accept", **security_headers(secure=scope.get("scheme") == "https")}
        if any(name == b"accept" and b"text/html" in value for name, value in scope["headers"]):
            if self._page is None:
                self._page = (await asyncio.to_thread(render_to_string, TEMPLATE, PAGE)).encode()
            body = self._page.replace(PLACEHOLDER.encode(), as_duration(whole_seconds(seconds)).encode())
            headers |= {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": CONTENT_SECURITY_POLICY}
        else:
            body = problem_body(error, note.request_id.decode("ascii"))
        headers["Content-Length"] = str(len(body))
        await send({"type": "http.response.start", "status": error.status, "headers": encoded(headers)})
        await send({"type": "http.response.body", "body": body})


PAGE: Final = {"title": "Too many failed logins", "wait": PLACEHOLDER}


def login_name(scope: Scope, body: bytes) -> str | None:
    """Return the name that a form would log in, as Django reads it. Return None if no password would be checked."""
    try:
        form = ASGIRequest(cast("dict[str, Any]", scope), BytesIO(body)).POST
    except (
        *(BadRequest, MultiPartParserError, RequestDataTooBig, SuspiciousOperation, UnicodeDecodeError),
        *(UnreadablePostError, ValueError),
    ):
        return None
    name = form.get("username", "")
    assert isinstance(name, str)
    return name if name.strip() and form.get("password") else None


async def _body(receive: Receive) -> bytes | None:
    """Return the whole body, whose size is bounded already, or None if the client has left."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)
