"""How many requests one worker carries, and what it does with more: `python -m bench.edge [--seconds S] [--only WORD
…]`.

Open loop: requests begin at a constant rate, whatever the answers are, and a latency counts from the moment at which
its request should have begun. A rate is carried if its p99 is at most `P99_SECONDS` and each request gets a good
answer. For each kind of request, the rate is doubled until it isn't carried any more; then the edge is narrowed down.
If the generator itself is late, the last carried rate is a lower bound. After that, three parts follow:

    beyond   `TIMES` times the carried rate, on more connections than a worker handles requests at once. Latencies count
             from when a request was sent, because waiting for a free connection isn't the worker's queue
    others   other requests at a low rate during that: for a mapping that is in memory, and for /livez
    after    half of the carried rate, right after that

All requests go to one worker of `manage.py serve`, on the same processors as the generator and Elasticsearch.
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

from bench.command import Started, parser, save
from bench.load.client import Load, Target, paced
from bench.report.lines import Goal, Line, milliseconds, percent, print_lines
from bench.subjects.cluster import SAMPLES, sample_node
from bench.subjects.served import served
from dev.servers.service import TOKEN

P99_SECONDS = 0.050
LATE_SECONDS = 0.010
SEARCHING_SECONDS = 1.0
"""How long each rate is measured while the rate doubles."""
NARROWINGS = 2
FASTEST = 100_000
CONNECTIONS = 64
TIMES = 4
FASTEST_BEYOND = 50_000
"""The fastest rate of the part "beyond", as no generator of this project is faster. Where it would need more, the part
is left out.
"""
BEYOND_CONNECTIONS = 2500
"""More connections than the default of ESASSISTANT_MAX_IN_FLIGHT."""
OTHERS_PER_SECOND = 25.0
OTHERS_CONNECTIONS = 64
"""More than the requests under way, so that each has a connection of its own, as the requests of others do."""
EARLIER_SECONDS = 0.5
"""How long before the overload the other requests begin, so that they are connected by then: new connections wait for
one another.
"""
REFUSED_GOAL, OTHERS_GOAL = Goal(at_most=250), Goal(at_most=1000)
"""The goals in milliseconds. A refused request is answered at once; other callers wait, but not for long."""
ALL_GOOD = Goal(at_least=100)
"""The goal in percent."""
ASKED = f"{SAMPLES[0].name}-1"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {**BEARER, "Content-Type": "application/json"}


@dataclass(frozen=True)
class Kind:
    """What is asked for, and the first rate. `good`: the status of a good answer."""

    name: str
    path: str
    first_per_second: float
    good: str = "200"
    method: str = "GET"
    body: str = ""

    def target(self, url: str) -> Target:
        return Target(url, self.path, JSON if self.body else BEARER, self.method, self.body)


VALIDATED = (
    '{"query": {"bool": {"filter": [{"term": {"customers_part_000.attribute_00": "a"}},'
    ' {"range": {"@timestamp": {"gte": "now-1d"}}}]}}, "aggs": {"a": {"terms": {"field": "nowhere"}}}}'
)
KINDS = (
    Kind("health", "/api/health", 1000),
    Kind("mapping", f"/api/mappings/{ASKED}", 1000),
    Kind("names", "/api/indices?limit=10", 250),
    Kind("fields", f"/api/mappings/{ASKED}/fields", 250),
    Kind("validate", f"/api/mappings/{ASKED}/validate", 100, method="POST", body=VALIDATED),
    Kind("describe", f"/api/mappings/{ASKED}/describe?tokens=500&q=attribute", 50),
    Kind("miss", "/api/mappings/absent-{n}", 50, good="404"),
    Kind("search", f"/api/indices/{ASKED}/search", 50, method="POST", body='{"size": 10}'),
)


@dataclass(frozen=True)
class Step:
    """One rate, and the answers at that rate."""

    per_second: float
    load: Load
    good: str

    @property
    def is_carried(self) -> bool:
        return self.load.p99 <= P99_SECONDS and not self.load.errors and set(self.load.statuses) == {self.good}

    @property
    def is_of_the_generator(self) -> bool:
        """Whether the generator itself was too late, so that the rate says nothing about the worker."""
        return self.load.late_p99 is not None and self.load.late_p99 > LATE_SECONDS


@dataclass(frozen=True)
class Edge:
    """The highest rate that is carried for a kind of request. `carried` None: not even the first rate was."""

    carried: Step | None
    is_at_least: bool


Ask = Callable[[float, float], Step]
"""Called with a rate and the seconds for which to measure it."""


def find_edge(ask: Ask, first: float, seconds: float, fastest: float = FASTEST) -> Edge:
    """Find the highest rate that is carried: double the rate until one isn't carried twice in a row, then halve the gap
    on a logarithmic scale.

    Args:
        ask: Measures one rate.
        first: The first rate, in requests a second.
        seconds: How long each rate is measured once the gap is halved.
        fastest: The search ends at this rate, in requests a second.
    """
    carried, rate = None, first
    while rate <= fastest:
        step = ask(rate, SEARCHING_SECONDS)
        if not step.is_carried and not step.is_of_the_generator:
            step = ask(rate, SEARCHING_SECONDS)
        if not step.is_carried:
            break
        carried, rate = step, rate * 2
    else:
        return Edge(carried, is_at_least=True)
    if carried is None:
        return Edge(None, is_at_least=False)
    low, high, is_at_least = carried.per_second, rate, step.is_of_the_generator
    for _ in range(NARROWINGS):
        middle = (low * high) ** 0.5
        step = ask(middle, seconds)
        if step.is_carried:
            carried, low = step, middle
        else:
            high, is_at_least = middle, step.is_of_the_generator
    return Edge(carried, is_at_least)


def measure(kind: Kind, url: str, seconds: float) -> list[Line]:
    """Measure the edge of a kind of request, and what happens beyond it."""

    def ask(per_second: float, seconds: float, connections: int = CONNECTIONS) -> Step:
        [load] = paced([kind.target(url)], per_second, seconds, connections)
        return Step(per_second, load, kind.good)

    edge = find_edge(ask, kind.first_per_second, seconds)
    if edge.carried is None:
        return [Line(f"{kind.name}: carried", [0.0], "/s", 0, note=f"not even {kind.first_per_second:g}/s")]
    carried = edge.carried
    note = "at least: the generator could not ask faster" if edge.is_at_least else ""
    lines = [
        Line(f"{kind.name}: carried", [carried.per_second], "/s", carried.load.requests, note=note),
        milliseconds("  p99", [carried.load.p99], carried.load.requests),
    ]
    if carried.per_second * TIMES > FASTEST_BEYOND:
        return lines
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(_others, url, seconds + EARLIER_SECONDS)
        time.sleep(EARLIER_SECONDS)
        beyond = ask(carried.per_second * TIMES, seconds, BEYOND_CONNECTIONS)
        others = waiting.result()
    after = ask(carried.per_second / 2, SEARCHING_SECONDS)
    return [
        *lines,
        *beyond_lines(kind.name, beyond),
        *others_lines(kind.name, others),
        milliseconds("  after: p99", [after.load.p99], after.load.requests),
    ]


def _others(url: str, seconds: float) -> list[Load]:
    """Measure the requests of other callers while a worker is overloaded."""
    asked = [Target(url, f"/api/mappings/{ASKED}", BEARER), Target(url, "/livez")]
    return paced(asked, OTHERS_PER_SECOND, seconds, OTHERS_CONNECTIONS)


def others_lines(kind: str, loads: Sequence[Load]) -> list[Line]:
    """Return the lines about other callers: whether all of them got good answers while there were too many requests of
    a kind, and how soon.
    """
    asked = sum(load.requests + load.errors for load in loads)
    good = sum(load.statuses.get("200", 0) for load in loads)
    latest = max(load.p99 for load in loads)
    return [
        Line(f"  too much of {kind}: others answered 200", [percent(good, asked)], "%", asked, ALL_GOOD),
        milliseconds(f"  too much of {kind}: p99 of others", [latest], asked, OTHERS_GOAL),
    ]


def beyond_lines(kind: str, step: Step) -> list[Line]:
    """Return the lines about a rate of a kind that is more than is carried."""
    load = step.load
    asked, good, refused = load.requests + load.errors, load.statuses.get(step.good, 0), load.statuses.get("503", 0)
    others = asked - good - refused
    odd = f"{others} others or without an answer" if others else ""
    return [
        Line("  beyond: answered", [good / load.seconds], "/s", good),
        Line("  beyond: refused with 503", [refused / asked * 100], "%", asked, note=odd),
        *(
            milliseconds(metric, [load.p99_served[status]], load.statuses[status], goal)
            for status, metric, goal in (
                (step.good, "  beyond: p99 of answered", None),
                ("503", f"  too much of {kind}: p99 of refused", REFUSED_GOAL),
            )
            if status in load.p99_served
        ),
    ]


def main() -> int:
    arguments = parser("edge", __doc__)
    arguments.add_argument("--seconds", type=float, default=4.0, help="of the rates that count (default: %(default)g)")
    arguments.add_argument("--only", nargs="+", metavar="WORD", help="kinds whose name has one of these words")
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    kinds = [kind for kind in KINDS if not options.only or any(word in kind.name for word in options.only)]
    started, lines = Started(), []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-edge-")))
        # An absent name that is remembered would be answered from memory, and would be no miss.
        settings = {"MAPPING_CACHE_NEGATIVE_TTL": "0"}
        server = stack.enter_context(served(stack.enter_context(sample_node()), folder, **settings))
        for kind in kinds:
            lines += measure(kind, server.url, options.seconds)
    print_lines(lines)
    save(options.json, **started.facts(), times=TIMES, beyond_connections=BEYOND_CONNECTIONS, lines=lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
