"""The cost of a search that goes through a service: `python -m bench.search [--rounds N] [--only WORD …]`.

The same searches are sent, as fast as they are answered, through

    ours        this project's `manage.py serve`, one worker
    starlette   Starlette with a plain `AsyncElasticsearch` of as many connections
    aiohttp     only uvicorn and aiohttp, which pass bytes on: the limit

to a cluster that is replayed from recorded answers (`replayed`), so that the services have the processors for
themselves, and to the real node that gave these answers (`real`). Each is a process of its own. Each round does
everything once, in another order than the round before. Processor time is what the kernel counts for the whole process
(getrusage), divided by the number of searches. A ratio is taken within a round; a figure is the median of its rounds. A
missed goal is printed as missed; the exit code is 0 all the same. Starlette comes with requirements-bench.txt.
"""

import json
import os
import platform
import random
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

import httpx
from elasticsearch import Elasticsearch

from bench.command import Started, parser, save
from bench.load.client import Job, Load, Target, bundled, doubts
from bench.report.lines import Goal, Line, milliseconds, print_lines, ratio
from bench.subjects.processes import processor_seconds
from bench.subjects.saved_answers import save_answer
from bench.subjects.searches import STARLETTE_MISSING, has_starlette, searching
from bench.subjects.served import served
from dev.elasticsearch.node import Node
from dev.servers.service import TOKEN

ROUNDS = 5
SECONDS = 2.0
WARM_UP_SECONDS = 1.0
WARM_UP_SEARCHES = 40
"""The number of searches before the first round, because a young node still compiles its code while it answers."""
OURS, PLAIN, LIMIT = "ours", "starlette", "aiohttp"
SERVERS = (OURS, PLAIN, LIMIT)
BEHIND = ("replayed", "real")
JSON = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


@dataclass(frozen=True)
class Kind:
    """What is searched for: `hits` documents of `bytes_each` bytes."""

    index: str
    name: str
    hits: int
    bytes_each: int

    @property
    def body(self) -> str:
        return json.dumps({"query": {"match": {"message": "word"}}, "size": self.hits})


KINDS = (
    Kind("hits-1", "1 hit", 1, 250),
    Kind("hits-10", "10 hits", 10, 250),
    Kind("hits-100", "100 hits", 100, 250),
    Kind("megabyte", "1 MB", 10, 100_000),
)
CONNECTIONS = (16, 64)
JUDGED = ("10 hits", 16)
CPU_GOAL, THROUGHPUT_GOAL = Goal(at_most=1.0), Goal(at_least=1.0)


@dataclass(frozen=True)
class Case:
    """A kind of search, sent to a server over a cluster."""

    behind: str
    kind: Kind
    connections: int

    def __str__(self) -> str:
        return f"{self.behind}, {self.kind.name}, {self.connections} connections"


@dataclass(frozen=True)
class Measured:
    """The results of one server in one round. `processor_seconds`: per search."""

    load: Load
    processor_seconds: float


def measure(url: str, pid: int, case: Case, seconds: float) -> Measured:
    """Measure the answers of one server to one kind of search."""
    target = Target(url, f"/api/indices/{case.kind.index}/search", JSON, "POST", case.kind.body)
    before = processor_seconds(pid)
    [load] = bundled(Job([target], case.connections, seconds))
    return Measured(load, (processor_seconds(pid) - before) / load.requests)


def prepare(url: str) -> None:
    """Index the documents that are searched for."""
    with Elasticsearch(url, request_timeout=60) as client:
        for kind in KINDS:
            properties = {"message": {"type": "text"}, "rest": {"type": "keyword", "index": False, "doc_values": False}}
            settings = {"number_of_shards": 1, "number_of_replicas": 0}
            client.indices.create(index=kind.index, settings=settings, mappings={"properties": properties})
            operations: list[dict[str, Any]] = []
            for number in range(max(100, kind.hits) if kind.bytes_each < 1000 else kind.hits):
                document = {"message": f"word number {number}", "at": "2026-11-01T10:00:00Z", "status": number % 7}
                rest = {"rest": "x" * (kind.bytes_each - 120)}
                operations += [{"index": {}}, document | rest]
            client.bulk(index=kind.index, operations=operations, refresh=True)
            client.indices.forcemerge(index=kind.index, max_num_segments=1)
            for _ in range(WARM_UP_SEARCHES):
                client.search(index=kind.index, body=json.loads(kind.body))


def record(url: str, folder: Path) -> dict[str, int]:
    """Keep the node's answers for the replay. Return their sizes in bytes, by kind."""
    sizes = {}
    for kind in KINDS:
        path = f"/{kind.index}/_search"
        answer = httpx.post(f"{url}{path}", content=kind.body, headers={**JSON, "Accept-Encoding": "identity"})
        found = answer.raise_for_status().json()
        assert len(found["hits"]["hits"]) == kind.hits
        save_answer(folder, path, answer.content, answer.headers)
        sizes[kind.name] = len(answer.content)
    return sizes


@contextmanager
def servers(behind: str, url: str, folder: Path) -> Iterator[dict[str, tuple[str, int]]]:
    """Yield the URL and the process id of each server over one cluster."""
    own = folder / behind
    own.mkdir()
    with ExitStack() as stack:
        ours = stack.enter_context(served(url, own, MAPPING_CACHE_WATCH="false", HEALTH_CACHE_TTL="30"))
        found = {OURS: (ours.url, ours.pid)}
        for kind in (PLAIN, LIMIT):
            server = stack.enter_context(searching(kind, own, url))
            found[kind] = (server.url, server.pid)
        yield found


Found = dict[Case, dict[str, list[Measured]]]


def run(cases: list[Case], running: Mapping[str, dict[str, tuple[str, int]]], rounds: int, seconds: float) -> Found:
    """Run all rounds."""
    found: Found = {case: {name: [] for name in SERVERS} for case in cases}
    for behind, each in running.items():
        for name in SERVERS:
            for case in cases:
                if case.behind == behind:
                    measure(*each[name], case, WARM_UP_SECONDS)
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for case in random.sample(cases, len(cases)):
            for name in random.sample(SERVERS, len(SERVERS)):
                found[case][name].append(measure(*running[case.behind][name], case, seconds))
    return found


def lines_of(found: Found) -> list[Line]:
    """Return the lines of each case: rates, processor times, and the ratios of ours to the other servers."""
    lines = []
    for case, by_server in found.items():
        asked = sum(each.load.requests for each in by_server[OURS])
        lines.append(_rate(f"{case}: ours", by_server[OURS]))
        for name in (PLAIN, LIMIT):
            lines.append(_rate(f"  {name}", by_server[name]))
        for name in SERVERS:
            values = [each.processor_seconds for each in by_server[name]]
            lines.append(milliseconds(f"  processor time per search, {name}", values))
        judged = (case.kind.name, case.connections) == JUDGED
        ours, plain, limit = by_server[OURS], by_server[PLAIN], by_server[LIMIT]
        label = f"{case}: ours ÷ starlette"
        lines += [
            ratio(f"{label}, processor time", _cpu(ours), _cpu(plain), asked, CPU_GOAL if judged else None),
            ratio(f"{label}, throughput", _rates(ours), _rates(plain), asked, THROUGHPUT_GOAL if judged else None),
            ratio("  ours ÷ aiohttp, throughput", _rates(ours), _rates(limit), asked),
        ]
    return lines


def _rate(metric: str, measured: list[Measured]) -> Line:
    loads = [each.load for each in measured]
    p50 = sorted(load.p50 for load in loads)[len(loads) // 2] * 1000
    note = ", ".join(filter(None, (f"p50 {p50:.2f} ms", doubts(loads))))
    return Line(metric, _rates(measured), "/s", sum(load.requests for load in loads), note=note)


def _rates(measured: list[Measured]) -> list[float]:
    return [each.load.per_second for each in measured]


def _cpu(measured: list[Measured]) -> list[float]:
    return [each.processor_seconds for each in measured]


def main() -> int:
    arguments = parser("search", __doc__)
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    arguments.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement (default: %(default)g)")
    arguments.add_argument("--only", nargs="+", metavar="WORD", help='cases that have all of these, such as "10 hits"')
    options = arguments.parse_args()
    if not has_starlette():
        print(STARLETTE_MISSING, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    every = [Case(behind, kind, number) for behind in BEHIND for kind in KINDS for number in CONNECTIONS]
    cases = [case for case in every if all(word in str(case) for word in options.only or ())]
    started = Started()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-search-")))
        node = stack.enter_context(Node(folder / "node"))
        prepare(node.url)
        sizes = record(node.url, folder)
        urls = {"real": node.url, "replayed": ""}
        if any(case.behind == "replayed" for case in cases):
            urls["replayed"] = stack.enter_context(searching("replay", folder)).url
        running = {
            behind: stack.enter_context(servers(behind, urls[behind], folder))
            for behind in BEHIND
            if any(case.behind == behind for case in cases)
        }
        found = run(cases, running, options.rounds, options.seconds)
    lines = lines_of(found)
    print_lines(lines)
    save(
        options.json,
        **started.facts(),
        rounds=options.rounds,
        python=platform.python_version(),
        processors=os.cpu_count(),
        answer_bytes=sizes,
        lines=lines,
        details={
            str(case): {name: [asdict(each) for each in some] for name, some in by.items()}
            for case, by in found.items()
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
