"""The table of the system that this project re-implements, measured: `python -m bench.seed [--rounds N] [--only PART …]`.

    health        `/api/health` kept ready, beside a round of checks for each request, with Elasticsearch 200 ms away
    connections   searches under way at the cluster at once, and answered a second, over 20 connections and over 50
    reliability   mappings that are fresh after a pass while 30 % of all requests for mappings are refused
    duplicates    calls that reach the cluster when 1 000 ask at once for a mapping that nobody has yet
    memory        what 1 000 mappings take, each way in a process of its own

Before and after are measured in turn, in one run, on one real node with 1 000 indices. Before is what the original does
(bench/subjects/naive.py says how we know), or the profile `rollback`. A claim that is missed is printed as missed; the exit code
is 0 all the same.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

from bench import seed_parts
from bench.report.figures import Row, SeedRow, print_seed, save_results
from bench.subjects.cluster import CACHE, FAMILIES, running_node
from esassistant.clock import now_utc

ROUNDS = 5
SECONDS = 3.0
SEARCHES = 500
WARM_UP = 2_000
"""Searches before the first that count: a young node compiles its code while it answers."""
PARTS = ("health", "connections", "reliability", "duplicates", "memory")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.seed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each load on health (default: %(default)g)")
    parser.add_argument("--searches", type=int, default=SEARCHES, help="of a pool in a round (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="default: all parts")
    parser.add_argument("--json", type=Path, default=CACHE / "seed.json", help="default: .cache/bench/seed.json")
    options = parser.parse_args()
    started_at, started = now_utc().isoformat(), time.monotonic()
    rows, health = _measured(options)
    print_seed(rows)
    results: dict[str, Any] = {
        "started_at": started_at,
        "seconds": round(time.monotonic() - started, 1),
        "indices": seed_parts.INDICES,
        "distinct_mappings": len(FAMILIES),
        "seed": [row.as_json() for row in rows],
        "rows": {"health": [row.as_json() for row in health]},
    }
    save_results(options.json, results)
    return 0


def _measured(options: argparse.Namespace) -> tuple[list[SeedRow], list[Row]]:
    rows: list[SeedRow] = []
    health: list[Row] = []
    with running_node() as url:
        if "health" in options.only:
            found, health = seed_parts.health(url, options.rounds, options.seconds)
            rows += found
        # Before the index to search in is there: it would be one mapping more.
        if "reliability" in options.only:
            rows += seed_parts.reliability(url, options.rounds)
        if "duplicates" in options.only:
            rows += seed_parts.duplicates(url, options.rounds)
        if "memory" in options.only:
            rows += seed_parts.memory(url, options.rounds)
        if "connections" in options.only:
            rows += seed_parts.connections(url, options.rounds, options.searches, WARM_UP)
    return rows, health


if __name__ == "__main__":
    sys.exit(main())
