"""How fast the HTTP side is, beside controls in the same run: `python -m bench.http [--rounds N] [--only PART …]`.

    throughput   requests a second on 16 connections: this project, a bare ASGI function, FastAPI and plain Django
    livez        how long `/livez` takes while full passes over 10 000 indices go on, beside a server that does nothing
    health       `/api/health` beside a round of health checks for each request, with Elasticsearch 200 ms away

Each server is a process of its own with the same settings of uvicorn, and has the machine to itself but for the load
generator (bench/load.py: `wrk` where it is installed). Rounds alternate: each does everything once, in another order
than the one before. A ratio is taken within a round; a figure is the median of its rounds. A goal that is missed is
printed as missed; the exit code is 0 all the same. FastAPI comes with requirements-bench.txt.
"""

import argparse
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

from elasticsearch import Elasticsearch

from bench.http_latency import LIVEZ_SECONDS, health_rows, livez_rows
from bench.load.client import Load, run
from bench.report.figures import Goal, Row, doubts, print_rows, ratio, requests, save_results
from bench.subjects.cluster import CACHE, Family, mapping
from bench.subjects.http_servers import HEALTH, MINIMAL, has_fastapi, save_answer, serving
from bench.subjects.served import served
from dev.elasticsearch.node import Node
from dev.servers.service import TOKEN, Server
from esassistant.clock import now_utc

ROUNDS = 5
SECONDS = 3.0
WARM_UP_SECONDS = 0.5
CONNECTIONS = 16
SAMPLES = (
    Family("customers", 2, 200),
    Family("orders", 3, 30),
    Family("weblogs", 3, 120),
    Family("audit", 2, 60),
)
ASKED = f"{SAMPLES[0].name}-1"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
FASTAPI_MISSING = "This compares with FastAPI, which is not installed: pip install -r requirements-bench.txt"


@dataclass(frozen=True)
class Case:
    """What is asked of which server. `revalidated`: with the ETag that its answer has at the time."""

    server: str
    path: str
    bearer: bool = False
    revalidated: bool = False


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
    ("health ÷ bare", "health", "bare: health", Goal(0.75)),
    ("health ÷ bare, two headers", "health", "bare, two headers: health", None),
    ("health ÷ fastapi", "health", "fastapi: health", Goal(4)),
    ("health ÷ fastapi, typed", "health", "fastapi: health, typed", None),
    ("health with bearer token ÷ bare", "health, bearer token", "bare: health", None),
    ("health with access log ÷ health", "health, access log", "health", None),
    ("health not modified ÷ bare", "health, not modified", "bare: health", None),
    ("mapping ÷ bare", "mapping", "bare: mapping", Goal(0.6)),
    ("mapping ÷ bare, two headers", "mapping", "bare, two headers: mapping", None),
    ("fast lane ÷ django, stock middleware", "indices, bearer token", "django: stock middleware", Goal(6)),
    ("fast lane ÷ django, no middleware", "indices, bearer token", "django: no middleware", None),
)


@contextmanager
def sample_node() -> Iterator[str]:
    """The URL of a node with a few indices."""
    with tempfile.TemporaryDirectory(prefix="bench-http-") as folder, Node(Path(folder)) as node:
        with Elasticsearch(node.url, request_timeout=60) as client:
            for family in SAMPLES:
                for number in range(family.indices):
                    client.indices.create(
                        index=f"{family.name}-{number + 1}",
                        mappings=mapping(family),
                        settings={"number_of_shards": 1, "number_of_replicas": 0},
                    )
        yield node.url


class Throughput:
    """The servers, and what was measured of them."""

    def __init__(self, server: Server, urls: dict[str, str]) -> None:
        self._server = server
        self._urls = urls
        self.measured: dict[str, list[Load]] = {name: [] for name in CASES}
        # Statuses that a matching If-None-Match had after a round: wrk doesn't tell 304 from 200.
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
        """Of a report that was made so recently that it isn't replaced during the round."""
        while True:
            answer = self._server.get(path)
            if int(answer.headers["Age"]) + seconds + 2 < answer.json()["ttl_seconds"]:
                return answer.headers["ETag"]
            time.sleep(0.2)


def throughput_rows(node_url: str, rounds: int, seconds: float) -> tuple[list[Row], dict[str, Any]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-http-")))
        server = stack.enter_context(served(node_url, folder))
        logged = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-http-")))
        logging_server = stack.enter_context(served(node_url, logged, ESASSISTANT_ACCESS_LOG="true"))
        answers = {path: server.get(path) for path in (HEALTH, MAPPING)}
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
        "connections": CONNECTIONS,
        "seconds_per_round": seconds,
        "loads": {name: [asdict(load) for load in loads] for name, loads in throughput.measured.items()},
    }
    return _throughput_rows(throughput.measured, throughput.revalidated), details


def _throughput_rows(measured: dict[str, list[Load]], revalidated: set[int]) -> list[Row]:
    rows = []
    for name, loads in measured.items():
        p50, p99 = (sorted(getattr(load, what) for load in loads)[len(loads) // 2] * 1000 for what in ("p50", "p99"))
        note = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
        if CASES[name].revalidated:
            note += f", answered {' and '.join(sorted(map(str, revalidated)))}"
        if doubt := doubts(loads):
            note += f"; {doubt}"
            print(f"warning: {name}: {doubt}", file=sys.stderr)
        rows.append(Row(name, [load.per_second for load in loads], "/s", requests(loads), note=note))
    for metric, over_name, under_name, goal in RATIOS:
        over, under = measured[over_name], measured[under_name]
        per_second = ([load.per_second for load in over], [load.per_second for load in under])
        # Whose rate the generator limited could have been faster.
        bounds = [
            bound for bound, loads in (("at least", over), ("at most", under)) if any(load.saturated for load in loads)
        ]
        row = ratio(metric, *per_second, requests(over, under), goal)
        rows.append(Row(row.metric, row.values, row.unit, row.samples, row.goal, " or ".join(bounds)))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.http", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement (default: %(default)g)")
    parser.add_argument(
        "--livez-seconds", type=float, default=LIVEZ_SECONDS, help="of `/livez` during passes (default: %(default)g)"
    )
    parser.add_argument("--only", nargs="+", choices=("throughput", "livez", "health"), help="default: all parts")
    parser.add_argument("--json", type=Path, default=CACHE / "http.json", help="default: .cache/bench/http.json")
    options = parser.parse_args()
    parts = options.only or ["throughput", "livez", "health"]
    if "throughput" in parts and not has_fastapi():
        print(FASTAPI_MISSING, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run(parts, options)
    except KeyboardInterrupt:
        return 130
    return 0


def _run(parts: list[str], options: argparse.Namespace) -> None:
    started_at, started = now_utc().isoformat(), time.monotonic()
    load_before = os.getloadavg()
    rows: dict[str, list[Row]] = {}
    details: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        if {"throughput", "health"}.intersection(parts):
            node_url = stack.enter_context(sample_node())
            measures = {"throughput": partial(throughput_rows, node_url), "health": partial(health_rows, node_url)}
            for part, measure in measures.items():
                if part in parts:
                    rows[part], details[part] = measure(options.rounds, options.seconds)
    if "livez" in parts:
        rows["livez"], details["livez"] = livez_rows(options.rounds, options.livez_seconds)
    for part, found in rows.items():
        print(f"\n{part}", end="")
        print_rows(found)
    print(f"\nload generator: {'wrk' if shutil.which('wrk') else 'bundled'}; paced: bundled")
    print(f"load average of the minute before: {load_before[0]:.1f} on {os.cpu_count()} processors")
    results = {
        "started_at": started_at,
        "seconds": round(time.monotonic() - started, 1),
        "rounds": options.rounds,
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load_average_before": load_before,
        "rows": {part: [row.as_json() for row in found] for part, found in rows.items()},
        "details": details,
    }
    save_results(options.json, results)


if __name__ == "__main__":
    sys.exit(main())
