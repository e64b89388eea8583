"""A fault-injecting HTTP/1.1 reverse proxy that counts exactly; for tests that need a bad network or a bad cluster.

    with FaultProxy("http://127.0.0.1:9200") as proxy:
        with proxy.fault(path="/_mapping", status=503, probability=0.3):
            ...
        assert proxy.count(path="/_mapping") == 1

It runs in its own thread and loop, so sync and async tests can use it, and a blocked loop doesn't stop it. A request
is counted when its head has arrived. Bytes pass through unchanged in both directions; what a client has seen of an
answer is already recorded.
"""

import asyncio
import concurrent.futures
import json
import random
import re
import ssl
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dev.faults.tcp_proxy import Connection, TcpProxy, ThreadedServer
from dev.faults.wire import (
    Answer,
    CutShortError,
    Head,
    ProxyRequest,
    ProxyResponse,
    Upstream,
    copy_body,
    dechunk,
    read_head,
)

__all__ = ["Exchange", "FaultProxy", "ProxyRequest", "ProxyResponse", "Rule", "TcpProxy"]

MAX_EXCHANGES = 200_000


@dataclass(frozen=True, eq=False)
class Rule:
    """What to do to which requests: a delay, and at most one of the other actions. It applies to a matching request
    with the given `probability`, and at most `times` times (None: without a limit).
    """

    method: str | None = None
    path: str | None = None
    """A regular expression, searched in the raw request target (percent-encoded, with its query)."""
    probability: float = 1.0
    times: int | None = None

    delay_seconds: float = 0.0
    status: int | None = None
    """Answer with this status, without asking upstream."""
    body: str | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    blackhole: bool = False
    """Send nothing until the client leaves. Requests that still wait when the rule is removed go upstream then."""
    cut: bool = False
    """Reset the connection before anything is forwarded."""
    cut_after_bytes: int | None = None
    """Close the connection after this many bytes of the answer, its head included."""

    def __post_init__(self) -> None:
        if sum((self.status is not None, self.blackhole, self.cut, self.cut_after_bytes is not None)) > 1:
            raise ValueError("a rule has at most one of status, blackhole, cut and cut_after_bytes")


@dataclass(frozen=True)
class Exchange:
    """A request whose handling has ended in some way. Times are those of `time.monotonic()`, bytes include the
    heads.
    """

    method: str
    target: str
    path: str
    status: int | None
    """The status of the answer; None if no answer was begun."""
    started_at: float
    ended_at: float
    request_bytes: int
    response_bytes: int
    rule: Rule | None
    aborted: bool
    """Whether the client left before the answer was complete."""


class FaultProxy(ThreadedServer):
    def __init__(
        self,
        upstream: str,
        *,
        port: int = 0,
        seed: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        authorize: Callable[[Mapping[str, str]], bool] | None = None,
    ) -> None:
        super().__init__(port=port, ssl_context=ssl_context)
        parts = urlsplit(upstream)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"upstream must be an http:// URL, not {upstream!r}")
        self._upstream = (parts.hostname, parts.port or 80)
        self._authorize = authorize
        self._random = random.Random(seed)
        self._rules: list[_Installed] = []
        self._responders: list[tuple[str, Callable[[ProxyRequest], ProxyResponse | None]]] = []
        self._arrivals: Counter[tuple[str, str]] = Counter()
        self._waiters: list[_Waiter] = []
        self._exchanges: deque[Exchange] = deque(maxlen=MAX_EXCHANGES)
        self._in_flight = 0
        self._max_in_flight = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._ssl_context else 'http'}://{self.host}:{self.port}"

    def add(self, rule: Rule) -> Rule:
        """Add a rule. If several rules match a request, the one added first applies."""
        self.call(lambda: self._rules.append(_Installed(rule)))
        return rule

    def remove(self, rule: Rule) -> None:
        self.call(lambda: self._remove(lambda installed: installed.rule is rule))

    def clear(self) -> None:
        self.call(lambda: self._remove(lambda _: True))

    @contextmanager
    def fault(self, **fields: Any) -> Iterator[Rule]:
        """Apply `Rule(**fields)` for the length of a block."""
        rule = self.add(Rule(**fields))
        try:
            yield rule
        finally:
            self.remove(rule)

    def respond(self, path: str, responder: Callable[[ProxyRequest], ProxyResponse | None]) -> None:
        """Let `responder`, which is called in the proxy's thread, answer requests whose target matches the regular
        expression `path`, instead of upstream. If it returns None, the request goes to other responders or upstream.

        Rules apply to its answers too.
        """
        self.call(lambda: self._responders.append((path, responder)))

    def stop_responding(self) -> None:
        self.call(self._responders.clear)

    @property
    def requests(self) -> list[Exchange]:
        return self.call(lambda: list(self._exchanges))

    @property
    def in_flight(self) -> int:
        return self.call(lambda: self._in_flight)

    @property
    def max_in_flight(self) -> int:
        return self.call(lambda: self._max_in_flight)

    def count(self, path: str | None = None, method: str | None = None) -> int:
        """Return the number of requests that have arrived, whatever happened to them."""
        return self.call(lambda: self._count(path, method))

    def reset(self) -> None:
        """Forget what was counted. The rules stay, and so do the gauges of what is open now."""

        def reset() -> None:
            self._arrivals.clear()
            self._exchanges.clear()
            self._max_in_flight = self._in_flight
            self._connections_total = len(self._connections)

        self.call(reset)

    def wait_for(
        self, path: str | None = None, count: int = 1, method: str | None = None, timeout_seconds: float = 5.0
    ) -> None:
        """Block until `count` matching requests have arrived since the last reset. Raise `TimeoutError` if they don't
        come within `timeout_seconds`.
        """
        with self._waiter(path, count, method) as waiter:
            try:
                waiter.arrived.result(timeout_seconds)
            except TimeoutError:
                raise waiter.failure() from None

    async def arrived(
        self, path: str | None = None, count: int = 1, method: str | None = None, timeout_seconds: float = 5.0
    ) -> None:
        """Do what `wait_for` does, without blocking the caller's event loop."""
        with self._waiter(path, count, method) as waiter:
            try:
                await asyncio.wait_for(asyncio.wrap_future(waiter.arrived), timeout_seconds)
            except TimeoutError:
                raise waiter.failure() from None

    @contextmanager
    def _waiter(self, path: str | None, count: int, method: str | None) -> Iterator["_Waiter"]:
        def enter() -> _Waiter:
            waiter = _Waiter(path, method, missing=count - self._count(path, method))
            if waiter.missing <= 0:
                waiter.arrived.set_result(None)
            else:
                self._waiters.append(waiter)
            return waiter

        waiter = self.call(enter)
        try:
            yield waiter
        finally:
            self.call(lambda: self._waiters.remove(waiter) if waiter in self._waiters else None)

    def _count(self, path: str | None, method: str | None) -> int:
        return sum(number for arrival, number in self._arrivals.items() if _matches(path, method, *arrival))

    def _remove(self, unwanted: "Callable[[_Installed], bool]") -> None:
        for installed in self._rules:
            if unwanted(installed):
                installed.removed.set()
        self._rules = [installed for installed in self._rules if not installed.removed.is_set()]

    def _arrive(self, method: str, target: str) -> "_Installed":
        self._arrivals[method, target] += 1
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        for waiter in list(self._waiters):
            if _matches(waiter.path, waiter.method, method, target):
                waiter.missing -= 1
                if waiter.missing == 0:
                    self._waiters.remove(waiter)
                    waiter.arrived.set_result(None)
        for installed in self._rules:
            rule = installed.rule
            if (
                (rule.times is None or installed.applied < rule.times)
                and _matches(rule.path, rule.method, method, target)
                and (rule.probability >= 1 or self._random.random() < rule.probability)
            ):
                installed.applied += 1
                return installed
        return NO_RULE

    async def serve(self, connection: Connection) -> None:
        upstream = Upstream(*self._upstream)
        try:
            while head := await read_head(connection.reader):
                if not await self._exchange(head, connection, upstream):
                    return
        finally:
            upstream.close()

    async def _exchange(self, head: Head, connection: Connection, upstream: Upstream) -> bool:
        """Handle one request. Return whether the connection can serve another one."""
        started_at = time.monotonic()
        method, target, _ = head.start
        installed = self._arrive(method, target)
        answer = Answer(connection.writer, installed.rule.cut_after_bytes)
        body = bytearray()
        try:
            if "expect" in head.headers:
                connection.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await copy_body(connection.reader, head, _append_to(body))
            connection.interruptible = True
            if connection.client_left:
                return False
            kept = await self._answer(installed, head, bytes(body), upstream, answer)
            answer.complete = True
        except CutShortError:
            return False
        else:
            return kept and head.keeps_alive
        finally:
            connection.interruptible = False
            self._in_flight -= 1
            self._exchanges.append(
                Exchange(
                    method=method,
                    target=target,
                    path=target.partition("?")[0],
                    status=answer.status,
                    started_at=started_at,
                    ended_at=time.monotonic(),
                    request_bytes=len(head.raw) + len(body),
                    response_bytes=answer.sent,
                    rule=None if installed is NO_RULE else installed.rule,
                    aborted=connection.client_left and not answer.complete,
                )
            )

    async def _answer(
        self, installed: "_Installed", head: Head, body: bytes, upstream: Upstream, answer: Answer
    ) -> bool:
        rule = installed.rule
        if rule.delay_seconds:
            await asyncio.sleep(rule.delay_seconds)
        if rule.blackhole:
            await installed.removed.wait()
        if rule.cut:
            raise ConnectionResetError
        if response := self._own_response(rule, head, body):
            await answer.send_response(response, head.start[0])
            return True
        return await upstream.forward(head, body, answer)

    def _own_response(self, rule: Rule, head: Head, body: bytes) -> ProxyResponse | None:
        method, target, _ = head.start
        if rule.status is not None:
            content = rule.body if rule.body is not None else _error(rule.status, "injected_fault", "injected fault")
            return ProxyResponse(content, rule.status, rule.headers)
        if self._authorize is not None and not self._authorize(head.headers):
            reason = f"missing authentication credentials for REST request [{target}]"
            challenge = 'Basic realm="security", charset="UTF-8"'
            return ProxyResponse(_error(401, "security_exception", reason), 401, {"WWW-Authenticate": challenge})
        responders = [responder for path, responder in self._responders if re.search(path, target)]
        if responders:
            request = ProxyRequest(method, target, head.headers, dechunk(body) if head.chunked else body)
            for responder in responders:
                try:
                    if response := responder(request):
                        return response
                except Exception as error:  # noqa: BLE001 - whatever a test's code raises is shown to its client
                    return ProxyResponse(_error(500, "responder_failed", repr(error)), 500)
        return None


class _Installed:
    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.applied = 0
        self.removed = asyncio.Event()


NO_RULE = _Installed(Rule())


@dataclass(eq=False)
class _Waiter:
    path: str | None
    method: str | None
    missing: int
    arrived: concurrent.futures.Future[None] = field(default_factory=concurrent.futures.Future)

    def __post_init__(self) -> None:
        # A future that is marked as running can't be cancelled by those who wait for it.
        self.arrived.set_running_or_notify_cancel()

    def failure(self) -> TimeoutError:
        return TimeoutError(f"{self.missing} more requests for {self.path or 'any path'} expected")


def _append_to(body: bytearray) -> Callable[[bytes], Awaitable[None]]:
    async def append(piece: bytes) -> None:
        body.extend(piece)

    return append


def _matches(path: str | None, wanted_method: str | None, method: str, target: str) -> bool:
    return wanted_method in (None, method) and (path is None or re.search(path, target) is not None)


def _error(status: int, kind: str, reason: str) -> str:
    cause = {"type": kind, "reason": reason}
    return json.dumps({"error": {"root_cause": [cause], **cause}, "status": status})
