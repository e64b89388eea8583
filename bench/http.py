"""How fast the HTTP side is, compared with other servers in the same run: `python -m bench.http [--rounds N] [--only
PART …]`.

    throughput   requests a second on 16 connections: this project, a bare ASGI function, FastAPI and plain Django
    livez        the latency of `/livez` during full passes over 10 000 indices, compared with a server that does
                 nothing
    health       `/api/health`, compared with a round of health checks for each request, with Elasticsearch 200 ms away

Each server is a process of its own with the same settings of uvicorn, and shares the machine only with the load
generator (bench/load/client.py: `wrk` where it is installed). Each round does everything once, in another order than
the round before. A ratio is taken within a round; a figure is the median of its rounds. A missed goal is printed as
missed; the exit code is 0 all the same. FastAPI comes with requirements-bench.txt.
"""

import argparse
import os
import platform
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

from bench.command import Started, exit_code_of, parser, save
from bench.load.client import Load, Target, doubts, paced, requests, run
from bench.load.delay import delayed
from bench.report.lines import Goal, Line, milliseconds, print_lines, ratio
from bench.subjects.cluster import SAMPLES, sample_node
from bench.subjects.http_servers import FASTAPI_MISSING, MINIMAL, has_fastapi, serving
from bench.subjects.replay import replayed
from bench.subjects.saved_answers import HEALTH, save_answer
from bench.subjects.served import environment_of, served
from dev.servers.service import TOKEN, Server

ROUNDS = 5
SECONDS = 3.0
WARM_UP_SECONDS = 0.5
CONNECTIONS = 16
ASKED = f"{SAMPLES[0].name}-1"
PER_SECOND = 100.0
PROBE_CONNECTIONS = 16
"""So many that the connections aren't the limit: if the loop is blocked for 50 ms, each of them gets 20 answers a
second.
"""
LIVEZ_SECONDS = 12.0
PASS_SECONDS = 120.0
DELAY_SECONDS = 0.2
PARTS = ("throughput", "livez", "health")
BEARER = {"Authorization": f"Bearer {TOKEN}"}


Found = tuple[list[Line], dict[str, Any]]
"""The lines of a bench, and details that only its own JSON has."""


@dataclass(frozen=True)
class Case:
    """The address that is asked for, and the server. `revalidated`: the request has the ETag that the answer has at the
    time.
    """

    server: str
    path: str
    bearer: bool = False
    revalidated: bool = False


AS_IT_IS = {"Accept-Encoding": "identity"}
"""The header for requests of this bench that ask for uncompressed answers, as the load generators do."""
INDICES, MAPPING = "/api/indices?limit=1", f"/api/mappings/{ASKED}"

CASES = {
    "bare: health": Case("bare", HEALTH),
    "bare: mapping": Case("bare", MAPPING),
    "bare, two headers: health": Case("bare", MINIMAL + HEALTH),
    "bare, two headers: mapping": Case("bare", MINIMAL + MAPPING),
    "health": Case("ours", HEALTH),
    "health, bearer token": Case("ours", HEALTH, bearer=True),
    "health, not modified": Case("ours", HEALTH, revalidated=True),
    "health, access log": Case("logging", HEALTH),
    "mapping": Case("ours", MAPPING),
    "indices, bearer token": Case("ours", INDICES, bearer=True),
    "fastapi: health": Case("fastapi", HEALTH),
    "fastapi: health, typed": Case("fastapi", "/api/health-typed"),
    "django: stock middleware": Case("django", INDICES, bearer=True),
    "django: no middleware": Case("django-bare", INDICES, bearer=True),
}

RATIOS = (
    ("health ÷ bare", "health", "bare: health", Goal(at_least=0.75)),
    ("health ÷ bare, two headers", "health", "bare, two headers: health", None),
    ("health ÷ fastapi", "health", "fastapi: health", Goal(at_least=4)),
    ("health ÷ fastapi, typed", "health", "fastapi: health, typed", None),
    ("health with bearer token ÷ bare", "health, bearer token", "bare: health", None),
    ("health with access log ÷ health", "health, access log", "health", None),
    ("health not modified ÷ bare", "health, not modified", "bare: health", None),
    ("mapping ÷ bare", "mapping", "bare: mapping", Goal(at_least=0.6)),
    ("mapping ÷ bare, two headers", "mapping", "bare, two headers: mapping", None),
    ("fast lane ÷ django, stock middleware", "indices, bearer token", "django: stock middleware", Goal(at_least=6)),
    ("fast lane ÷ django, no middleware", "indices, bearer token", "django: no middleware", None),
)


class Throughput:
    """The servers, and what was measured of them."""

    def __init__(self, server: Server, urls: dict[str, str]) -> None:
        self._server = server
        self._urls = urls
        self.measured: dict[str, list[Load]] = {name: [] for name in CASES}
        # The statuses that requests with a matching If-None-Match had after a round, because wrk doesn't tell 304 from
        # 200.
        self.revalidated: set[int] = set()

    def round(self, seconds: float) -> dict[str, Load]:
        order = random.sample(list(CASES), len(CASES))
        return {name: self._measure(CASES[name], seconds) for name in order}

    def _measure(self, case: Case, seconds: float) -> Load:
        headers = dict(BEARER) if case.bearer else {}
        if case.revalidated:
            headers["If-None-Match"] = self._lasting_etag(case.path, seconds)
        load = run(self._urls[case.server], case.path, CONNECTIONS, seconds, headers)
        if case.revalidated:
            self.revalidated.add(self._server.get(case.path, headers=headers).status_code)
        return load

    def _lasting_etag(self, path: str, seconds: float) -> str:
        """Return the ETag of a report that was made so recently that it isn't replaced during the round."""
        while True:
            answer = self._server.get(path)
            if int(answer.headers["Age"]) + seconds + 2 < answer.json()["ttl_seconds"]:
                return answer.headers["ETag"]
            time.sleep(0.2)


def throughput_lines(node_url: str, rounds: int, seconds: float) -> Found:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-http-")))
        server = stack.enter_context(served(node_url, folder))
        logged = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-http-")))
        logging_server = stack.enter_context(served(node_url, logged, ESASSISTANT_ACCESS_LOG="true"))
        answers = {path: server.get(path, headers=AS_IT_IS) for path in (HEALTH, MAPPING)}
        for path, answer in answers.items():
            save_answer(folder, path, answer.content, answer.headers)
        urls = {
            kind: stack.enter_context(serving(kind, folder)) for kind in ("bare", "fastapi", "django", "django-bare")
        }
        throughput = Throughput(server, {"ours": server.url, "logging": logging_server.url, **urls})
        throughput.round(WARM_UP_SECONDS)
        for number in range(rounds):
            print(f"throughput: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            for name, load in throughput.round(seconds).items():
                throughput.measured[name].append(load)
    details = {
        "body_bytes": {path: len(answer.content) for path, answer in answers.items()},
        "seconds_per_round": seconds,
        "loads": {name: [asdict(load) for load in loads] for name, loads in throughput.measured.items()},
    }
    return _throughput_lines(throughput.measured, throughput.revalidated), details


def _throughput_lines(measured: dict[str, list[Load]], revalidated: set[int]) -> list[Line]:
    lines = []
    for name, loads in measured.items():
        p50, p99 = (sorted(getattr(load, what) for load in loads)[len(loads) // 2] * 1000 for what in ("p50", "p99"))
        note = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
        if CASES[name].revalidated:
            note += f", answered {' and '.join(sorted(map(str, revalidated)))}"
        lines.append(Line(name, _rates(loads), "/s", requests(loads), note=_with_doubts(note, name, loads)))
    for metric, over_name, under_name, goal in RATIOS:
        over, under = measured[over_name], measured[under_name]
        # Where the load generator was the limit, the server could have been faster: then the ratio is only a bound.
        bounds = [
            bound for bound, loads in (("at least", over), ("at most", under)) if any(load.saturated for load in loads)
        ]
        note = " or ".join(bounds)
        lines.append(ratio(metric, _rates(over), _rates(under), requests(over, under), goal, note))
    return lines


def _rates(loads: list[Load]) -> list[float]:
    return [load.per_second for load in loads]


def _with_doubts(note: str, name: str, loads: list[Load]) -> str:
    """Return the note with the doubts about these loads; they are also printed as a warning."""
    if not (doubt := doubts(loads)):
        return note
    print(f"warning: {name}: {doubt}", file=sys.stderr)
    return f"{note}; {doubt}"


class Passes:
    """Full passes of a server, requested over HTTP one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stopping = threading.Event()
        self.outcomes: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.read_total = 0
        self.problem: Exception | None = None

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Run full passes for the length of the block; its end waits for the last one."""
        self._stopping.clear()
        thread = threading.Thread(target=self._ask, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join(PASS_SECONDS)
        if self.problem is not None:
            raise self.problem

    def _ask(self) -> None:
        try:
            with httpx.Client(base_url=self._server.url, headers=BEARER, timeout=PASS_SECONDS) as client:
                while not self._stopping.is_set():
                    report = client.post("/api/cache/refresh?wait=true").raise_for_status().json()
                    self.outcomes[report["outcome"]] += 1
                    self.seconds.append(report["duration_seconds"])
                    self.read_total += report["read_total"]
        except (httpx.HTTPError, KeyError) as error:
            self.problem = error


def livez_lines(rounds: int, seconds: float) -> Found:
    """Measure `/livez` during full passes. A server that does nothing but answer is asked at the same time, on the same
    two processors, so that what else the machine does shows in both latencies.
    """
    quiet: list[list[Load]] = []
    busy: list[list[Load]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-http-")))
        cluster_url = stack.enter_context(replayed())
        # Without the watch, a full pass reads everything although the recorded cluster never changes.
        server = stack.enter_context(
            served(cluster_url, folder, MAPPING_CACHE_WATCH="false", MIN_REFRESH_INTERVAL="0", HEALTH_CACHE_TTL="30")
        )
        bare_url = stack.enter_context(serving("bare", folder))
        targets = [Target(server.url, "/livez"), Target(bare_url, "/livez")]
        passes = Passes(server)
        paced(targets, PER_SECOND, 1, PROBE_CONNECTIONS)
        for number in range(rounds):
            print(f"livez: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            quiet.append(paced(targets, PER_SECOND, seconds / 2, PROBE_CONNECTIONS))
            with passes.going_on():
                busy.append(paced(targets, PER_SECOND, seconds, PROBE_CONNECTIONS))
    details = {
        "connections": PROBE_CONNECTIONS,
        "passes": dict(passes.outcomes),
        "pass_seconds": passes.seconds,
        "read_total": passes.read_total,
        "quiet": [[asdict(load) for load in loads] for loads in quiet],
        "busy": [[asdict(load) for load in loads] for loads in busy],
    }
    return _livez_lines(quiet, busy, passes), details


def _livez_lines(quiet: list[list[Load]], busy: list[list[Load]], passes: Passes) -> list[Line]:
    lines = []
    for when, loads, goal in (("no pass", quiet, None), ("full passes", busy, Goal(at_most=1.5))):
        ours, bare = ([pair[place] for pair in loads] for place in (0, 1))
        for name, found in ((f"livez, {when}", ours), (f"bare, {when}", bare)):
            p50 = sorted(load.p50 for load in found)[len(found) // 2] * 1000
            longest = max(load.longest for load in found) * 1000
            note = _with_doubts(f"p50 {p50:.2f} ms, longest {longest:.1f} ms", name, found)
            lines.append(milliseconds(f"{name}: p99", [load.p99 for load in found], requests(found), note=note))
        p99 = ([load.p99 for load in ours], [load.p99 for load in bare])
        lines.append(ratio(f"  livez ÷ bare, {when}, p99", *p99, requests(ours, bare), goal))
    late = [load.late_p99 for pair in busy for load in pair if load.late_p99 is not None]
    lines.append(milliseconds("  how late the generator was: p99", late, sum(map(requests, busy))))
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in passes.outcomes.items())
    note = f"{outcomes}; {passes.read_total} mappings read"
    lines.append(Line("a full pass meanwhile", passes.seconds, "s", len(passes.seconds), note=note))
    return lines


def health_lines(node_url: str, rounds: int, seconds: float) -> Found:
    cached: list[Load] = []
    uncached: list[Load] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-http-")))
        far_url = stack.enter_context(delayed(node_url, DELAY_SECONDS))
        server = stack.enter_context(served(far_url, folder))
        uncached_url = stack.enter_context(serving("uncached", folder, environment_of(far_url, folder)))
        for number in range(rounds + 1):
            print(f"health: round {number} of {rounds}", file=sys.stderr, flush=True)
            if number == 1:
                cached, uncached = [], []
            cached.append(run(server.url, "/api/health", 1, seconds))
            uncached.append(run(uncached_url, "/api/health", 1, seconds))
    lines = [
        milliseconds(f"{name}: p50", [load.p50 for load in loads], requests(loads), note=doubts(loads))
        for name, loads in (("health, kept ready", cached), ("health, checked for each request", uncached))
    ]
    p50 = ([load.p50 for load in uncached], [load.p50 for load in cached])
    lines.append(ratio("  uncached ÷ cached, p50", *p50, requests(uncached), Goal(at_least=200)))
    details = {
        "delay_seconds": DELAY_SECONDS,
        "cached": [asdict(load) for load in cached],
        "uncached": [asdict(load) for load in uncached],
    }
    return lines, details


def main() -> int:
    arguments = parser("http", __doc__)
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    arguments.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement (default: %(default)g)")
    arguments.add_argument(
        "--livez-seconds", type=float, default=LIVEZ_SECONDS, help="of `/livez` during passes (default: %(default)g)"
    )
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="default: all parts")
    options = arguments.parse_args()
    if "throughput" in options.only and not has_fastapi():
        print(FASTAPI_MISSING, file=sys.stderr)
        return 2
    return exit_code_of(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    started, load_before = Started(), os.getloadavg()
    found: dict[str, Found] = {}
    with ExitStack() as stack:
        if {"throughput", "health"}.intersection(options.only):
            node_url = stack.enter_context(sample_node())
            for part, measure in {"throughput": throughput_lines, "health": health_lines}.items():
                if part in options.only:
                    found[part] = measure(node_url, options.rounds, options.seconds)
    if "livez" in options.only:
        found["livez"] = livez_lines(options.rounds, options.livez_seconds)
    for part, (lines, _) in found.items():
        print(f"\n{part}", end="")
        print_lines(lines)
    print(f"\nload generator: {'wrk' if shutil.which('wrk') else 'bundled'}; paced: bundled")
    print(f"load average of the minute before: {load_before[0]:.1f} on {os.cpu_count()} processors")
    save(
        options.json,
        **started.facts(),
        rounds=options.rounds,
        python=platform.python_version(),
        processors=os.cpu_count(),
        load_average_before=load_before,
        connections=CONNECTIONS,
        per_second=PER_SECOND,
        lines=[line for lines, _ in found.values() for line in lines],
        details={part: details for part, (_, details) in found.items()},
    )


if __name__ == "__main__":
    sys.exit(main())
