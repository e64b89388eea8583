"""How soon every instance answers with a changed mapping: `python -m bench.coherence [--changes N] [--stores redis]`.

Four servers run over a real node with 1 000 indices, started as an operator starts them; one of them watches. They
share first a Redis, then an SQLite file. An index gets a field, and each server's API is asked for that mapping again
and again, until it answers with the field.

    learnt   the time from Elasticsearch's acknowledgement until the first instance, the one that watches, answers with
             the field. If it answers before the acknowledgement, the time is 0
    spread   the time from there until the last instance does: the cost of the store between them. The goals are about
             this
    all      the time from the acknowledgement until the last instance does

The end of a time is the arrival of the first answer with the field. The request before it was sent earlier, by the time
that the row `asked every` shows; so a measured time is too long by at most that. A missed goal is printed as missed;
the exit code is 0 all the same.
"""

import asyncio
import os
import random
import statistics
import sys
from dataclasses import dataclass, field

import aiohttp
import uvloop
from elasticsearch import AsyncElasticsearch

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

from bench.command import Started, parser, save
from bench.report.lines import Goal, Line, milliseconds, print_lines
from bench.subjects.cluster import FAMILIES, names, running_node
from bench.subjects.served import sharing
from esassistant.clock import monotonic

INSTANCES = 4
CHANGES = 300
PAUSE_SECONDS = 0.015
"""The pause between two requests of an instance. With a shorter one, the requests alone keep two processors busy."""
WARM_UP_CHANGES = 5
LONGEST_SECONDS = 15.0
CHANGED_FAMILY = next(family for family in FAMILIES if family.name == "sessions")
GOALS = {"redis": 100.0, "sqlite": 2000.0}
"""The goals for the p99 of the spread, in milliseconds."""
FEWER = {"redis": 1, "sqlite": 5}
"""Store → what the number of changes is divided by: over SQLite a change takes so much longer that fewer are made."""


@dataclass
class Measured:
    """The measured seconds, by the rows that the module's docstring explains; `everywhere` is the row `all`. There is
    one number per change, except in `asked_every`, which has one per answer.
    """

    learnt: list[float] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)
    everywhere: list[float] = field(default_factory=list)
    asked_every: list[float] = field(default_factory=list)


class Bench:
    """Changes mappings and asks the instances for them."""

    def __init__(self, client: AsyncElasticsearch, http: aiohttp.ClientSession, urls: list[str], store: str) -> None:
        self._store = store
        self._client = client
        self._http = http
        self._urls = urls
        self._changes_total = 0
        self.measured = Measured()

    async def change(self) -> None:
        """Make one change, and wait until every instance answers with it."""
        self._changes_total += 1
        name = names(CHANGED_FAMILY)[self._changes_total % CHANGED_FAMILY.indices]
        new_field = f"bench_{self._store}_{self._changes_total}"
        async with asyncio.timeout(LONGEST_SECONDS), asyncio.TaskGroup() as group:
            asking = [group.create_task(self._answered(url, name, new_field.encode())) for url in self._urls]
            # Every instance is asked at least once before anything changes.
            await asyncio.sleep(0.05)
            await self._client.indices.put_mapping(index=name, properties={new_field: {"type": "keyword"}})
            acknowledged = monotonic()
        times = [task.result() for task in asking]
        self.measured.learnt.append(max(0.0, min(times) - acknowledged))
        self.measured.spread.append(max(times) - min(times))
        self.measured.everywhere.append(max(0.0, max(times) - acknowledged))

    async def _answered(self, url: str, name: str, expected: bytes) -> float:
        """Return when an instance answered with the field, on the monotonic clock."""
        headers: dict[str, str] = {}
        asked_at: float | None = None
        while True:
            before, asked_at = asked_at, monotonic()
            if before is not None:
                self.measured.asked_every.append(asked_at - before)
            async with self._http.get(f"{url}/api/mappings/{name}", headers=headers) as response:
                body = await response.read()
                if response.status == 200:
                    if b'"%b"' % expected in body:
                        return monotonic()
                    headers = {"If-None-Match": response.headers["ETag"]}  # 304 while nothing changes
            await asyncio.sleep(PAUSE_SECONDS)


async def _measure(url: str, urls: list[str], store: str, changes: int) -> Measured:
    async with AsyncElasticsearch(url) as client, aiohttp.ClientSession() as http:
        bench = Bench(client, http, urls, store)
        for number in range(WARM_UP_CHANGES + changes):
            if number == WARM_UP_CHANGES:
                bench.measured = Measured()
            await bench.change()
            if number % 50 == 0:
                print(f"{number} of {changes}", file=sys.stderr, flush=True)
            # A random pause, because instances that ask once a second are not always at the same point of that second.
            await asyncio.sleep(random.uniform(0.1, 0.7))
    return bench.measured


def _lines(store: str, found: Measured) -> list[Line]:
    lines = []
    for metric, values in (("learnt", found.learnt), ("spread", found.spread), ("all", found.everywhere)):
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        for percentile in (50, 95, 99):
            goal = Goal(at_most=GOALS[store]) if (metric, percentile) == ("spread", 99) else None
            lines.append(milliseconds(f"{store}: {metric}, p{percentile}", [cuts[percentile - 1]], len(values), goal))
        lines.append(milliseconds(f"{store}: {metric}, longest", [max(values)], len(values)))
    asked = found.asked_every
    lines.append(milliseconds(f"{store}: asked every, p50", [statistics.median(asked)], len(asked)))
    return lines


def main() -> int:
    arguments = parser("coherence", __doc__)
    arguments.add_argument("--changes", type=int, default=CHANGES, help="over Redis; default: %(default)s")
    arguments.add_argument("--stores", nargs="+", choices=GOALS, default=list(GOALS), help="default: all")
    options = arguments.parse_args()
    started = Started()
    lines = [Line("load of the machine before", [os.getloadavg()[0]], "", 1)]
    with running_node() as url:
        for store in options.stores:
            changes = max(2, options.changes // FEWER[store])
            with sharing(url, store, INSTANCES) as instances:
                urls = [one.url for one in instances]
                lines += _lines(store, uvloop.run(_measure(url, urls, store, changes)))
    print_lines(lines)
    save(options.json, **started.facts(), instances=INSTANCES, lines=lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
