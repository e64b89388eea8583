"""`manage.py health`: one line and Nagios' codes, whatever answers."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django import Settings

from healthapp.management.commands.health import DEFAULT_URL, _headers


class Health(HTTPServer):
    """Stands for a server: answers as it is told, and remembers what it was asked."""

    answer: tuple[int, bytes] = (200, b"{}")
    headers: dict[str, str]


class Handler(BaseHTTPRequestHandler):
    server: Health

    def do_GET(self) -> None:
        self.server.headers = dict(self.headers)
        status, body = self.server.answer
        self.send_response(status)
        if status == 301:
            self.send_header("Location", "http://127.0.0.1:1/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[Health]:
    with Health(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(url: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        call_command("health", "--url", url, "--timeout", "5")
    return ended.value.code, capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    ("status", "answer", "code", "line"),
    [
        (200, {"status": "healthy", "verdict": "Serving fresh mappings."}, 0, "healthy: Serving fresh mappings."),
        (
            200,
            {"status": "degraded", "verdict": "Searches fail.", "next_step": "docs/operations.md#x"},
            1,
            "degraded: Searches fail. What to do: docs/operations.md#x",
        ),
        (503, {"status": "unhealthy", "verdict": None}, 2, "unhealthy: no verdict yet"),
        (401, {"detail": "Wrong token."}, 3, "doesn't tell its health: Wrong token."),
        (200, ["no"], 3, "doesn't tell its health"),
        (301, {"status": "healthy"}, 0, "healthy: no verdict yet"),
    ],
)
def test_codes(
    server: Health, capsys: pytest.CaptureFixture[str], status: int, answer: object, code: int, line: str
) -> None:
    """0 healthy, 1 degraded, 2 unhealthy, 3 where that can't be told; a redirect is not followed."""
    server.answer = (status, json.dumps(answer).encode())
    found, text = run(f"http://127.0.0.1:{server.server_port}/", capsys)
    assert (found, text.endswith(line)) == (code, True), text


def test_what_is_no_health(server: Health, capsys: pytest.CaptureFixture[str]) -> None:
    """HTML, an address where nobody listens and what is no URL can't tell anything, and each says what to do."""
    server.answer = (200, b"<html>")
    assert run(f"http://127.0.0.1:{server.server_port}", capsys)[0] == 3
    code, text = run("http://127.0.0.1:1", capsys)
    assert (code, "is it running" in text) == (3, True)
    code, text = run("file:///etc/passwd", capsys)
    assert (code, "is no URL" in text) == (3, True)


def test_the_token_goes_along(server: Health, capsys: pytest.CaptureFixture[str], settings: Settings) -> None:
    """The first of the tokens, for the details."""
    from dataclasses import replace

    settings.ESASSISTANT = replace(settings.ESASSISTANT, api_tokens=("a" * 16, "b" * 16))
    server.answer = (200, b'{"status": "healthy"}')
    run(f"http://127.0.0.1:{server.server_port}", capsys)
    assert server.headers["Authorization"] == f"Bearer {'a' * 16}"


def test_behind_a_proxy(settings: Settings) -> None:
    """The server on this machine is asked as its proxy would: under a name that it answers to, and as if over https."""
    from dataclasses import replace

    settings.ESASSISTANT = replace(settings.ESASSISTANT, api_tokens=())
    settings.ALLOWED_HOSTS = ["*.x", ".example.org"]
    settings.SECURE_SSL_REDIRECT = True
    assert _headers(DEFAULT_URL) == {
        "Accept": "application/json",
        "Host": "example.org",
        "X-Forwarded-Proto": "https",
    }
    assert _headers("http://other:8000") == {"Accept": "application/json"}
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["127.0.0.1", "example.org"], False
    assert _headers(DEFAULT_URL) == {"Accept": "application/json"}
