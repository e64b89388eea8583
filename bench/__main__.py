"""Run the benches, and write their results: `make bench`, or `python -m bench [--quick] [--only BENCH …]`.

The benches run one after the other, and each prints its own table. A full run takes at most 15 minutes on two
processors (only the first run makes the 1 000 indices). It writes docs/benchmarks.md, docs/benchmarks.json,
docs/images/ and the table in the README.

Results go to .cache/bench/report/ instead with `--quick`, which shows in about 3 minutes that everything works, with
`--only`, or when a bench failed. If `--write` is given too, they go to docs/, where they replace the earlier results of
the same benches. `--render` measures nothing, and writes the document again from docs/benchmarks.json. Benches that
take long run only if `--only` names them: {alone}.

A missed goal is printed and written as missed. The exit code is 1 only when a bench failed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report.document import goals
from bench.report.results import DOCS, machine, merged, read, slim, write, write_readme
from bench.subjects.cluster import CACHE, NODE_URL, running_node
from bench.subjects.http_servers import FASTAPI_MISSING, has_fastapi
from esassistant.clock import now_utc
from esassistant.units import as_duration

LONGEST_SECONDS = 900
GRACE_SECONDS = 60
LIMIT_SECONDS = 900


@dataclass(frozen=True)
class Step:
    """A bench, and the command that runs it."""

    bench: str
    full: Sequence[str]
    quick: Sequence[str]
    runs_alone: bool = False
    """Whether it runs only if `--only` names it. All other benches together take no longer than `LIMIT_SECONDS`."""


STEPS = (
    Step("seed", ["--rounds", "3"], ["--rounds", "1", "--seconds", "1", "--searches", "200"]),
    Step("refresh", ["--rounds", "5"], ["--rounds", "1", "--changes", "4"]),
    Step("coherence", ["--changes", "60"], ["--changes", "4", "--stores", "redis"]),
    Step(
        "feed",
        ["--changes", "60", "--rounds", "3"],
        ["--changes", "4", "--rounds", "1", "--subscribers", "50", "--stores", "redis"],
        runs_alone=True,
    ),
    Step("pool", ["--rounds", "3"], ["--rounds", "1", "--searches", "100"]),
    Step(
        "http",
        ["--only", "throughput", "livez", "--rounds", "4", "--seconds", "2", "--livez-seconds", "8"],
        ["--only", "throughput", "livez", "--rounds", "1", "--seconds", "1", "--livez-seconds", "2"],
    ),
    Step("edge", ["--seconds", "3"], ["--seconds", "1", "--only", "names", "search"]),
    Step(
        "search",
        ["--rounds", "3", "--seconds", "1", "--only", "16 connections"],
        ["--rounds", "1", "--seconds", "1", "--only", "10 hits", "16 connections"],
    ),
    Step("views", ["--rounds", "3", "--seconds", "1"], ["--rounds", "1", "--seconds", "0.5", "--requests", "1000"]),
    Step("strangers", ["--seconds", "3"], ["--seconds", "1", "--only", "static", "missing"]),
    Step("loop", ["--passes", "3"], ["--passes", "1"]),
    Step("predict", ["--seeds", "20"], ["--seeds", "2"], runs_alone=True),
    Step(
        "fleet",
        [],
        [
            *("--instances", "1", "4", "--indices", "1000", "--changes", "4", "--quiet-seconds", "3", "--no-kill"),
            *("--only", "instances", "published"),
        ],
        runs_alone=True,
    ),
)


def main() -> int:
    options = _options()
    if options.render:
        _publish(read(DOCS))
        return 0
    if not has_fastapi():
        print(FASTAPI_MISSING, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = CACHE / "quick" if options.quick else CACHE
    try:
        results, failed = _run(options, folder)
    except KeyboardInterrupt:
        return 130
    is_whole = not failed and not options.quick and not options.only
    if is_whole or options.write:
        _publish(merged(read(DOCS), results))
    else:
        write(results, CACHE / "report")
        print("written to .cache/bench/report/benchmarks.md", file=sys.stderr)
    _print_end(results, failed)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=_description(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument(
        "--only", nargs="+", choices=[step.bench for step in STEPS], help="default: all that don't run alone"
    )
    parser.add_argument("--write", action="store_true", help="to docs and README, whatever was run")
    parser.add_argument("--render", action="store_true", help="docs and README anew from docs/benchmarks.json")
    return parser.parse_args()


def _description() -> str:
    alone = ", ".join(step.bench for step in STEPS if step.runs_alone)
    return (__doc__ or "").format(alone=alone)


@contextmanager
def _shared_node() -> Iterator[None]:
    """Start one node for all benches that use the 1 000 indices, because starting it takes long."""
    with running_node() as url:
        os.environ[NODE_URL] = url
        yield


def _run(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Run the benches. Return their results, and the names of those that failed."""
    started_at, started = now_utc().isoformat(timespec="seconds"), time.monotonic()
    benches, failed, around = {}, [], machine()
    steps = [step for step in STEPS if (step.bench in options.only if options.only else not step.runs_alone)]
    with _shared_node() if options.quick else nullcontext():
        for step in steps:
            words = [f"bench.{step.bench}", *(step.quick if options.quick else step.full)]
            passed = as_duration(time.monotonic() - started)
            print(f"\n[{passed}] python -m {' '.join(words)}", file=sys.stderr, flush=True)
            path = folder / f"{step.bench}.json"
            # Otherwise the file of an earlier run could pass for this one's.
            path.unlink(missing_ok=True)
            if _ended_well([*words, "--json", str(path)]) and path.exists():
                benches[step.bench] = slim(json.loads(path.read_text()))
            else:
                failed.append(step.bench)
    results = {
        "quick": options.quick,
        "started_at": started_at,
        "seconds": round(time.monotonic() - started),
        "machine": around,
        "benches": benches,
    }
    return results, failed


def _ended_well(words: Sequence[str]) -> bool:
    """Run a bench to its end. Return whether it succeeded.

    A bench that takes too long gets SIGINT, as does one that runs when this process is interrupted: then it can end
    what it has started.
    """
    with subprocess.Popen([sys.executable, "-m", *words], process_group=0) as process:
        try:
            return process.wait(LONGEST_SECONDS) == 0
        except subprocess.TimeoutExpired:
            print(f"not ended after {as_duration(LONGEST_SECONDS)}", file=sys.stderr)
            _interrupt(process)
            return False
        except KeyboardInterrupt:
            _interrupt(process)
            raise


def _interrupt(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _publish(results: dict[str, Any]) -> None:
    write(results, DOCS)
    write_readme(results)
    print("written: docs/benchmarks.md, .json and images, and the table in README.md", file=sys.stderr)


def _print_end(results: dict[str, Any], failed: Sequence[str]) -> None:
    found = [line for _, line in goals(results)]
    for line in found:
        print(f"{'met' if line['met'] else 'MISSED':<8}{line['metric'].strip()}")
    print(f"\n{sum(bool(line['met']) for line in found)} of {len(found)} goals and claims met", end="")
    too_long = f" (at most {as_duration(LIMIT_SECONDS)} were meant)" if results["seconds"] > LIMIT_SECONDS else ""
    print(f"; took {as_duration(results['seconds'])}{too_long}")
    if failed:
        print(f"FAILED: {', '.join(failed)}")


if __name__ == "__main__":
    sys.exit(main())
