"""A flood of requests by strangers, sent by a process of its own, and a probe that is asked during the flood.

`python -m dev.faults.flood URL KIND CONNECTIONS SECONDS` opens that many connections, sends one request on each at the
same moment, waits for all answers, and begins again. It prints how often each status came, as JSON. The KIND
`pipelining` sends many requests on each connection and reads nothing.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ANSWER_SECONDS = 60.0
PROBE_EVERY_SECONDS = 0.02
STATIC = "/static/admin/css/base.css"
_CSRF = "c" * 32
_LOGIN = f"csrfmiddlewaretoken={_CSRF}&username=operator&password=wrong"
_FORM = (
    f"Cookie: csrftoken={_CSRF}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    # As from a proxy that isn't trusted. Then failed logins lock nobody out, so passwords are checked all the time.
    "X-Forwarded-For: 203.0.113.1\r\n"
)

KINDS = {
    "static": f"GET {STATIC} HTTP/1.1\r\n",
    "missing": "GET /wp-login.php HTTP/1.1\r\n",
    "login": f"POST /admin/login/ HTTP/1.1\r\n{_FORM}Content-Length: {len(_LOGIN)}\r\n",
    "browse": "GET /browse/ HTTP/1.1\r\n",
    "health": "GET /api/health?x=1 HTTP/1.1\r\n",
}
"""What strangers ask for: the request line, and for some kinds further headers."""
BODIES = {"login": _LOGIN}
PIPELINING = "pipelining"
PIPELINED = b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20_000


def request_of(kind: str) -> bytes:
    """Return one request, after which the server closes the connection."""
    return f"{KINDS[kind]}Host: 127.0.0.1\r\nConnection: close\r\n\r\n{BODIES.get(kind, '')}".encode()


@dataclass(frozen=True)
class Probed:
    """The results of probes: the seconds of each that was answered with 200, and the number of the others."""

    seconds: list[float]
    failed: int

    def percentile(self, percent: float) -> float:
        """Return a percentile of the seconds; a failed probe counts as infinitely long."""
        ordered = sorted(self.seconds) + [float("inf")] * self.failed
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class Flood:
    """A flood that goes on. `statuses` is complete when it has ended."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.statuses: Counter[str] = Counter()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> Counter[str]:
        """Wait for its end. Raises `RuntimeError` if it failed."""
        printed, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"the flood ended with {self._process.returncode}")
        self.statuses = Counter(json.loads(printed))
        return self.statuses


@contextmanager
def flooding(url: str, kind: str, connections: int, seconds: float) -> Iterator[Flood]:
    """Run a flood in a process of its own for the length of the block."""
    words = [sys.executable, "-m", "dev.faults.flood", url, kind, str(connections), str(seconds)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, process_group=0) as process:
        try:
            yield Flood(process)
        finally:
            if process.poll() is None:
                process.kill()


def probe_during(flood: Flood, url: str, path: str = "/livez", every: float = PROBE_EVERY_SECONDS) -> Probed:
    """Ask for `path` until the flood has ended, each time on a new connection, even if the last request isn't answered
    yet.
    """
    return asyncio.run(_probe_during(flood, url, path, every))


async def _probe_during(flood: Flood, url: str, path: str, every: float) -> Probed:
    probes: list[asyncio.Task[float | None]] = []
    while not flood.has_ended:
        probes.append(asyncio.create_task(_probe(url, path)))
        await asyncio.sleep(every)
    found = await asyncio.gather(*probes)
    return Probed([each for each in found if each is not None], sum(each is None for each in found))


async def _probe(url: str, path: str) -> float | None:
    """Return the seconds until the answer; None if that wasn't a 200."""
    started_at = time.monotonic()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            status = await _status(url, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    except (OSError, TimeoutError):
        return None
    return time.monotonic() - started_at if status == "200" else None


async def _status(url: str, request: bytes) -> str:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(request)
        answer = await reader.read()
    finally:
        writer.close()
    return answer[9:12].decode() or "none"


def processor_seconds(pid: int) -> tuple[float, float]:
    """Return how long the first thread of a process has had a processor, and how long it has waited for one, in
    seconds.
    """
    ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9


def waited_percent(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Return the share of the time between two samples in which the thread waited for a processor that it needed, in
    percent. It shows what else the machine does.
    """
    ran, waited = (late - early for early, late in zip(before, after, strict=True))
    return 100 * waited / (ran + waited) if ran + waited else 0.0


class _Connection(asyncio.Protocol):
    """A connection that sends one request. `status` is set when the server has closed the connection; it is "none" if
    no answer came before that.
    """

    def __init__(self) -> None:
        self._head = b""
        self.status: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if len(self._head) < 12:
            self._head += data[:12]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.status.done():
            self.status.set_result(self._head[9:12].decode() or "none")


async def _flood(url: str, kind: str, connections: int, seconds: float) -> Counter[str]:
    parts, request = urlsplit(url), request_of(kind)
    host, port = parts.hostname or "", parts.port or 0
    loop = asyncio.get_running_loop()
    statuses: Counter[str] = Counter()
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        opening = [loop.create_connection(_Connection, host, port) for _ in range(connections)]
        opened = await asyncio.gather(*opening)
        for transport, _ in opened:
            transport.write(request)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                statuses.update(await asyncio.gather(*(connection.status for _, connection in opened)))
        except TimeoutError:
            statuses["late"] += connections
    return statuses


async def _pipeline(url: str, connections: int, seconds: float) -> Counter[str]:
    parts, loop = urlsplit(url), asyncio.get_running_loop()
    host, port = parts.hostname or "", parts.port or 0
    opening = [loop.create_connection(_Connection, host, port) for _ in range(connections)]
    for transport, _ in await asyncio.gather(*opening):
        transport.pause_reading()
        transport.write(PIPELINED)
    await asyncio.sleep(seconds)
    return Counter({"unread": connections})


def main() -> None:
    url, kind, connections, seconds = sys.argv[1:]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    count, length = int(connections), float(seconds)
    flood = _pipeline(url, count, length) if kind == PIPELINING else _flood(url, kind, count, length)
    print(json.dumps(asyncio.run(flood)))


if __name__ == "__main__":
    main()
