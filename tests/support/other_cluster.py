"""A second cluster without a second node: a proxy that changes the uuid of the first cluster, and a name in its
mappings.
"""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

OTHER_UUID = "another-cluster-0000000"
ASK_SECONDS = 60.0
"""Longer than the watch waits for a change."""


@dataclass
class OtherCluster:
    """The second cluster. `url`: its address. `is_other`: whether the proxy changes anything, or shows the node as it
    is.
    """

    url: str
    is_other: bool = True


@contextmanager
def other_cluster(node_url: str, uuid: str, field: str, other_field: str) -> Iterator[OtherCluster]:
    """Show the node at `node_url`, whose cluster has `uuid`, as another cluster that has `other_field` instead of
    `field`.
    """
    node = urlsplit(node_url)
    shown = OtherCluster("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            connection = http.client.HTTPConnection(node.hostname or "", node.port, timeout=ASK_SECONDS)
            try:
                connection.request("GET", self.path, headers={"Accept": "application/json"})
                answer = connection.getresponse()
                body = answer.read()
            finally:
                connection.close()
            if shown.is_other:
                body = body.replace(uuid.encode(), OTHER_UUID.encode()).replace(field.encode(), other_field.encode())
            self.send_response(answer.status)
            for name in ("Content-Type", "X-Elastic-Product"):
                self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Ignore errors: a client that leaves is no problem."""

    with Server(("127.0.0.1", 0), Handler) as server:
        shown.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield shown
        finally:
            server.shutdown()
            thread.join()
