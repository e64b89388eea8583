"""The ASGI wrapper that answers streams: decides who may open one and whether there is a place,
runs it, and ends it.
"""

import asyncio
import logging
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from django.conf import settings

from esassistant.asgi_types import ASGIApp, Receive, Scope, Send
from esassistant.errors import BadRequest, EsassistantError, Forbidden, MethodNotAllowed, Unauthorized, UnknownAddress
from esassistant.http.auth import UNKNOWN, check_in_force, check_rights
from esassistant.http.callers import Caller, anonymous, authorization_of, bearer_token, live_caller, tokens
from esassistant.http.cors import cors_origins
from esassistant.http.counters import Door, note_of
from esassistant.http.direct_path import problem_parts
from esassistant.http.hosts import AcceptedHosts
from esassistant.http.limits import Overloaded, RequestReader, has_body
from esassistant.http.problems import EXPLANATIONS, OTHER_HOST, leave_out_slash
from esassistant.http.refusal import Refusal
from esassistant.http.streams import WRITE_SECONDS, Stop, StreamCall, StreamRoute, Streams

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 5
ABORT: Final = "esassistant.abort"
"""The key in a request's scope for a function that drops the connection and all unsent data. Only our own protocol sets
it.
"""
LOOK_SECONDS: Final = 5.0
"""How often the tokens of open streams are checked: as often as their file is."""
HOW: Final = "Send `Authorization: Bearer` with one of the tokens in ESASSISTANT_API_TOKENS or ESASSISTANT_TOKENS_FILE."
OTHER_ORIGIN: Final = "Pages of this origin may not ask here. The operator lists origins in ESASSISTANT_CORS_ORIGINS."


class _Refusals:
    """One refusal in two forms: for requests with a body, and for those without."""

    def __init__(self, error: EsassistantError) -> None:
        self._made = {closes: Refusal(error, closes=closes) for closes in (False, True)}

    def of(self, scope: Scope) -> Refusal:
        return self._made[has_body(scope)]


@lru_cache(maxsize=16)
def _with_slash(address: str) -> _Refusals:
    """Return the refusal for an address of ours that has a final slash too many."""
    return _Refusals(UnknownAddress(f"{EXPLANATIONS[404]}{leave_out_slash(address)}"))


class StreamDoor:
    """ASGI wrapper that answers the addresses of `streams`, and passes on everything else. One per process."""

    def __init__(
        self,
        app: ASGIApp,
        streams: Streams,
        reader: RequestReader,
        *,
        write_seconds: float = WRITE_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._app = app
        self._streams = streams
        self._reader = reader
        self._write_seconds = write_seconds
        self._look_seconds = look_seconds
        self._hosts = AcceptedHosts()
        self._origins = frozenset(cors_origins())
        self._any_host = "*" in settings.ALLOWED_HOSTS
        self._redirects = settings.SECURE_SSL_REDIRECT
        self._anybody = anonymous(settings.ESASSISTANT.details)
        self._other_host = _Refusals(BadRequest(OTHER_HOST))
        self._other_origin = _Refusals(Forbidden(OTHER_ORIGIN))
        self._stranger = _Refusals(Unauthorized(HOW))
        self._wrong_token = _Refusals(Unauthorized(UNKNOWN))
        full = "All places for streams are taken in this process. Ask again."
        self._full = _Refusals(Overloaded(full, retry_after_seconds=RETRY_SECONDS))
        self._ending = Refusal(Overloaded("This process ends. Ask again.", retry_after_seconds=1), closes=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_ours = scope["type"] == "http" and not (self._redirects and scope.get("scheme") != "https")
        found = self._streams.find(scope) if is_ours else None
        if found is None:
            if is_ours and (address := self._streams.without_slash(scope)) is not None:
                await (self._other_page(scope) or _with_slash(address).of(scope)).answer(scope, send)
            else:
                await self._app(scope, receive, send)
            return
        route, name = found
        caller = self._admitted(scope, route)
        if isinstance(caller, Refusal):
            await caller.answer(scope, send)
            return
        call = StreamCall(scope, name, caller, send, self._write_seconds)
        self._streams.opened(call, route)
        try:
            await self._read_and_answer(call, route, receive, send)
        finally:
            self._streams.closed(call)

    def _admitted(self, scope: Scope, route: StreamRoute) -> Caller | Refusal:
        """Return the caller; or, if it gets no stream, the refusal to answer with."""
        refusal = self._other_page(scope)
        caller = refusal or self._caller(scope, route)
        if isinstance(caller, Refusal):
            return caller
        if scope["method"] not in route.methods:
            return _Refusals(MethodNotAllowed(route.methods)).of(scope)
        if self._streams.is_ending:
            return self._ending
        if self._streams.is_full:
            self._streams.shed_total += 1
            return self._full.of(scope)
        return caller

    def _other_page(self, scope: Scope) -> Refusal | None:
        """Return the refusal for a request that is meant for another server, or that comes from a page of another
        origin, whoever the caller is; else None.
        """
        given = {key: [value for name, value in scope["headers"] if name == key] for key in (b"host", b"origin")}
        if len(given[b"host"]) != 1 or not self._hosts.accepts(given[b"host"][0]):
            return self._other_host.of(scope)
        if not all(self._accepts(origin, given[b"host"][0]) for origin in given[b"origin"]):
            return self._other_origin.of(scope)
        return None

    def _caller(self, scope: Scope, route: StreamRoute) -> Caller | Refusal:
        """Return the caller, or the refusal if it may not open this stream."""
        token = bearer_token(authorization_of(scope))
        caller = self._anybody if token is None else tokens().find(token)
        if caller is None:
            return self._wrong_token.of(scope)
        if token is None and not any(map(caller.may, route.rights)):
            return self._stranger.of(scope)
        try:
            check_in_force(caller)
            check_rights(caller, *route.rights)
        except EsassistantError as error:
            return Refusal(error, closes=has_body(scope))
        return caller

    def _accepts(self, origin: bytes, host: bytes) -> bool:
        """Return True if pages of an origin may call us. An attacker may make another name lead to this server, so the
        origin must be an allowed one.
        """
        text = origin.decode("latin-1")
        if text in self._origins:
            return True
        scheme, _, own = text.partition("://")
        if scheme not in ("http", "https"):
            return False
        return own.encode("latin-1") == host or (not self._any_host and self._hosts.accepts(own.encode("latin-1")))

    async def _read_and_answer(self, call: StreamCall, route: StreamRoute, receive: Receive, send: Send) -> None:
        body = await self._reader.body(call.scope, receive)
        if isinstance(body, Refusal):
            await body.answer(call.scope, send)
            return
        note = note_of(call.scope)
        note.answered_by(Door.STREAM, route.template)
        note.is_long_poll = route.lasts
        if body is None:
            return  # the client has left
        call.read(body)
        ended = Stop.ENDED if call.ending.is_set() else await self._run(call, route, receive)
        try:
            is_whole = await self._finish(call, route, ended)
        except TimeoutError:
            is_whole, ended = False, Stop.STALLED
        self._streams.stalled_total += ended is Stop.STALLED
        if not is_whole:
            await self._drop(call, receive)

    async def _run(self, call: StreamCall, route: StreamRoute, receive: Receive) -> BaseException | Stop | None:
        """Run the source. Return its error, or why it was cancelled, or None if it returned."""

        async def watch() -> None:
            await _disconnected(receive)
            call.stop(Stop.LEFT)

        source = asyncio.ensure_future(route.source(call))
        watching = asyncio.create_task(watch())
        try:
            ends: set[asyncio.Future[Any]] = {source, call.stopped}
            while not (await asyncio.wait(ends, timeout=self._look_seconds, return_when=asyncio.FIRST_COMPLETED))[0]:
                if not _is_in_force(call):
                    call.end(self._streams.ending_seconds)
            has_returned = source.done() and not source.cancelled()
        finally:
            source.cancel()
            watching.cancel()
            _, resisting = await asyncio.wait({source, watching}, timeout=self._streams.cancel_seconds)
            if resisting:
                logger.error("%s goes on although it was cancelled", route.template)
        if has_returned:
            return source.exception()
        return call.stopped.result() if call.stopped.done() else Stop.ENDED

    async def _finish(self, call: StreamCall, route: StreamRoute, ended: BaseException | Stop | None) -> bool:
        """Send what is missing of the answer. Return False if the answer is broken off, which the client
        must notice.
        """
        # 1. Nobody reads any more.
        if ended is Stop.LEFT or ended is Stop.STALLED:
            return ended is Stop.LEFT
        # 2. In the middle of an answer: it is ended properly unless the source failed.
        if call.has_begun:
            if isinstance(ended, BaseException):
                logger.error("%s failed amid its answer", route.template, exc_info=ended)
                return call.is_complete
            if not call.is_complete:
                await call.send_in_time({"type": "http.response.body", "body": b"", "more_body": False})
            return True
        # 3. Before an answer: send a problem.
        if ended is Stop.ENDED:
            await self._ending.answer(call.scope, call.send_in_time)
            return True
        error = ended or RuntimeError("the source returned without an answer")
        status, head, body = problem_parts(route.template, error, note_of(call.scope).request_id)
        await call.send_in_time({"type": "http.response.start", "status": status, "headers": head})
        await call.send_in_time({"type": "http.response.body", "body": body, "more_body": False})
        return True

    async def _drop(self, call: StreamCall, receive: Receive) -> None:
        """Close the connection at once, if our own protocol serves. Any other protocol closes it when the
        call returns.
        """
        if (abort := call.scope.get(ABORT)) is not None:
            abort()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._streams.cancel_seconds):
                    await _disconnected(receive)


async def _disconnected(receive: Receive) -> None:
    """Wait until the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _is_in_force(call: StreamCall) -> bool:
    """Return True if the caller would still get the same stream now."""
    authorization = authorization_of(call.scope)
    return bearer_token(authorization) is None or live_caller(authorization) == call.caller
