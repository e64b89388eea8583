"""One soak: starts what it needs, runs the load, the writer and the faults, and judges the result."""

import random
import signal
import sys
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from bench.soak.access import write_tokens
from bench.soak.checks import Checks, Promise, settled
from bench.soak.faults import Faults, nodes_of
from bench.soak.followers import WISHES, Follower, last_id, missing_or_twice, recorded, untrue_ends
from bench.soak.instances import Instance
from bench.soak.load import User
from bench.soak.plan import kinds_for, pace_for, plan
from bench.soak.report import Options, Result
from bench.soak.resources import MEASURES, Sample, Sampler, over_limits, trend
from bench.soak.tally import Tally
from bench.soak.truth import Truth
from bench.soak.writer import BOTH, CHANGING, LARGE, STEADY, Writer
from bench.subjects.served import migrate
from dev.elasticsearch.cluster import Cluster
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.faults.tcp_proxy import TcpProxy
from dev.servers.redis import RedisServer
from dev.servers.service import environment

VALUES_FAMILY = "all-steady"
VALUE_CALLS_PER_MINUTE = 6
VALUE_CALL = "max_concurrent_shard_requests"
"""A parameter in the address of calls for field values, and of no other calls."""
MAX_BYTES = 1_000_000
"""The lowest value that MAPPING_CACHE_MAX_BYTES may have. The large mappings alone have half as much again."""
MOST_INDICES = len(STEADY) + len(LARGE) + len(CHANGING) + len(BOTH)
ENOUGH_SECONDS = 120.0
"""A run of at least this length has the usual settings. In a shorter one, all intervals are shorter."""
CALM_SECONDS = 2.0
"""How long after a fault a sample counts as quiet; less in a short run."""
SETTLE_SECONDS = 60.0
THREADS_END_SECONDS = 150.0
DOCUMENTED_MINUTES = 10.0
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "soak.md"


def settings_for(seconds: float) -> tuple[Promise, dict[str, Any]]:
    """Return the settings that the checks need, and the settings of the instances. Their intervals are short, so that
    much happens in the time.
    """
    if seconds >= ENOUGH_SECONDS:
        promise = Promise(ttl=12.0, max_stale=60.0, negative_ttl=2.0, fetch_timeout=3.0)
        interval, health, timeout, least = 8.0, 5.0, 2.0, 5.0
    else:
        promise = Promise(ttl=4.0, max_stale=30.0, negative_ttl=0.5, fetch_timeout=2.0)
        interval, health, timeout, least = 3.0, 2.0, 1.5, 1.0
    return promise, {
        "ESASSISTANT_DETAILS": "authorized",
        "ESASSISTANT_FIELD_VALUES": VALUES_FAMILY,
        "ESASSISTANT_VALUE_CALLS_PER_MINUTE": VALUE_CALLS_PER_MINUTE,
        "MAPPING_CACHE_WATCH": "true",
        "MAPPING_CACHE_TTL": promise.ttl,
        "MAPPING_CACHE_MAX_STALE": promise.max_stale,
        "MAPPING_CACHE_NEGATIVE_TTL": promise.negative_ttl,
        "MAPPING_CACHE_FETCH_TIMEOUT": promise.fetch_timeout,
        "MAPPING_CACHE_REFRESH_INTERVAL": interval,
        "MAPPING_CACHE_MAX_BYTES": MAX_BYTES,
        "ELASTICSEARCH_REQUEST_TIMEOUT": promise.fetch_timeout,
        "ELASTICSEARCH_CONNECT_TIMEOUT": promise.fetch_timeout / 2,
        "ELASTICSEARCH_INDICES_TIMEOUT": promise.fetch_timeout,
        "HEALTH_CACHE_TTL": health,
        "HEALTH_TIMEOUT": timeout,
        "MIN_REFRESH_INTERVAL": least,
    }


class Soak:
    """One run, on a node or a cluster of several nodes, which should have no other indices. `folder` gets a database
    and the logs.
    """

    def __init__(self, options: Options, cluster: Node | Cluster, folder: Path) -> None:
        self._options = options
        self._cluster = cluster
        self._nodes = nodes_of(cluster)
        self._folder = folder
        kinds = kinds_for(instances=options.instances, nodes=len(self._nodes))
        self._pace = pace_for(options.seconds, len(kinds))
        self.plan = plan(options.seed, options.seconds, self._pace, instances=options.instances, nodes=len(self._nodes))
        self.tally = Tally()
        self._truth = Truth(time.monotonic)
        self._writer = Writer(self._nodes[0].url, self._truth, options.seed, copies=len(self._nodes) - 1)
        self._stopping = threading.Event()
        self._lives: dict[tuple[int, int], list[Sample]] = defaultdict(list)

    def run(self) -> Result:
        options = self._options
        promise, settings = settings_for(options.seconds)
        with ExitStack() as stack:
            redis = stack.enter_context(RedisServer())
            redis_proxy = stack.enter_context(TcpProxy("127.0.0.1", redis.port))
            proxies = [stack.enter_context(FaultProxy(node.url, seed=options.seed)) for node in self._nodes]
            urls = ",".join(proxy.url for proxy in proxies)
            settings["REDIS_URL"] = f"redis://127.0.0.1:{redis_proxy.port}/0"
            settings["DATABASE_URL"] = f"sqlite:///{self._folder / 'soak.sqlite3'}"
            settings["ESASSISTANT_TOKENS_FILE"] = write_tokens(self._folder)
            migrate(urls, settings)
            self._writer.prepare()
            started_with = environment(urls, **settings)
            instances = [
                stack.enter_context(closing(Instance(number, started_with, self._folder)))
                for number in range(options.instances)
            ]
            for instance in instances:
                instance.spawn()
            for instance in instances:
                instance.wait_for_answer()
            faults = Faults(self._cluster, proxies, redis, redis_proxy, instances)
            began_at, since = time.monotonic(), last_id(instances[0])
            followers = [
                Follower(wish, instances, self.tally, since, random.Random(f"{options.seed}/{wish.pattern}"))
                for wish in WISHES
            ]
            self._under_load(instances, faults, promise, followers)
            value_calls = sum(proxy.count(path=VALUE_CALL) for proxy in proxies)
            if value_calls > (most := VALUE_CALLS_PER_MINUTE * ((time.monotonic() - began_at) / 60 + 1)):
                self.tally.violated("calls for field values", f"{value_calls}, of at most {most:.0f}")
            say("settling")
            settled_seconds, differing = settled(instances, self._truth, SETTLE_SECONDS)
            for each in differing:
                self.tally.violated("not settled", each)
            self._judge_feed(followers, instances[0])
            for instance in instances:
                if (code := instance.stop()) not in (0, -signal.SIGTERM):
                    self.tally.violated("exit code", f"{instance}: {code}")
            return self._result(instances, faults, settled_seconds)

    def _judge_feed(self, followers: Sequence[Follower], instance: Instance) -> None:
        """Compare what followers got with what the history has, and the end of the history with the truth."""
        until = last_id(instance)
        for follower in followers:
            follower.catch_up(until)
            wrong = missing_or_twice(follower.changes, recorded(instance, follower.wish, follower.since))
            self.tally.compared("feed", "whole", follower.wish.pattern, wrong)
            for change in follower.changes:
                self.tally.compared("feed", change["kind"], follower.wish.pattern, None)
            for each in untrue_ends(follower.changes, (*CHANGING, *BOTH), self._truth):
                self.tally.violated("the feed's end", each)

    def _under_load(
        self, instances: Sequence[Instance], faults: Faults, promise: Promise, followers: Sequence[Follower]
    ) -> None:
        options = self._options
        checks = Checks(self._truth, promise, self.tally, is_disturbed=faults.is_disturbed)
        users = [
            User(number, options.seed, instances, checks, self.tally, options.pause_seconds)
            for number in range(options.users)
        ]
        works: list[Callable[[threading.Event], None]] = [
            self._writer.run,
            lambda stopping: self._sample(instances, faults, stopping),
            *(user.run for user in users),
            *(follower.run for follower in followers),
        ]
        threads = [threading.Thread(target=self._guarded, args=(work,), daemon=True) for work in works]
        began_at = time.monotonic()
        try:
            for thread in threads:
                thread.start()
            faults.carry_out(self.plan, self._pace, self._stopping, lambda fault: say(f"{fault}"))
            self._stopping.wait(max(self._pace.calm, began_at + options.seconds - time.monotonic()))
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join(THREADS_END_SECONDS)

    def _guarded(self, work: Callable[[threading.Event], None]) -> None:
        """Run `work` in a thread. If it fails, the soak fails and ends."""
        try:
            work(self._stopping)
        except Exception:  # noqa: BLE001
            self.tally.violated("the soak itself failed", traceback.format_exc())
            self._stopping.set()

    def _sample(self, instances: Sequence[Instance], faults: Faults, stopping: threading.Event) -> None:
        samplers = [Sampler(instance) for instance in instances]
        every = min(2.0, self._options.seconds / 60)
        calm = min(CALM_SECONDS, every)
        while not stopping.wait(every):
            for sampler in samplers:
                instance = sampler.instance
                life = (instance.number, instance.starts_total)
                sample = sampler.sample(is_quiet=faults.is_quiet(calm))
                if sample is not None:
                    self._lives[life].append(sample)
                    for each in over_limits(sample, max_bytes=MAX_BYTES, most_indices=MOST_INDICES):
                        self.tally.violated("limits", f"{instance}: {each}")
                elif instance.has_ended:
                    raise RuntimeError(f"{instance} ended by itself")
        for sampler in samplers:
            sampler.close()

    def _result(self, instances: Sequence[Instance], faults: Faults, settled_seconds: float) -> Result:
        shortest = min(60.0, self._options.seconds / 5)
        trends = {
            life: tuple(trend(samples, flat, shortest) for flat in MEASURES) for life, samples in self._lives.items()
        }
        for (number, start), some in trends.items():
            for one in some:
                if not one.is_flat:
                    self.tally.violated("not flat", f"instance {number}, start {start}: {one}")
        if not any(samples[-1].evictions for samples in self._lives.values()):
            self.tally.violated("the soak itself failed", "nothing was evicted: the bounds of the cache were not tried")
        levels: defaultdict[str, int] = defaultdict(int)
        for instance in instances:
            for line in instance.bad_lines():
                self.tally.violated("logged", f"{instance}: {line}")
            for level, count in instance.levels().items():
                levels[level] += count
        return Result(
            options=self._options,
            plan=self.plan,
            happened=faults.happened,
            changes=self._writer.changes,
            tally=self.tally,
            lives=self._lives,
            trends=trends,
            settled_seconds=settled_seconds,
            log_levels=levels,
        )


def say(text: str) -> None:
    """Print to stderr at once."""
    print(text, file=sys.stderr, flush=True)
