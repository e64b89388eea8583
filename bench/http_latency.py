"""The parts of bench/http.py that are about latencies: `/livez` during full passes, and health that is kept ready."""

import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from bench.load.client import Load, Target, paced, run
from bench.load.delay import delayed
from bench.report.figures import Goal, Row, doubts, ratio, requests
from bench.subjects.http_servers import serving
from bench.subjects.replay import replayed
from bench.subjects.served import environment_of, served
from dev.servers.service import TOKEN, Server

PER_SECOND = 100.0
PROBE_CONNECTIONS = 16
"""So many that they are not what a request waits for: a loop that is held for 50 ms answers 20 times a second on each.
"""
LIVEZ_SECONDS = 12.0
PASS_SECONDS = 120.0
DELAY_SECONDS = 0.2
Found = tuple[list[Row], dict[str, Any]]


class Passes:
    """Full passes that a server is asked for over HTTP, one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stopping = threading.Event()
        self.outcomes: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.read_total = 0
        self.problem: Exception | None = None

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """For the length of the block; the last one is waited for."""
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
        headers = {"Authorization": f"Bearer {TOKEN}"}
        try:
            with httpx.Client(base_url=self._server.url, headers=headers, timeout=PASS_SECONDS) as client:
                while not self._stopping.is_set():
                    report = client.post("/api/cache/refresh?wait=true").raise_for_status().json()
                    self.outcomes[report["outcome"]] += 1
                    self.seconds.append(report["duration_seconds"])
                    self.read_total += report["read_total"]
        except (httpx.HTTPError, KeyError) as error:
            self.problem = error


def livez_rows(rounds: int, seconds: float) -> Found:
    """A server that only answers is asked at the same time, on the same two processors: what the machine does to a
    latency, it does to both.
    """
    quiet: list[list[Load]] = []
    busy: list[list[Load]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-http-")))
        cluster_url = stack.enter_context(replayed())
        # Without the watch a full pass reads everything, though the recorded cluster never changes.
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
        "per_second": PER_SECOND,
        "connections": PROBE_CONNECTIONS,
        "passes": dict(passes.outcomes),
        "pass_seconds": passes.seconds,
        "read_total": passes.read_total,
        "quiet": [[asdict(load) for load in loads] for loads in quiet],
        "busy": [[asdict(load) for load in loads] for loads in busy],
    }
    return _livez_rows(quiet, busy, passes), details


def _livez_rows(quiet: list[list[Load]], busy: list[list[Load]], passes: Passes) -> list[Row]:
    rows = []
    for when, loads, goal in (("no pass", quiet, None), ("full passes", busy, Goal(1.5, least=False))):
        ours, bare = ([pair[place] for pair in loads] for place in (0, 1))
        for name, found in (("livez", ours), ("bare", bare)):
            p50 = sorted(load.p50 for load in found)[len(found) // 2] * 1000
            longest = max(load.longest for load in found) * 1000
            note = f"p50 {p50:.2f} ms, longest {longest:.1f} ms"
            if doubt := doubts(found):
                note += f"; {doubt}"
                print(f"warning: {name}, {when}: {doubt}", file=sys.stderr)
            rows.append(
                Row(f"{name}, {when}: p99", [load.p99 * 1000 for load in found], "ms", requests(found), note=note)
            )
        p99 = ([load.p99 for load in ours], [load.p99 for load in bare])
        rows.append(ratio(f"  livez ÷ bare, {when}, p99", *p99, requests(ours, bare), goal))
    late = [load.late_p99 * 1000 for pair in busy for load in pair if load.late_p99 is not None]
    rows.append(Row("  how late the generator was: p99", late, "ms", sum(map(requests, busy))))
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in passes.outcomes.items())
    note = f"{outcomes}; {passes.read_total} mappings read"
    rows.append(Row("a full pass meanwhile", passes.seconds, "s", len(passes.seconds), note=note))
    return rows


def health_rows(node_url: str, rounds: int, seconds: float) -> Found:
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
    rows = [
        Row(f"{name}: p50", [load.p50 * 1000 for load in loads], "ms", requests(loads), note=doubts(loads))
        for name, loads in (("health, kept ready", cached), ("health, checked for each request", uncached))
    ]
    p50 = ([load.p50 for load in uncached], [load.p50 for load in cached])
    rows.append(ratio("  uncached ÷ cached, p50", *p50, requests(uncached), Goal(200)))
    details = {
        "delay_seconds": DELAY_SECONDS,
        "cached": [asdict(load) for load in cached],
        "uncached": [asdict(load) for load in uncached],
    }
    return rows, details
