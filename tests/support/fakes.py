"""Stand-ins for what the apps depend on: a clock that the test moves, a cluster and a store in memory, and a sleep that
takes no time.
"""

import asyncio
import json
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.cluster.loader import GATHER_SECONDS
from cacheapp.cluster.reader import ClusterReader, Sent, uncounted
from cacheapp.errors import MappingNotFound
from cacheapp.reports import PassOutcome, RefreshReport
from cacheapp.state.published import Loaded, StoredState
from cacheapp.state.readings import Listing
from cacheapp.stores.protocol import Lease, StoredReport
from cacheapp.sync.pass_runner import PassRunner
from cacheapp.sync.refresher import LEASE_TTL_SECONDS, Refresher
from cacheapp.sync.schedule import Schedule
from cacheapp.sync.sharing import Sharing
from esassistant.clock import Clock, Sleep, monotonic
from esassistant.config.model import MappingCacheConfig
from esassistant.errors import ClusterUnavailable, StaleToken, StoreUnavailable
from esassistant.shared_values import MemoryValues, Values

T = TypeVar("T")

A_MAPPING = b'{"properties":{"a":{"type":"keyword"}}}'
B_MAPPING = b'{"properties":{"b":{"type":"long"}}}'
C_MAPPING = b'{"properties":{"c":{"type":"date"}}}'


class FakeClock:
    """A monotonic clock that stands still until the test advances it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def minute_now() -> int:
    """The number of the present minute on the real monotonic clock."""
    return int(monotonic() // 60)


def cache_config(**changes: Any) -> MappingCacheConfig:
    """Return a configuration whose times differ enough to be told apart."""
    config = MappingCacheConfig(
        ttl=10.0,
        max_stale=50.0,
        negative_ttl=0.0,
        max_bytes=1_000_000,
        batch_size=2,
        fetch_timeout=5.0,
        indices_timeout=5.0,
        min_refresh_interval=60.0,
        refresh_interval=240.0,
        watch=False,
        adaptive=False,
        include=("*",),
        exclude=(),
    )
    return replace(config, **changes)


def spawn(function: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
    """Start a task, as the registry's `flight` does, without a registry."""
    return asyncio.create_task(function())


async def settle() -> None:
    """Let every task go on that can, including misses that wait for others."""
    for _ in range(20):
        await asyncio.sleep(0)
    await asyncio.sleep(2 * GATHER_SECONDS)
    for _ in range(20):
        await asyncio.sleep(0)


class FakeReader(ClusterReader):
    """A cluster in memory, as the reader shows it. While `gate` is cleared, reads wait. `failure` is raised by every
    call.
    """

    illegal_names_total = 0

    def __init__(self, indices: Mapping[str, bytes] | None = None) -> None:
        self.indices: dict[str, bytes] = dict(indices or {})
        self.cluster_aliases: dict[str, tuple[str, ...]] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.broken: dict[str, Exception] = {}
        self.denied: set[str] = set()
        """Names that are listed, but that a read of that name alone doesn't find."""
        self.nodes_total: int | None = 1
        self.asked: list[str | tuple[str, ...]] = []
        self.in_flight = 0
        self.max_in_flight = 0
        self.requests_total = 0
        self.uuid = "cluster"

    async def cluster_uuid(self, sent: Sent = uncounted) -> str:
        sent()
        if self.failure is not None:
            raise self.failure
        return self.uuid

    async def _arrive(self, sent: Sent = uncounted) -> None:
        sent()
        self.requests_total += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            await self.gate.wait()
        finally:
            self.in_flight -= 1
        if self.failure is not None:
            raise self.failure

    async def mapping(self, name: str) -> dict[str, bytes]:
        self.asked.append(name)
        await self._arrive()
        members = (name,) if name in self.indices else self.cluster_aliases.get(name)
        if members is None or name in self.denied:
            raise MappingNotFound(f"There is no {name}.")
        return {member: self.indices[member] for member in members}

    async def mappings(self, names: Sequence[str], sent: Sent = uncounted) -> dict[str, bytes]:
        self.asked.append(tuple(names))
        await self._arrive(sent)
        for name in names:
            if name in self.broken:
                raise self.broken[name]
        return {name: self.indices[name] for name in names if name in self.indices.keys() - self.denied}

    async def listing(self, cluster_uuid: str | None = None, sent: Sent = uncounted) -> Listing:
        await self._arrive(sent)
        uuids = {name: f"uuid-{name}" for name in self.indices}
        counts = {name: body.count(b'"type"') for name, body in self.indices.items()}
        return Listing(
            cluster_uuid or self.uuid,
            uuids,
            dict(self.cluster_aliases),
            frozenset(),
            counts,
            nodes_total=self.nodes_total,
        )


def mappings_of(cache: MappingCache, indices: Iterable[str]) -> dict[str, bytes]:
    """Return the mapping of each of `indices`, which must be known and in memory."""
    snapshot = cache.snapshot
    return {index: snapshot.bodies[snapshot.indices[index].mapping_hash] for index in indices}


def index_not_found(name: str) -> str:
    """Return the body by which Elasticsearch says that it has no index, alias or data stream of that name."""
    cause = {"type": "index_not_found_exception", "reason": f"no such index [{name}]", "resource.id": name}
    return json.dumps({"error": {"root_cause": [cause], **cause}, "status": 404})


def denied(what: str, privileges: str) -> str:
    """Return the body of a 403 by which Elasticsearch's security denies a call. `what`: the object, such as "on indices
    [a]"; `privileges`: those that would be enough, such as "index privileges [read,all]".
    """
    reason = (
        f"action [x:y] is unauthorized for user [sensitive] with effective roles [sensitive] {what}, this action is "
        f"granted by the {privileges}"
    )
    cause = {"type": "security_exception", "reason": reason}
    return json.dumps({"error": {"root_cause": [cause], **cause}, "status": 403})


def no_answer() -> ClusterUnavailable:
    return ClusterUnavailable("Elasticsearch could not be reached.", retry_after_seconds=5)


class MemoryStore:
    """`cacheapp.stores.protocol.Store` in memory. While `down`, every call raises `StoreUnavailable`."""

    def __init__(self, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        self.clock = clock
        self.sleep = sleep
        self.down = False
        self.published: tuple[int, float, StoredState] | None = None
        self.leases: dict[str, tuple[int, str, float]] = {}
        self.attempts: dict[str, float] = {}
        self.values = MemoryValues(clock)
        self.loads: list[frozenset[str]] = []
        self.instances: dict[str, tuple[float, float, bytes]] = {}

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable("The store is down.")

    async def generation(self) -> int:
        self._check()
        return 0 if self.published is None else self.published[0]

    async def load(self, known_hashes: Collection[str]) -> Loaded | None:
        self._check()
        self.loads.append(frozenset(known_hashes))
        if self.published is None:
            return None
        generation, at, state = self.published
        passed = self.clock() - at
        indices = {
            name: stored
            if stored.age_seconds is None
            else msgspec.structs.replace(stored, age_seconds=stored.age_seconds + passed)
            for name, stored in state.indices.items()
        }
        bodies = {known: body for known, body in state.bodies.items() if known not in known_hashes}
        return Loaded(
            generation, replace(state, age_seconds=state.age_seconds + passed, indices=indices, bodies=bodies)
        )

    async def publish(self, state: StoredState, lease: Lease) -> int:
        self._check()
        if self.leases.get(lease.name, (0, "", 0.0))[0] != lease.token:
            raise StaleToken("Another process took over the refresh lease; its result stands.")
        generation = 1 if self.published is None else self.published[0] + 1
        before = {} if self.published is None else self.published[2].bodies
        used = {stored.mapping_hash for stored in state.indices.values()}
        bodies = {known: body for known, body in {**before, **state.bodies}.items() if known in used}
        self.published = (generation, self.clock(), replace(state, bodies=bodies))
        return generation

    async def lease(self, name: str, holder: str, ttl_seconds: float) -> Lease | float:
        self._check()
        now = self.clock()
        token, present, expires_at = self.leases.get(name, (0, "", now))
        if present != holder:
            if expires_at > now:
                return expires_at - now
            token += 1
        self.leases[name] = (token, holder, now + ttl_seconds)
        return Lease(name, token, ttl_seconds)

    async def release(self, lease: Lease) -> None:
        self._check()
        if self.leases.get(lease.name, (0, "", 0.0))[0] == lease.token:
            self.leases[lease.name] = (lease.token, "", self.clock())

    async def report(self, instance: str, report: bytes, ttl_seconds: float) -> None:
        self._check()
        self.instances[instance] = (self.clock(), ttl_seconds, report)

    async def reports(self) -> dict[str, StoredReport]:
        self._check()
        now = self.clock()
        return {
            name: StoredReport(now - at, report)
            for name, (at, ttl_seconds, report) in sorted(self.instances.items())
            if now <= at + ttl_seconds
        }

    async def wait_for_change(self, longest_seconds: float) -> None:
        await self.sleep(longest_seconds)

    async def attempt(self, name: str, interval_seconds: float) -> float:
        self._check()
        now = self.clock()
        if name in self.attempts and (wait := self.attempts[name] + interval_seconds - now) > 0:
            return wait
        self.attempts[name] = now
        return 0.0

    async def change(
        self, names: Collection[str], function: Callable[[Values, int], tuple[Values, T]], kept_seconds: float
    ) -> T:
        self._check()
        return await self.values.change(names, function, kept_seconds)

    def is_free(self, name: str) -> bool:
        """Return whether another process could take the lease now."""
        _, _, expires_at = self.leases.get(name, (0, "", self.clock()))
        return expires_at <= self.clock()


@dataclass
class Instance:
    """One process: its cache and refresher, over a cluster and a store that it may share with others."""

    reader: FakeReader
    store: MemoryStore
    clock: FakeClock
    config: dict[str, Any] = field(default_factory=dict)
    sleep: Sleep = asyncio.sleep
    lease_ttl_seconds: float = LEASE_TTL_SECONDS
    urls: str = "urls"
    name: str = ""

    def __post_init__(self) -> None:
        config, store, clock, sleep = cache_config(**self.config), self.store, self.clock, self.sleep
        self.cache = MappingCache(self.reader, config, spawn, clock=clock)
        self.runner = PassRunner(self.cache, self.reader, config, None, clock=clock)
        self.sharing = Sharing(
            *(self.cache, store),
            cluster_urls=self.urls,
            identify=self.reader.cluster_uuid,
            instance=self.name,
            clock=clock,
        )
        self.refresher = Refresher(
            *(self.runner, self.sharing, store, config, spawn),
            clock=clock,
            sleep=sleep,
            lease_ttl_seconds=self.lease_ttl_seconds,
        )
        self.cache.read_listing_by(self.refresher.list_now)
        self.schedule = Schedule(self.refresher, self.sharing, store, config.refresh_interval, clock=clock, sleep=sleep)

    async def run(self, trigger: str = "api", *, limited: bool = False) -> RefreshReport:
        """Run a pass from its request to its end."""
        answer = await self.refresher.ask(trigger, limited=limited)
        assert answer.outcome is PassOutcome.STARTED
        assert answer.id is not None
        report = await self.refresher.wait(answer.id)
        await settle()
        return report


class InstantSleep:
    """Replaces `asyncio.sleep`: moves the clock instead of waiting, and records the delays.

    After `limit` sleeps, and in every sleep of `endless_seconds`, the sleeper waits until it is cancelled.
    """

    def __init__(self, clock: FakeClock, limit: int | None = None, endless_seconds: float | None = None) -> None:
        self.delays: list[float] = []
        self.limit = limit
        self.enough = asyncio.Event()
        self._clock = clock
        self._endless_seconds = endless_seconds

    async def __call__(self, seconds: float) -> None:
        if seconds == self._endless_seconds:
            await asyncio.Event().wait()
        self.delays.append(seconds)
        if self.limit is not None and len(self.delays) >= self.limit:
            self.enough.set()
            await asyncio.Event().wait()
        self._clock.advance(seconds)
        await asyncio.sleep(0)
