"""What bench/http.py compares this server with: `python -m bench.subjects.http_servers KIND FOLDER` serves one.

    bare            an ASGI function that sends constant answers: what uvicorn alone can do
    fastapi         a handler that returns a dict of `app.state`, written as JSON for each request
    django          a view that returns a JsonResponse, behind the middleware that `startproject` gives
    django-bare     the same without middleware
    uncached        health as if nobody kept it: a round of checks for each request

The answers are read from FOLDER (`save_answer`), so that all servers send the same body. `bare` also sends the same
headers, because uvicorn checks and writes each of them; `/minimal` before an address leaves out all but type and
length. uvicorn runs the servers with the same settings as `manage.py serve`, except for `lifespan`: plain Django
doesn't support it, and would not start with `on`.
"""

import importlib
import importlib.util
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from bench.subjects.saved_answers import HEALTH, read_answers
from dev.servers.process import Program
from esassistant.asgi_types import ASGIApp, Receive, Scope, Send

HOST = "127.0.0.1"
BACKLOG = 2048
PROBE_BODY = b"ok\n"
MINIMAL = "/minimal"
FASTAPI_MISSING = "This compares with FastAPI, which is not installed: pip install -r requirements-bench.txt"


@contextmanager
def serving(kind: str, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield the URL of a server that runs for the length of the block."""
    command_line = [sys.executable, "-m", "bench.subjects.http_servers", kind, str(folder)]
    with Program(f"bench-{kind}", command_line, {**os.environ, **(environment or {})}) as server:
        yield server.url


def bare(folder: Path) -> ASGIApp:
    saved = read_answers(folder)
    answers = {
        path: ([(name.encode(), value.encode()) for name, value in answer.headers], answer.body)
        for path, answer in saved.items()
    }
    answers |= {f"{MINIMAL}{path}": (_minimal(answer.body), answer.body) for path, answer in saved.items()}
    other = _minimal(PROBE_BODY), PROBE_BODY

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        headers, body = answers.get(scope["path"], other)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return with_lifespan(answer)


def fastapi(folder: Path) -> ASGIApp:
    # Imported here because it isn't one of this project's requirements: type checks and linters run without it.
    module: Any = importlib.import_module("fastapi")
    app = module.FastAPI()
    app.state.health = json.loads(read_answers(folder)[HEALTH].body)

    async def health() -> Any:
        return app.state.health

    # With and without a response model, as for a handler with and without annotations.
    app.add_api_route("/api/health", health, response_model=None)
    app.add_api_route("/api/health-typed", health, response_model=dict[str, Any])
    made: ASGIApp = app
    return made


def has_fastapi() -> bool:
    return importlib.util.find_spec("fastapi") is not None


def _django(middleware: str) -> Callable[[Path], ASGIApp]:
    def application(folder: Path) -> ASGIApp:
        os.environ.update(BENCH_MIDDLEWARE=middleware, BENCH_FOLDER=str(folder))
        made: ASGIApp = importlib.import_module("bench.subjects.plain_django").application
        return made

    return application


def uncached(_folder: Path) -> ASGIApp:
    import django

    django.setup()
    logging.disable(logging.INFO)
    from django.conf import settings

    from esassistant.registry import registry
    from healthapp.checks import checks_of, overall, run_checks

    checks = checks_of(registry, settings.ESASSISTANT.health.timeout)

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        services = await run_checks(checks)
        await _send(send, msgspec.json.encode({"status": overall(services.values()), "services": services}))

    return with_lifespan(answer, registry.open)


def with_lifespan(app: ASGIApp, opened: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext) -> ASGIApp:
    """Return `app` with a lifespan that opens something while it serves."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        await receive()
        async with opened():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    return application


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": _minimal(body)})
    await send({"type": "http.response.body", "body": body})


def _minimal(body: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]


KINDS: dict[str, Callable[[Path], ASGIApp]] = {
    "bare": bare,
    "fastapi": fastapi,
    "django": _django("stock"),
    "django-bare": _django("none"),
    "uncached": uncached,
}


def main() -> None:
    """Serve until standard input ends."""
    serve(KINDS[sys.argv[1]](Path(sys.argv[2])))


def serve(application: ASGIApp) -> None:
    """Serve the application on a free port, which is printed, until standard input ends."""
    listener = socket.create_server((HOST, 0), backlog=BACKLOG)
    config = uvicorn.Config(
        application,
        host=HOST,
        lifespan="auto",
        access_log=False,
        server_header=False,
        log_config=None,
        reset_contextvars=True,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)

    def end_with_input() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=end_with_input, daemon=True).start()
    print(f"http://{HOST}:{listener.getsockname()[1]}", flush=True)
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
