"""How much one worker carries: `python -m bench.edge [--seconds S] [--only KIND …]`.

Open loop: requests begin at a constant rate, whatever the answers, and a latency counts from when its request should
have begun. For each kind of request the rate is raised by half until p99 is above `P99_SECONDS`, or requests are refused
or lost; what was the last good rate is the capacity. Where the generator itself is late, the capacity is at least that.
Then one step beyond: what the service does with more than it can carry.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from bench.cluster import CACHE
from bench.http import ASKED, sample_node
from bench.load import Load, Target, paced
from bench.served import served
from tests.server import TOKEN

P99_SECONDS = 0.050
LATE_SECONDS = 0.010
STEP = 1.5
FASTEST = 40_000
CONNECTIONS = 64
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {**BEARER, "Content-Type": "application/json"}


@dataclass(frozen=True)
class Kind:
    """What is asked for, and from which rate on. `expected`: the status of a good answer."""

    name: str
    path: str
    first_per_second: float
    expected: str = "200"
    method: str = "GET"
    body: str = ""

    def target(self, url: str) -> Target:
        return Target(url, self.path, JSON if self.body else BEARER, self.method, self.body)


KINDS = (
    Kind("health, from memory", "/api/health", 1000),
    Kind("mapping, from memory", f"/api/mappings/{ASKED}", 1000),
    Kind("names, fast lane", "/api/indices?limit=10", 200),
    Kind("miss: a name that doesn't exist", "/api/mappings/absent-{n}", 50, expected="404"),
    Kind("search", f"/api/indices/{ASKED}/search", 50, method="POST", body='{"size": 10}'),
)


@dataclass(frozen=True)
class Step:
    """One rate, and what came of it."""

    per_second: float
    load: Load
    good: bool
    limited_by_generator: bool


def climb(kind: Kind, url: str, seconds: float) -> Iterator[Step]:
    """Rates from the first to the one beyond the edge."""
    rate = kind.first_per_second
    while rate <= FASTEST:
        [load] = paced([kind.target(url)], rate, seconds, CONNECTIONS)
        failed = load.errors + sum(count for status, count in load.statuses.items() if status != kind.expected)
        late = load.late_p99 is not None and load.late_p99 > LATE_SECONDS
        good = load.p99 <= P99_SECONDS and not failed
        yield Step(rate, load, good, limited_by_generator=late)
        if not good or late:
            return
        rate *= STEP


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.edge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of each rate (default: %(default)g)")
    parser.add_argument("--only", nargs="+", metavar="KIND", help="those whose name has one of these words")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    wanted = [kind for kind in KINDS if not options.only or any(word in kind.name for word in options.only)]
    results = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-edge-")))
        server = stack.enter_context(served(stack.enter_context(sample_node()), folder, MAPPING_CACHE_NEGATIVE_TTL="0"))
        for kind in wanted:
            steps = list(climb(kind, server.url, options.seconds))
            results[kind.name] = [asdict(step) for step in steps]
            _print(kind, steps)
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "edge.json").write_text(json.dumps(results, indent=1))
    return 0


def _print(kind: Kind, steps: list[Step]) -> None:
    good = [step for step in steps if step.good]
    last = good[-1] if good else None
    at_least = "at least " if steps[-1].limited_by_generator and last is not None else ""
    carried = "less than the first rate" if last is None else f"{at_least}{last.per_second:.0f}/s"
    p99 = "" if last is None else f", p99 {last.load.p99 * 1000:.1f} ms of {last.load.requests} requests"
    print(f"{kind.name:<34}{carried:>22}{p99}", flush=True)
    if not steps[-1].good:
        beyond = steps[-1].load
        refused = beyond.statuses.get("503", 0)
        print(
            f"  at {steps[-1].per_second:.0f}/s: {beyond.per_second:.0f}/s answered, p99 {beyond.p99 * 1000:.0f} ms, "
            f"{refused} refused with 503, {beyond.errors} without an answer"
        )


if __name__ == "__main__":
    sys.exit(main())
