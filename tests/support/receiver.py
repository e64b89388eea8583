"""A receiver of webhooks: a real HTTP server that answers as the test wants, and keeps what it was sent."""

import base64
import json
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from dev.ports import HOST

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = self.event["data"]
        return found


@dataclass(frozen=True, slots=True)
class Reply:
    """What the receiver answers. `raw`: send these bytes instead, and close the connection."""

    status: int = 204
    headers: Mapping[str, str] | None = None
    body: bytes = b""
    raw: bytes | None = None


class WebhookReceiver:
    """A server in threads of its own, for the length of a block. `answer` decides what it answers to a request."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """Make the receiver. `tls`: its TLS context; None: it speaks plain HTTP."""
        self._tls = tls
        self.answer: Callable[[Received], Reply] = lambda _: Reply()
        self.tried: list[Received] = []
        """All requests, in the order in which they came."""
        self.taken: list[Received] = []
        """The requests that were answered with 2xx."""
        self.ending = threading.Event()
        """Set at the end of the block. Answers that should be late wait for it."""
        self._server: ThreadingHTTPServer | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/hook"

    @property
    def ids(self) -> list[int]:
        """The ids of the changes that were taken."""
        return [received.data["id"] for received in self.taken]

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.respond(self, Received(self.path, headers, body))

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                if not isinstance(sys.exception(), OSError):  # the sender has left
                    super().handle_error(request, client_address)

        self._server = Server((HOST, 0), Handler)
        self._server.daemon_threads = False
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        return self

    def respond(self, handler: BaseHTTPRequestHandler, received: Received) -> None:
        self.tried.append(received)
        reply = self.answer(received)
        if 200 <= reply.status < 300 and reply.raw is None:
            self.taken.append(received)
        try:
            if reply.raw is not None:
                handler.wfile.write(reply.raw)
                handler.close_connection = True
                return
            handler.send_response(reply.status)
            length = {} if reply.status == 204 else {"content-length": str(len(reply.body))}
            for name, value in {**length, **(reply.headers or {})}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(reply.body)
        except OSError:
            handler.close_connection = True  # the sender has left

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()


def entry(url: str, name: str = "registry", **values: object) -> str:
    """Return an entry for the file of targets, for a receiver on this machine."""
    lines = {
        "name": json.dumps(name),
        "url": json.dumps(url),
        "secret": json.dumps(SECRET),
        "indices": '["*"]',
        "allow_networks": f'["{HOST}/32"]',
        **values,
    }
    return "[[target]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())
