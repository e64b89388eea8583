"""How long a probe takes, and how many hot answers a second are left, during a flood of requests by strangers: `python
-m bench.strangers [--seconds S] [--connections N] [--only KIND …]`.

In most kinds of floods (dev/faults/flood.py), each connection sends a request at the same moment, waits until all are
answered, and begins again. In the kind `pipelining`, 60 connections send 20 000 requests each and read nothing. During
one flood of each kind, `/livez` is asked 50 times a second, each time on a new connection. During a second one,
`/api/health` is asked on 8 connections, as fast as it answers. The server, the flood, the probe and the generator are
processes of their own on the same processors.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

from bench.command import Started, parser, save
from bench.load.client import Job, Target, bundled
from bench.report.lines import Goal, Line, milliseconds, print_lines
from bench.subjects.replay import replayed
from bench.subjects.served import served
from dev.faults.flood import KINDS, PIPELINING, flooding, probe_during, processor_seconds, waited_percent

CONNECTIONS = 500
PIPELINING_CONNECTIONS = 60
HOT_CONNECTIONS = 8
SETTLE_SECONDS = 0.5
"""How long to wait until the rest of the last flood is gone from the queues."""
GOAL = Goal(at_most=250)
"""The goal in milliseconds."""

V1_LIVEZ_MS = {
    "static": 2540,
    "missing": 4433,
    "login": 35_150,
    "browse": 2878,
    "health": 2102,
    "pipelining": 11_905,
}
V1_HOT_PER_SECOND = {"static": 164, "missing": 227, "browse": 197, "health": 329, "pipelining": 0.617}
"""What version 1.0.0 achieved in this bench, on two processors; only shown for runs with as many connections."""


def measure(url: str, pid: int, kind: str, connections: int, seconds: float) -> list[Line]:
    """Measure two floods of one kind: probes are timed during the first, `/api/health` during the second."""
    count = PIPELINING_CONNECTIONS if kind == PIPELINING else connections
    before = processor_seconds(pid)
    with flooding(url, kind, count, seconds) as flood:
        probed = probe_during(flood, url)
        statuses = flood.wait()
    waited = waited_percent(before, processor_seconds(pid))
    with flooding(url, kind, count, seconds + 2 * SETTLE_SECONDS):
        [hot] = bundled(Job([Target(url, "/api/health")], HOT_CONNECTIONS, seconds))
    told = ", ".join(f"{number} {status}" for status, number in sorted(statuses.items()))
    failed = f"{probed.failed} probes without an answer; " if probed.failed else ""
    waiting = f"the server waited for a processor {waited:.0f} % of the time that it needed one"
    asked = len(probed.seconds) + probed.failed
    livez_note = f"{_v1(V1_LIVEZ_MS, kind, connections, 'ms')}{failed}flood: {told}; {waiting}"
    hot_note = _v1(V1_HOT_PER_SECOND, kind, connections, "a second").removesuffix("; ")
    return [
        milliseconds(f"{kind}: /livez, p99", [probed.percentile(99)], asked, GOAL, livez_note),
        Line(f"{kind}: hot answers", [hot.per_second], "/s", hot.requests, note=hot_note),
    ]


def _v1(figures: Mapping[str, float], kind: str, connections: int, unit: str) -> str:
    return f"1.0.0: {figures[kind]:g} {unit}; " if kind in figures and connections == CONNECTIONS else ""


def main() -> int:
    kinds = (*KINDS, PIPELINING)
    arguments = parser("strangers", __doc__)
    arguments.add_argument("--seconds", type=float, default=3.0, help="of each flood (default: %(default)g)")
    arguments.add_argument("--connections", type=int, default=CONNECTIONS, help="default: %(default)d")
    arguments.add_argument("--only", nargs="+", choices=kinds, help="kinds of floods; default: all")
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = Started()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-strangers-")))
        settings = {"MAPPING_CACHE_WATCH": "false", "MAPPING_CACHE_REFRESH_INTERVAL": "0"}
        cluster_url = stack.enter_context(replayed())
        server = stack.enter_context(served(cluster_url, folder, ESASSISTANT_DETAILS="authorized", **settings))
        [quiet] = bundled(Job([Target(server.url, "/api/health")], HOT_CONNECTIONS, options.seconds))
        lines = [Line("no flood: hot answers", [quiet.per_second], "/s", quiet.requests)]
        for kind in options.only or kinds:
            lines += measure(server.url, server.pid, kind, options.connections, options.seconds)
    print_lines(lines)
    save(options.json, **started.facts(), connections=options.connections, lines=lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
