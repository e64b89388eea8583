"""The costs of what is derived from mappings: `python -m bench.views [--rounds N] [--seconds S] [--only PART …]`.

derivations   how often mappings are parsed: 1 000 names of nine mappings, twice; 64 names and 65; a rollover
held          how long the event loop is blocked while a mapping of 20 000 fields is listed, searched, or written as a
              schema
day           a replayed day of requests and changes: how many requests have to wait after a change
throughput    requests a second on 16 connections, compared with a bare ASGI function that sends the same bytes; bytes
              on the wire and processor time, with gzip and without
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import httpx

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

from bench.command import Started, exit_code_of, parser, save
from bench.load.client import Load, doubts, requests, run
from bench.report.lines import Goal, Line, milliseconds, print_lines, ratio
from bench.subjects.cluster import FAMILIES, Family, names, rendered
from bench.subjects.day import Day
from bench.subjects.http_servers import serving
from bench.subjects.names_in_memory import Names, families
from bench.subjects.replay import replayed
from bench.subjects.saved_answers import save_answer
from bench.subjects.served import served
from cacheapp.cache.derived import FIELD_LIST, SCHEMA_TEXT
from cacheapp.state.field_pages import FieldFilter
from dev.faults.flood import processor_seconds
from dev.servers.service import Server

PARTS = ("derivations", "held", "day", "throughput")
CONNECTIONS = 16
BEAT_SECONDS = 0.001
LARGE = Family("large", 1, 16_500)
"""A mapping of about 20 000 fields, multi-fields included."""
DAY_REQUESTS = 10_000
SEED = 1
GZIP = {"Accept-Encoding": "gzip"}
PLAIN_MARK, GZIP_MARK = "", "/gzip"
"""The beginning of an address of the bare server, for plain and for compressed answers."""
SETTLE_SECONDS = 0.05
WAITS = Goal(at_most=0.5)
HELD = Goal(at_most=20)
HOT = Goal(at_least=0.6)


@dataclass(frozen=True)
class Case:
    """A request that is sent to both servers: its path, and whether gzip is accepted. `goal`: None if it has none."""

    name: str
    path: str
    gzip: bool = False
    goal: Goal | None = HOT

    @property
    def headers(self) -> dict[str, str]:
        return GZIP if self.gzip else {}

    @property
    def bare_path(self) -> str:
        return (GZIP_MARK if self.gzip else PLAIN_MARK) + self.path


ASKED = names(FAMILIES[0])[0]
ALIAS = f"all-{FAMILIES[3].name}"
CASES = (
    Case("fields", f"/api/mappings/{ASKED}/fields"),
    Case("fields, gzip", f"/api/mappings/{ASKED}/fields", gzip=True, goal=None),
    Case("schema", f"/api/mappings/{ASKED}/schema", goal=None),
    Case("names, first page", "/api/indices"),
    Case("names, first page, gzip", "/api/indices", gzip=True, goal=None),
    Case("mapping", f"/api/mappings/{ASKED}"),
    Case("mapping, gzip", f"/api/mappings/{ASKED}", gzip=True, goal=None),
)
WIRE = (f"/api/mappings/{ASKED}", f"/api/mappings/{ASKED}/fields", f"/api/mappings/{ALIAS}", "/api/indices")
GROUPED = f"/api/mappings/{ALIAS}?group=mapping"


async def derivation_lines() -> list[Line]:
    """Measure how often mappings are parsed, by the counters of the views."""
    known = families()
    await known.read()
    asked = list(known.bodies)
    lines = []
    for number, most in ((1, len(FAMILIES)), (2, 0)):
        derived = await _derived(known, asked)
        lines.append(Line(f"derivations of round {number}", [derived], "", len(asked), Goal(at_most=most)))
    members = known.aliases["all-weblogs"]
    known.aliases["all-weblogs"] = (*members, "weblogs-next")
    await known.read({"weblogs-next": known.bodies[members[-1]]})
    derived = await _derived(known, ["weblogs-next", "all-weblogs"])
    lines.append(Line("derivations after a rollover", [derived], "", 2, Goal(at_most=1)))
    for count in (64, 65):
        some = families()
        await some.read()
        asked = list(some.bodies)[:: len(some.bodies) // count][:count]
        await _written(some, asked)
        written = await _written(some, asked)
        lines.append(Line(f"schemas made again for {count} names", [written], "", count, Goal(at_most=0)))
    return lines


async def _derived(known: Names, asked: list[str]) -> int:
    before = known.views.report().derived_total
    for name in asked:
        await known.views.text(FIELD_LIST, name)
    return known.views.report().derived_total - before


async def _written(known: Names, asked: list[str]) -> int:
    before = known.views.report().written_total
    for name in asked:
        await known.views.text(SCHEMA_TEXT, name)
    return known.views.report().written_total - before


async def held_lines(rounds: int) -> list[Line]:
    """Measure how long the event loop is blocked: a task sleeps for a millisecond again and again, and has to wait for
    its turn while something is done. The longest wait counts, in processor time of this process, so that other
    processes on the machine don't count.
    """
    held: dict[str, list[float]] = {}
    for number in range(rounds):
        known = Names({"large": rendered(LARGE)})
        await known.read()
        views = known.views
        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "first ?q=": lambda views=views: views.find_fields(
                "large", FieldFilter("attribute_01"), limit=None, cursor=None
            ),  # type: ignore[misc]
            "next ?q=": lambda views=views: views.find_fields(
                "large", FieldFilter("attribute_02"), limit=None, cursor=None
            ),  # type: ignore[misc]
            "list": lambda views=views: views.text(FIELD_LIST, "large"),  # type: ignore[misc]
            "schema": lambda views=views: views.text(SCHEMA_TEXT, "large"),  # type: ignore[misc]
        }
        for name, step in steps.items():
            held.setdefault(name, []).append(await _longest_hold(step))
        print(f"held: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return [milliseconds(f"loop held, 20 000 fields: {name}", found, goal=HELD) for name, found in held.items()]


async def _longest_hold(step: Callable[[], Awaitable[object]]) -> float:
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            began = process_time()
            await asyncio.sleep(BEAT_SECONDS)
            longest = max(longest, process_time() - began)

    beating = asyncio.create_task(beat())
    await asyncio.sleep(SETTLE_SECONDS)
    longest = 0.0
    await step()
    await asyncio.sleep(SETTLE_SECONDS)
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    return longest


async def day_lines(count: int) -> list[Line]:
    """Measure the waits of a replayed day."""
    found = await Day(count, SEED).replay()
    waits = found.after_changes / found.requests * 100
    share = found.rebuilt_seconds / 86_400 * 100
    first = f"{found.first} more asked for what nobody had asked for before"
    return [
        Line("waits after changes, in a day", [waits], "%", found.requests, WAITS, f"{found.changes} changes; {first}"),
        Line("rebuilding ahead, of a processor", [share], "%", found.changes, Goal(at_most=2)),
    ]


def throughput_lines(rounds: int, seconds: float) -> list[Line]:
    measured: dict[str, list[Load]] = {}
    micros: dict[str, list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-views-")))
        server = stack.enter_context(served(stack.enter_context(replayed()), folder))
        for case in CASES:
            body, headers = _raw(server, case.path, case.headers)
            save_answer(folder, case.bare_path, body, headers)
        bare_url = stack.enter_context(serving("bare", folder))
        for number in range(rounds):
            print(f"throughput: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            for case in random.sample(CASES, len(CASES)):
                before = processor_seconds(server.pid)[0]
                load = run(server.url, case.path, CONNECTIONS, seconds, case.headers)
                used = processor_seconds(server.pid)[0] - before
                measured.setdefault(case.name, []).append(load)
                micros.setdefault(case.name, []).append(used / load.requests * 1e6)
                beside = run(bare_url, case.bare_path, CONNECTIONS, seconds, case.headers)
                measured.setdefault(f"bare: {case.name}", []).append(beside)
        lines = _wire_lines(server)
    for case in CASES:
        ours, bare = measured[case.name], measured[f"bare: {case.name}"]
        for name, loads in {case.name: ours, f"bare: {case.name}": bare}.items():
            lines.append(Line(name, [load.per_second for load in loads], "/s", requests(loads), note=doubts(loads)))
        rates, bare_rates = ([load.per_second for load in loads] for loads in (ours, bare))
        lines.append(ratio(f"{case.name} ÷ bare", rates, bare_rates, requests(ours, bare), case.goal))
        lines.append(Line(f"  {case.name}: processor time", micros[case.name], "µs", requests(ours)))
    return lines


def _wire_lines(server: Server) -> list[Line]:
    """Measure how many bytes are sent."""
    lines = []
    for path in WIRE:
        plain, small = (len(_raw(server, path, headers)[0]) for headers in ({}, GZIP))
        what = (
            path.removeprefix("/api/").replace(ASKED, "one").replace(ALIAS, f"{FAMILIES[3].indices * 10} in an alias")
        )
        lines.append(Line(f"bytes of {what}", [plain], "B", 1))
        lines.append(Line("  gzip", [small], "B", 1, note=f"{plain / small:.1f} times less"))
    for name, headers in (("bytes of that alias, each mapping once", {}), ("  gzip", GZIP)):
        lines.append(Line(name, [len(_raw(server, GROUPED, headers)[0])], "B", 1))
    return lines


def _raw(server: Server, path: str, headers: dict[str, str]) -> tuple[bytes, httpx.Headers]:
    """Return the body as it is sent, and the headers, once the answer comes from memory."""
    accepted = {"Accept-Encoding": "identity", **headers}
    for _ in range(3):
        with httpx.stream("GET", f"{server.url}{path}", headers=accepted, timeout=30) as response:
            response.raise_for_status()
            body = b"".join(response.iter_raw())
    return body, response.headers


def main() -> int:
    arguments = parser("views", __doc__)
    arguments.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    arguments.add_argument("--seconds", type=float, default=1.5, help="of each measurement (default: %(default)g)")
    arguments.add_argument("--requests", type=int, default=DAY_REQUESTS, help="of the day (default: %(default)s)")
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="default: all parts")
    options = arguments.parse_args()
    return exit_code_of(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    import django

    django.setup()
    started = Started()
    lines: list[Line] = []
    if "derivations" in options.only:
        lines += asyncio.run(derivation_lines())
    if "held" in options.only:
        lines += asyncio.run(held_lines(options.rounds))
    if "day" in options.only:
        lines += asyncio.run(day_lines(options.requests))
    if "throughput" in options.only:
        lines += throughput_lines(options.rounds, options.seconds)
    print_lines(lines)
    save(options.json, **started.facts(), connections=CONNECTIONS, lines=lines)


if __name__ == "__main__":
    sys.exit(main())
