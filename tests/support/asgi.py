"""Send requests directly to an ASGI application, with any headers, even those that no HTTP client would send."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from esassistant.asgi_types import ASGIApp, Message

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Asked:
    """One request. `path` is decoded, as a server passes it on."""

    path: str
    method: str = "GET"
    query: bytes = b""
    headers: Headers = ((b"host", b"testserver"),)
    scheme: str = "http"
    body: bytes = b""
    more: dict[str, Any] = field(default_factory=dict)

    def scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": self.scheme,
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query,
            "root_path": "",
            "headers": list(self.headers),
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
            **self.more,
        }


@dataclass(frozen=True)
class Got:
    """One complete answer. `headers` are sorted, with names in lower case."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of a header that is there at most once; None if it isn't there."""
        values = [value.decode("latin-1") for key, value in self.headers if key == name.encode()]
        assert len(values) <= 1, values
        return values[0] if values else None


async def ask(app: ASGIApp, asked: Asked) -> Got:
    """Return what `app` answers."""
    sent: list[Message] = []
    received = [{"type": "http.request", "body": asked.body, "more_body": False}]

    async def receive() -> Message:
        if received:
            return received.pop()
        await never()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await app(asked.scope(), receive, send)
    assert [message["type"] for message in sent[:1]] == ["http.response.start"]
    return Got(sent[0]["status"], _sorted(sent[0]["headers"]), b"".join(part.get("body", b"") for part in sent[1:]))


async def never() -> None:
    """Wait until cancelled, as a client that stays connected and sends nothing."""
    await asyncio.Event().wait()


def _sorted(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple(sorted((name.lower(), value) for name, value in headers))
