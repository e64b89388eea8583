"""The HTTP client of a soak's load: it keeps a connection, and returns answers with the times that belong to them."""

import contextlib
import http.client
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 30.0
"""The timeout of a request. Nothing that the service does takes so long."""
IDLE_SECONDS = 2.0
"""A connection that was idle for longer is not used again, because the server may be closing it (uvicorn does after 5
s).
"""
BROKEN = (OSError, http.client.HTTPException)


class NoAnswer(Exception):
    """There was no answer, or none that is complete; the message says why. `sent_at`: when the request was sent;
    `is_late`: the timeout was reached.
    """

    def __init__(self, error: Exception, sent_at: float) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.sent_at = sent_at
        self.is_late = isinstance(error, TimeoutError)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `sent_at` is before the first byte of the request was sent, `received_at` after the last byte of the
    answer had come, both on the monotonic clock.
    """

    status: int
    headers: Message
    body: bytes
    sent_at: float
    received_at: float


class Caller:
    """A client with one connection to one server at a time; belongs to one thread."""

    def __init__(self, timeout: float = TIMEOUT_SECONDS) -> None:
        self._timeout = timeout
        self._url = ""
        self._connection: http.client.HTTPConnection | None = None
        self._used_at = 0.0

    def ask(
        self,
        url: str,
        target: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        """Send a request and return the answer. Raise `NoAnswer` if none comes, or none that is complete.

        If a connection that was used before breaks, the request is sent once more on a new one, as every client does.
        """
        if url != self._url or time.monotonic() - self._used_at > IDLE_SECONDS:
            self.close()
        is_new = self._connection is None
        try:
            return self._ask(url, target, method, headers or {}, body)
        except NoAnswer as failure:
            if is_new or failure.is_late:
                raise
            return self._ask(url, target, method, headers or {}, body)

    def _ask(self, url: str, target: str, method: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        sent_at = time.monotonic()
        try:
            if self._connection is None:
                parts = urlsplit(url)
                assert parts.hostname is not None
                self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=self._timeout)
                self._url = url
            self._connection.request(method, target, body, dict(headers))
            response = self._connection.getresponse()
            content = response.read()
        except BROKEN as error:
            self.close()
            raise NoAnswer(error, sent_at) from None
        received_at = self._used_at = time.monotonic()
        if response.will_close:
            self.close()
        return Reply(response.status, response.headers, content, sent_at, received_at)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def ask_and_leave(url: str, target: str, headers: Mapping[str, str], after_seconds: float) -> None:
    """Send a request, and close the connection before the answer, as an impatient client does."""
    parts = urlsplit(url)
    told = "".join(f"{name}: {value}\r\n" for name, value in {"Host": parts.netloc, **headers}.items())
    with contextlib.suppress(OSError), socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\n{told}\r\n".encode())
        time.sleep(after_seconds)
