"""How a deployment grows: with its instances, and with the indices of the cluster: `python -m bench.fleet [--instances
N …] [--indices N …] [--only PART …]`.

    instances   1, 4, 16 and 64 instances over one cluster of 1 000 indices: the requests to the cluster and to
                Redis while nothing happens and per change, the time until all instances know a change, the memory, and
                the time until another instance watches after the one that did was killed. The cluster is replayed
                (bench/subjects/replay.py), Redis is real, and each instance is a process with all resources of this
                project except HTTP (bench/subjects/instances.py)
    published   the cost of one changed mapping at Redis, among 1 000, 10 000 and 50 000 indices, by the store alone:
                with nine distinct mappings, and with as many distinct mappings as indices
    indices     a server over 1 000, 10 000 and 50 000 replayed indices: its first pass, a change, memory and pages; and
                a second instance that takes over what the first one publishes

Everything runs on the processors of one machine, including the cluster and Redis. With many instances, the processors
are the limit.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvloop

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

from bench.command import Started, exit_code_of, parser, save
from bench.load.client import percentile
from bench.report.lines import Goal, Line, milliseconds, print_lines
from bench.subjects.cluster import FAMILIES, names, rendered
from bench.subjects.instances import Fleet, running
from bench.subjects.processes import memory_of
from bench.subjects.replay import change, replayed, requests_so_far
from bench.subjects.served import in_force, migrate, served
from cacheapp.state.published import StoredIndex, StoredState
from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores.protocol import Lease
from cacheapp.stores.redis.store import RedisStore, open_redis_store
from dev.servers.process import wait_until
from dev.servers.redis import RedisServer
from dev.servers.service import Server, environment
from esassistant.clock import monotonic

PARTS = ("instances", "published", "indices")
INSTANCES = (1, 4, 16, 64)
INDICES = (1000, 10_000, 50_000)
PER_TIME = sum(family.indices for family in FAMILIES)
CHANGED_FAMILY = next(family for family in FAMILIES if family.name == "sessions")
CHANGES = 25
QUIET_SECONDS = 30.0
"""How long nothing happens. What is asked for every half minute, such as health, is asked for once in this time."""
PAUSE_SECONDS = (0.25, 0.55)
SETTLE_SECONDS = 3.0
"""How long to wait after a start, until the first passes and their publications are over."""
WARM_SECONDS = 150.0
LEARN_SECONDS = 60.0
TAKE_OVER_SECONDS = 60.0
PAGE_REQUESTS = 20
CHANGED_BEFORE = 60
"""How many indices have changed before, between two full passes."""
SPREAD_GOALS = {4: Goal(at_most=100), 16: Goal(at_most=250), 64: Goal(at_most=1000)}
"""The goals for the spread in milliseconds, by the number of instances."""
TAKE_OVER_GOAL = Goal(at_most=15)
"""The goal for the time in seconds until another instance watches. A lease is ten seconds long, and those who stand by
ask every third of that.
"""
FLAT = Goal(at_most=1.2)
QUIET_GOAL = Goal(at_most=16)
"""The goal for calls for mappings per minute while nothing changes, whatever the number of instances."""
PUBLISH_GOAL = Goal(at_most=1000)
"""The goal for publishing one change, and for taking it over, in milliseconds."""
FIRST_PASS_GOALS = {1000: Goal(at_most=2), 10_000: Goal(at_most=15), 50_000: Goal(at_most=60)}
"""The goals for the first pass in seconds, by the number of indices."""
SEEN_GOALS = {1000: Goal(at_most=200), 10_000: Goal(at_most=1000), 50_000: Goal(at_most=5000)}
"""The goals for the time until a change is answered, in milliseconds, by the number of indices."""
PAGE_GOAL = Goal(at_most=50)
"""The goal for a page, in milliseconds."""


@dataclass(frozen=True)
class Spent:
    """What the cluster and Redis were asked for until a moment, or between two moments. Commands of Redis are those
    that it carried out, including the ones inside of scripts.
    """

    seconds: float
    calls: Counter[str]
    commands: float
    bytes: float
    redis_seconds: float

    def since(self, before: "Spent") -> "Spent":
        calls = Counter(self.calls)
        calls.subtract(before.calls)
        return Spent(
            self.seconds - before.seconds,
            calls,
            self.commands - before.commands,
            self.bytes - before.bytes,
            self.redis_seconds - before.redis_seconds,
        )

    @property
    def health_calls(self) -> float:
        return self.calls["health"]

    @property
    def mapping_calls(self) -> float:
        """All calls except those for health."""
        return self.calls.total() - self.calls["health"]


def beyond_quiet(total: float, seconds: float, quiet: float, quiet_seconds: float) -> float:
    """Return how much of `total`, counted in `seconds`, is more than a quiet time of that length costs. At least 0.

    Args:
        quiet: What was counted in `quiet_seconds` in which nothing happened.
    """
    return max(0.0, total - quiet * seconds / quiet_seconds)


def spent(cluster_url: str, redis: RedisServer) -> Spent:
    """Return what the cluster and Redis were asked for until now."""
    commands = redis.command("INFO", "commandstats")
    stats, cpu = redis.command("INFO", "stats"), redis.command("INFO", "cpu")
    return Spent(
        monotonic(),
        requests_so_far(cluster_url),
        sum(one["calls"] for name, one in commands.items() if name != "cmdstat_info"),
        stats["total_net_input_bytes"] + stats["total_net_output_bytes"],
        cpu["used_cpu_user"] + cpu["used_cpu_sys"],
    )


@dataclass
class Grown:
    """What was measured with `instances` instances. `learnt`: the seconds until the first instance had a change;
    `spread`: the seconds from there until the last one had it.
    """

    instances: int
    quiet: Spent
    changing: Spent
    learnt: list[float] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)
    private_bytes: list[float] = field(default_factory=list)
    processor_share: float = 0.0
    watched_after: float | None = None
    seen_after: float | None = None

    def per_minute(self, measure: str) -> float:
        """Return a member of `Spent` per minute, while nothing happened."""
        return float(getattr(self.quiet, measure)) / self.quiet.seconds * 60

    def per_change(self, measure: str) -> float:
        """Return a member of `Spent` per change, less what a quiet time of the same length costs."""
        total, quiet = (float(getattr(one, measure)) for one in (self.changing, self.quiet))
        return beyond_quiet(total, self.changing.seconds, quiet, self.quiet.seconds) / len(self.learnt)


def grow(count: int, quiet_seconds: float, changes: int, *, kills: bool) -> Grown:
    """Start `count` instances, and measure them."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-fleet-")))
        redis = stack.enter_context(RedisServer())
        url = stack.enter_context(replayed(times=1))
        settings = in_force(folder, REDIS_URL=redis.url)
        migrate(url, settings)
        fleet = stack.enter_context(running(count, environment(url, **settings), folder / "instances.log"))
        fleet.wait_until_warm(WARM_SECONDS)
        time.sleep(SETTLE_SECONDS)
        before, used = spent(url, redis), fleet.processor_seconds()
        time.sleep(quiet_seconds)
        quiet = spent(url, redis)
        share = (fleet.processor_seconds() - used) / (quiet.seconds - before.seconds) / count
        grown = Grown(count, quiet.since(before), quiet, processor_share=share)
        for number in range(changes):
            _change(url, fleet, number, grown)
            time.sleep(random.uniform(*PAUSE_SECONDS))
        grown.changing = spent(url, redis).since(quiet)
        grown.private_bytes = [float(one["Private"]) for one in fleet.memory()]
        if kills:
            killed_at = fleet.kill_the_watcher()
            change(url, names(CHANGED_FAMILY)[0], f"fleet_{changes}")
            grown.seen_after = max(fleet.learnt(f"fleet_{changes}", TAKE_OVER_SECONDS)) - killed_at
            grown.watched_after = fleet.watched_since(TAKE_OVER_SECONDS) - killed_at
        return grown


def _change(url: str, fleet: Fleet, number: int, grown: Grown) -> None:
    name, added = names(CHANGED_FAMILY)[number % CHANGED_FAMILY.indices], f"fleet_{number}"
    at = change(url, name, added)
    learnt = fleet.learnt(added, LEARN_SECONDS)
    grown.learnt.append(learnt[0] - at)
    grown.spread.append(learnt[-1] - learnt[0])


def grown_lines(grown: Grown) -> list[Line]:
    """Return the lines of what was measured with one number of instances, while nothing changed and per change."""
    count, quiet, changes = grown.instances, grown.quiet, len(grown.learnt)
    what = f"{count} instance{'' if count == 1 else 's'}"
    seconds = f"in {quiet.seconds:.0f} s"
    kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(quiet.calls.items()) if number)
    lines = [
        Line(
            f"{what}: calls for mappings",
            [grown.per_minute("mapping_calls")],
            "/min",
            round(quiet.mapping_calls),
            QUIET_GOAL,
            kinds,
        ),
        _line("  calls for health", grown.per_minute("health_calls"), "/min", quiet.calls["health"], seconds),
        _line("  Redis: commands", grown.per_minute("commands"), "/min", round(quiet.commands)),
        _line("  Redis: bytes, both ways", grown.per_minute("bytes") / 1e6, "MB/min", 1),
        _line("  Redis: processor", 100 * quiet.redis_seconds / quiet.seconds, "%", 1),
        _line("  processor of an instance", 100 * grown.processor_share, "%", count),
        _line("  per change: calls at the cluster", grown.per_change("mapping_calls"), "", changes),
        _line("  per change: commands at Redis", grown.per_change("commands"), "", changes),
        _line("  per change: bytes at Redis", grown.per_change("bytes") / 1e3, "kB", changes),
        milliseconds("  learnt by the first, p50", [statistics.median(grown.learnt)], changes),
        _line("  memory of an instance of its own", statistics.median(grown.private_bytes) / 1e6, "MB", count),
    ]
    if count > 1:
        spread = f"{count} instances: spread of a change"
        lines += [
            milliseconds(f"{spread}, p50", [statistics.median(grown.spread)], changes),
            milliseconds(f"{spread}, p99", [percentile(grown.spread, 99)], changes, SPREAD_GOALS.get(count)),
        ]
    if grown.watched_after is not None and grown.seen_after is not None:
        killed = f"{count} instances: the watcher is killed"
        lines += [
            Line(f"{killed}, another watches after", [grown.watched_after], "s", 1, TAKE_OVER_GOAL),
            Line("  a change right after it is known to all after", [grown.seen_after], "s", 1),
        ]
    return lines


def growth_lines(grown: Sequence[Grown]) -> list[Line]:
    """Return the lines that compare the fewest instances with the most."""
    if len(grown) < 2:
        return []
    few, many = grown[0], grown[-1]
    shared = next((one for one in grown if one.instances > 1), many)
    per_instance = {
        f"Redis' commands a minute for each of {many.instances} ÷ {shared.instances}": "commands",
        f"Redis' bytes a minute for each of {many.instances} ÷ {shared.instances}": "bytes",
    }
    lines = [
        _ratio(
            f"cluster: calls per change, {many.instances} ÷ {few.instances} instances",
            many.per_change("mapping_calls"),
            few.per_change("mapping_calls"),
        ),
        _ratio(
            f"memory of an instance, {many.instances} ÷ {few.instances}",
            statistics.median(many.private_bytes),
            statistics.median(few.private_bytes),
        ),
    ]
    if many is not shared:
        lines += [
            _ratio(
                metric,
                many.per_minute(measure) / many.instances,
                shared.per_minute(measure) / shared.instances,
            )
            for metric, measure in per_instance.items()
        ]
    return lines


def _line(metric: str, value: float, unit: str, samples: int, note: str = "") -> Line:
    return Line(metric, [value], unit, samples, note=note)


def _ratio(metric: str, over: float, under: float) -> Line:
    return Line(metric, [over / under if under else None], "x", 1, FLAT)


def stored(
    count: int, *, distinct: bool, passed_at: float = 0.0, changed_at: Sequence[float] = (), now: float = 0.0
) -> StoredState:
    """Return the state, at the moment `now`, of `count` indices. The first ones were changed since the pass, each at
    its moment in `changed_at`.
    """
    shared = {mapping_hash(body): body for body in map(rendered, FAMILIES[:7])}
    hashes = list(shared)
    indices: dict[str, StoredIndex] = {}
    bodies: dict[str, bytes] = {}
    for number in range(count):
        place = number % len(hashes)
        hashed, body, age = hashes[place], shared[hashes[place]], None
        is_changed = number < len(changed_at)
        if distinct or is_changed:
            body = b'{"properties":{"%b_%d":{"type":"keyword"}}}' % (b"changed" if is_changed else b"only", number)
            hashed, age = mapping_hash(body), now - changed_at[number] if is_changed else None
        bodies[hashed] = body
        indices[f"{FAMILIES[place].name}-{number:06}"] = StoredIndex(f"uuid-{number:017}", hashed, age, 100)
    return StoredState(now - passed_at, indices, {}, bodies, cluster_uuid="bench")


async def published_lines(sizes: Sequence[int], rounds: int) -> list[Line]:
    """Return the lines about the cost of one change at Redis: publishing it, and taking it over."""
    lines = []
    for distinct in (False, True):
        for count in sizes:
            with RedisServer() as redis:
                async with open_redis_store(redis.url) as ours, open_redis_store(redis.url) as theirs:
                    lease = await ours.lease("refresh", "bench", 600)
                    assert isinstance(lease, Lease)
                    exchange = Exchange(redis, ours, theirs, lease, count, distinct)
                    lines += await exchange.lines(rounds)
    return lines


@dataclass
class Exchange:
    """Two instances with a store between them: one publishes what the other takes over."""

    redis: RedisServer
    ours: RedisStore
    theirs: RedisStore
    lease: Lease
    count: int
    distinct: bool
    passed_at: float = field(default_factory=monotonic)
    changed_at: list[float] = field(default_factory=list)
    known: frozenset[str] = frozenset()

    async def lines(self, rounds: int) -> list[Line]:
        first, _, _ = await self._exchange()
        alone = [await self._change() for _ in range(rounds)]
        self.changed_at += [monotonic() for _ in range(CHANGED_BEFORE)]
        await self._exchange()
        late = [await self._change() for _ in range(rounds)]
        what = f"{self.count:,} indices, {'all distinct' if self.distinct else 'few mappings'}".replace(",", " ", 1)
        moved, moved_late = (statistics.median(each[2] for each in some) / 1e3 for some in (alone, late))
        return [
            milliseconds(f"{what}: first publication", [first]),
            milliseconds(f"{what}: publishing one change", [each[0] for each in alone], goal=PUBLISH_GOAL),
            milliseconds(f"{what}: taking one change over", [each[1] for each in alone], goal=PUBLISH_GOAL),
            _line("  bytes at Redis for one who publishes and one who takes over", moved, "kB", rounds),
            _line(f"  likewise, {CHANGED_BEFORE} others having changed since the last pass", moved_late, "kB", rounds),
        ]

    async def _change(self) -> tuple[float, float, float]:
        self.changed_at.append(monotonic())
        return await self._exchange()

    async def _exchange(self) -> tuple[float, float, float]:
        """Publish and take over once. Return the seconds of each, and the bytes that Redis got and sent."""
        now = monotonic()
        state = stored(
            self.count, distinct=self.distinct, passed_at=self.passed_at, changed_at=self.changed_at, now=now
        )
        counted, began = _bytes_of(self.redis), monotonic()
        await self.ours.publish(state, self.lease)
        published = monotonic()
        loaded = await self.theirs.load(self.known)
        taken = monotonic()
        assert loaded is not None
        self.known = self.known | loaded.state.bodies.keys()
        return published - began, taken - published, _bytes_of(self.redis) - counted


def _bytes_of(redis: RedisServer) -> float:
    stats = redis.command("INFO", "stats")
    return float(stats["total_net_input_bytes"] + stats["total_net_output_bytes"])


def size_lines(count: int, changes: int) -> list[Line]:
    """Return the lines about a server over `count` indices, and an instance beside it."""
    what = f"{count:,} indices".replace(",", " ")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-fleet-")))
        redis = stack.enter_context(RedisServer())
        url = stack.enter_context(replayed(times=count // PER_TIME))
        server = stack.enter_context(served(url, folder, REDIS_URL=redis.url))
        wait_until(lambda: _last_pass(server) is not None, WARM_SECONDS)  # noted after the first answer
        last = _last_pass(server)
        assert last is not None
        settings = in_force(folder, REDIS_URL=redis.url)
        log = folder / "instances.log"
        beside = stack.enter_context(running(1, environment(url, **settings), log))
        beside.wait_until_warm(WARM_SECONDS, watched=False)
        time.sleep(SETTLE_SECONDS)
        seen, spread, moved = [], [], []
        for number in range(changes):
            before = spent(url, redis)
            name, added = names(CHANGED_FAMILY)[number], f"fleet_{number}"
            at = change(url, name, added)
            seen_at = _seen_at(server, name, added)
            [other_at] = beside.learnt(added, LEARN_SECONDS)
            seen.append(seen_at - at)
            spread.append(other_at - seen_at)
            moved.append(spent(url, redis).since(before).bytes)
            time.sleep(random.uniform(*PAUSE_SECONDS))
        lines = [
            Line(f"{what}: first pass", [last["duration_seconds"]], "s", 1, FIRST_PASS_GOALS.get(count)),
            milliseconds("  one change: in the answer", [statistics.median(seen)], changes, SEEN_GOALS.get(count)),
            milliseconds("  one change: known to the other", [statistics.median(spread)], changes),
            _line("  one change: bytes at Redis", statistics.median(moved) / 1e3, "kB", changes),
            _line("  resident memory of the server", memory_of(server.pid)["Rss"] / 1e6, "MB", 1),
        ]
        for path in ("/api/indices", f"/api/mappings/{names(CHANGED_FAMILY)[-1]}/fields", "/api/fields"):
            first, others = _pages(server, path)
            shown = path.replace(names(CHANGED_FAMILY)[-1], "…")
            lines.append(
                milliseconds(f"  {shown}, p50", [others], PAGE_REQUESTS, PAGE_GOAL, f"first {first * 1e3:.1f} ms")
            )
        return lines


def _last_pass(server: Server) -> dict[str, Any] | None:
    last: dict[str, Any] | None = server.get("/api/cache/stats").json()["refresh"]["last"]
    return last


def _seen_at(server: Server, name: str, added: str) -> float:
    """Return when the server answered with the field, on the monotonic clock. Raise `RuntimeError` if it doesn't within
    `LEARN_SECONDS`.
    """
    headers: dict[str, str] = {}
    until = monotonic() + LEARN_SECONDS
    while monotonic() < until:
        answer = server.get(f"/api/mappings/{name}", headers=headers)
        if answer.status_code == httpx.codes.OK:
            if added in answer.text:
                return monotonic()
            headers = {"If-None-Match": answer.headers["ETag"]}
        time.sleep(0.003)
    raise RuntimeError(f"{added} was not seen within {LEARN_SECONDS:g} s")


def _pages(server: Server, path: str) -> tuple[float, float]:
    """Return the seconds of the first request of a page, and the median of the others."""
    seconds = []
    for _ in range(PAGE_REQUESTS + 1):
        began = monotonic()
        server.get(path).raise_for_status()
        seconds.append(monotonic() - began)
    return seconds[0], statistics.median(seconds[1:])


def main() -> int:
    arguments = parser("fleet", __doc__)
    arguments.add_argument("--instances", nargs="+", type=int, default=list(INSTANCES), help="default: %(default)s")
    arguments.add_argument("--indices", nargs="+", type=int, default=list(INDICES), help="default: %(default)s")
    arguments.add_argument("--changes", type=int, default=CHANGES, help="default: %(default)s")
    arguments.add_argument("--quiet-seconds", type=float, default=QUIET_SECONDS, help="default: %(default)g")
    arguments.add_argument("--no-kill", action="store_true", help="leave out the watcher's death")
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="default: all parts")
    options = arguments.parse_args()
    return exit_code_of(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    started = Started()
    lines: list[Line] = []
    if "instances" in options.only:
        grown = []
        for count in sorted(options.instances):
            print(f"{count} instances", file=sys.stderr, flush=True)
            grown.append(grow(count, options.quiet_seconds, options.changes, kills=count > 1 and not options.no_kill))
        lines += [line for one in grown for line in grown_lines(one)] + growth_lines(grown)
    if "published" in options.only:
        lines += uvloop.run(published_lines(options.indices, max(2, options.changes // 5)))
    if "indices" in options.only:
        for count in options.indices:
            print(f"{count} indices", file=sys.stderr, flush=True)
            lines += size_lines(count, max(2, options.changes // 5))
    print_lines(lines)
    save(options.json, **started.facts(), lines=lines)


if __name__ == "__main__":
    sys.exit(main())
