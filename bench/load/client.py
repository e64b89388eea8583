"""Put load on an HTTP server and measure its answers: by `wrk` where it is installed, otherwise by a bundled generator.
    run(url, path, connections=16, seconds=3)                  each connection asks again as soon as it is answered
    paced([Target(url, path)], per_second=200, seconds=10)     200 requests a second, whatever the answers

A generator is a process of its own (bench/load/generator.py), so that it never blocks the caller's interpreter.
`paced` counts a latency from the moment at which the request should have begun: so a server that stalls can't hide how
many requests would have waited.
"""

import json
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

GRACE_SECONDS = 10.0
"""How long to wait, at the end, for requests under way. What is unanswered then counts as an error."""
START_SECONDS = 15.0
SATURATED_SHARE = 0.9
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


class LoadFailed(Exception):
    """The load could not be measured."""


@dataclass(frozen=True)
class Target:
    """What is asked for. `{n}` in `path` stands for a new number in each request (with the bundled generator only)."""

    url: str
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    body: str = ""

    def request(self) -> bytes:
        """The request as it is sent."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {urlsplit(self.url).netloc}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body:
            lines.append(f"Content-Length: {len(self.body.encode())}")
        return "\r\n".join([*lines, "", self.body]).encode()


@dataclass(frozen=True)
class Load:
    """The answers. Latencies are in seconds.

    `unexpected`: answers that are neither 2xx nor 304. `cpu_share`: the share of the time for which the generator kept
    a processor busy. `late_p99`: the generator's own delay, for a paced load.
    """

    requests: int
    seconds: float
    p50: float
    p99: float
    longest: float
    unexpected: int
    errors: int
    cpu_share: float
    statuses: Mapping[str, int] = field(default_factory=dict)
    late_p99: float | None = None
    p99_served: Mapping[str, float] = field(default_factory=dict)
    generator: str = "bundled"

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def saturated(self) -> bool:
        """Whether the generator, and not the server, may have been the limit."""
        return self.cpu_share > SATURATED_SHARE


@dataclass(frozen=True)
class Job:
    """The task of a generator's process. `per_second` None: as fast as the answers come; otherwise the rate for each
    target.
    """

    targets: list[Target]
    connections: int
    seconds: float
    per_second: float | None = None


def run(url: str, path: str, connections: int, seconds: float, headers: Mapping[str, str] | None = None) -> Load:
    """Send as many requests as the server answers, on `connections` kept connections. Raise `LoadFailed` if the
    generator fails.
    """
    target = Target(url, path, headers or {})
    if shutil.which("wrk"):
        return by_wrk(target, connections, seconds)
    return bundled(Job([target], connections, seconds))[0]


def paced(targets: Sequence[Target], per_second: float, seconds: float, connections: int = 4) -> list[Load]:
    """Send `per_second` requests a second to each target, on connections of its own. One generator sends all of them,
    so a disturbance affects the latencies of all targets alike. Raise `LoadFailed` if the generator fails.
    """
    return bundled(Job(list(targets), connections, seconds, per_second))


def bundled(job: Job) -> list[Load]:
    """Run the generator of this project; return one `Load` per target. Raise `LoadFailed` if it fails."""
    words = [sys.executable, "-m", "bench.load.generator", json.dumps(asdict(job))]
    limit = job.seconds + GRACE_SECONDS + START_SECONDS
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit, check=False)
    if ended.returncode:
        raise LoadFailed(ended.stderr.strip())
    return [Load(**found) for found in json.loads(ended.stdout)]


def by_wrk(target: Target, connections: int, seconds: float) -> Load:
    """Run `wrk` with one thread. Raise `LoadFailed` if it fails."""
    headers = [f"--header={name}: {value}" for name, value in target.headers.items()]
    words = ["wrk", "--threads=1", f"--connections={connections}", f"--duration={max(1, round(seconds))}s", "--latency"]
    before, started = _children_seconds(), time.monotonic()
    ended = subprocess.run(
        [*words, *headers, target.url + target.path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds + GRACE_SECONDS + START_SECONDS,
        check=False,
    )
    if ended.returncode:
        raise LoadFailed((ended.stderr or ended.stdout).strip())
    return read_wrk(ended.stdout, (_children_seconds() - before) / (time.monotonic() - started))


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def read_wrk(output: str, cpu_share: float) -> Load:
    """Read what `wrk --latency` has printed."""

    def seconds(pattern: str) -> float:
        found = _found(pattern + r"\s+([\d.]+)(us|ms|s|m)\b", output)
        return float(found[1]) * UNITS[found[2]]

    total = _found(r"(\d+) requests in ([\d.]+)(ms|s|m),", output)
    unexpected = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    return Load(
        requests=int(total[1]),
        seconds=float(total[2]) * UNITS[total[3]],
        p50=seconds(r"\s50%"),
        p99=seconds(r"\s99%"),
        longest=seconds(r"Latency\s+\S+\s+\S+"),
        unexpected=int(unexpected[1]) if unexpected else 0,
        errors=sum(map(int, errors.groups())) if errors else 0,
        cpu_share=cpu_share,
        generator="wrk",
    )


def _found(pattern: str, output: str) -> re.Match[str]:
    if (found := re.search(pattern, output)) is None:
        raise LoadFailed(f"wrk printed something unexpected:\n{output}")
    return found


def requests(*series: Sequence[Load]) -> int:
    """Return the number of requests of all loads of all series together."""
    return sum(load.requests for loads in series for load in loads)


def doubts(loads: Sequence[Load]) -> str:
    """Return the reasons to doubt these loads; empty if there are none."""
    unexpected, errors = sum(load.unexpected for load in loads), sum(load.errors for load in loads)
    found = []
    if unexpected:
        found.append(f"{unexpected} answers neither 2xx nor 304")
    if errors:
        found.append(f"{errors} errors")
    if any(load.saturated for load in loads):
        found.append(f"the generator took {max(load.cpu_share for load in loads):.0%} of a processor")
    return ", ".join(found)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile, interpolated between the nearest values. There has to be at least one value."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
