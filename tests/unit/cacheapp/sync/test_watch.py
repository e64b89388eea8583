"""The watch: who watches, what a change starts, and what becomes of it when the cluster, the store or the lease
goes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest

from cacheapp.cluster.metadata_version import Era, MetadataVersion, Seen
from cacheapp.errors import WatchRefused
from cacheapp.reports import WatchState
from cacheapp.stores.protocol import Lease
from cacheapp.sync.pass_record import ChangesRead
from cacheapp.sync.watch import LEASE, Watch, WatchIntervals
from esassistant.clock import Sleep, monotonic
from tests.support.fakes import FakeClock, InstantSleep, MemoryStore, no_answer, settle, spawn

QUICK = WatchIntervals(lease_ttl=0.06, long_poll=0.05, debounce=0.0, behind=0.0, second_look=0.01, first_reconnect=0.01)


class FakeMetadata:
    """A cluster's metadata version in memory: `change` sets it, and wakes who waits, as does `fail`."""

    def __init__(self) -> None:
        self.era = Era("cluster", 1)
        self.version = 5
        self.failure: Exception | None = None
        self.requests_total = 0
        self.anchored: list[int] = []
        self._changed = asyncio.Condition()

    async def change(self, version: int | None = None, era: Era | None = None) -> None:
        async with self._changed:
            self.version = self.version + 1 if version is None else version
            self.era = era or self.era
            self._changed.notify_all()

    async def fail(self, failure: Exception | None) -> None:
        async with self._changed:
            self.failure = failure
            self._changed.notify_all()

    async def reached(self, number: int, *, within_seconds: float = 0.0) -> Seen | None:
        self.requests_total += 1
        async with self._changed:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_seconds):
                    await self._changed.wait_for(lambda: self.failure is not None or self.version >= number)
        if self.failure is not None:
            raise self.failure
        return Seen(self.era, f"state-{self.version}") if self.version >= number else None

    async def later_than(self, known: MetadataVersion, *, within_seconds: float) -> Seen | None:
        return await self.reached(known.number + 1, within_seconds=within_seconds)

    async def now(self, at_least: int = 1) -> MetadataVersion:
        self.requests_total += 1
        self.anchored.append(at_least)
        if self.failure is not None:
            raise self.failure
        return MetadataVersion(self.era, self.version, f"state-{self.version}")


class FakeRefresher:
    """A refresher and what it shares. Counts what it is asked for; `findings` are what the next change passes find,
    then nothing.
    """

    def __init__(self) -> None:
        self.first_pass = asyncio.Event()
        self.first_pass.set()
        self.is_ahead = False
        self.failed: frozenset[str] = frozenset()
        self.postponed_seconds: float | None = None
        self.postponing: list[bool] = []
        self.looks = 0
        self.findings: list[int] = []
        self.published: list[Lease] = []
        self.failure: Exception | None = None
        self.refusal: str | None = None
        self.asked_of: list[str | None] = []

    @property
    def change_requests_total(self) -> int:
        return 10 * self.looks

    async def wait_for_first_pass(self) -> None:
        await self.first_pass.wait()

    async def read_changes(self, cluster_uuid: str | None = None, *, may_postpone: bool = True) -> ChangesRead:
        self.looks += 1
        self.asked_of.append(cluster_uuid)
        self.postponing.append(may_postpone)
        if self.failure is not None:
            raise self.failure
        return ChangesRead(self.findings.pop(0) if self.findings else 0, self.failed, self.postponed_seconds)

    async def publish(self, lease: Lease) -> bool:
        self.published.append(lease)
        self.is_ahead = False
        return True

    async def publish_if_ahead(self, lease: Lease) -> bool:
        return self.is_ahead and await self.publish(lease)


class FakeParameters:
    """What finds changes of parameters alone. `waits`: seconds until it is due; `findings`: as a refresher's."""

    def __init__(self) -> None:
        self.begun_at: list[int] = []
        self.wakes: list[bool] = []
        self.waits: float | None = None
        self.asked: list[int] = []
        self.findings: list[int] = []
        self.requests_total = 0

    async def begin(self, version: MetadataVersion) -> bool:
        self.begun_at.append(version.number)
        return len(self.begun_at) == 1

    def note_wake(self, *, found: bool) -> None:
        self.wakes.append(found)

    def due_in(self) -> float | None:
        return self.waits

    async def read_if_due(self, version: MetadataVersion) -> ChangesRead | None:
        self.asked.append(version.number)
        self.waits = None
        return ChangesRead(self.findings.pop(0)) if self.findings else None


class Watched:
    """A watch that runs, and all that it works with."""

    def __init__(self) -> None:
        self.metadata = FakeMetadata()
        self.refresher = FakeRefresher()
        self.parameters = FakeParameters()
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        self.set_up()
        self.running: asyncio.Task[None] | None = None

    def set_up(self, intervals: WatchIntervals = QUICK, sleep: Sleep = asyncio.sleep) -> None:
        """Make the watch, not yet started, with these intervals."""
        refresher = cast("Any", self.refresher)
        self.watch = Watch(
            *(cast("Any", self.metadata), cast("Any", self.parameters), refresher, refresher, self.store, spawn),
            clock=monotonic,
            sleep=sleep,
            intervals=intervals,
        )

    def start(self) -> asyncio.Task[None]:
        self.running = asyncio.create_task(self.watch.run())
        return self.running

    async def quiet(self) -> None:
        """Start, and wait until both looks of the start are over."""
        self.start()
        await until(lambda: self.refresher.looks >= 2)

    @property
    def state(self) -> WatchState:
        return self.watch.report().state


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(3):
        while not condition():  # noqa: ASYNC110  (states are read, nothing is signalled)
            await asyncio.sleep(0.002)


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    """Not yet started; ended afterwards."""
    made = Watched()
    yield made
    if made.running is not None:
        made.running.cancel()
        await asyncio.gather(made.running, return_exceptions=True)


async def test_it_anchors_and_looks(watched: Watched) -> None:
    """At first it finds the version and looks for what changed before, twice when there was nothing."""
    await watched.quiet()
    report = watched.watch.report()
    assert (report.state, report.metadata_version, report.changes_total) == (WatchState.WATCHING, 5, 0)
    assert (report.last_change_at, report.requests_total) == (None, watched.metadata.requests_total + 20)
    await asyncio.sleep(0.03)
    assert (watched.refresher.looks, watched.refresher.published) == (2, [])


async def test_it_waits_for_the_first_pass(watched: Watched) -> None:
    """Until the cache is warm it doesn't look: the first pass reads everything anyway."""
    watched.refresher.first_pass.clear()
    watched.start()
    await until(lambda: watched.metadata.anchored)
    await asyncio.sleep(0.02)
    assert (watched.refresher.looks, watched.state) == (0, WatchState.STARTING)
    watched.refresher.first_pass.set()
    await until(lambda: watched.refresher.looks == 2)


async def test_what_it_finds_is_published(watched: Watched) -> None:
    """A change starts one look; what that finds is counted and published with the lease."""
    await watched.quiet()
    watched.refresher.findings = [3]
    await watched.metadata.change()
    await until(lambda: watched.refresher.published)
    report = watched.watch.report()
    assert (report.wakes_total, report.changes_total, report.metadata_version) == (1, 3, 6)
    assert report.last_change_at is not None
    assert (watched.refresher.looks, [lease.name for lease in watched.refresher.published]) == (3, [LEASE])


async def test_a_second_look(watched: Watched) -> None:
    """When a change shows in nothing yet it looks once more a moment later, and publishes what it finds then."""
    await watched.quiet()
    watched.refresher.findings = [0, 1]
    await watched.metadata.change()
    await until(lambda: watched.refresher.published)
    assert (watched.refresher.looks, watched.watch.report().changes_total) == (4, 1)


async def test_several_changes_at_once(watched: Watched) -> None:
    """When an answer comes at once, others had happened: it finds where the cluster stands, from where it was."""
    watched.set_up(replace(QUICK, behind=60.0))
    await watched.quiet()
    await watched.metadata.change(50)
    await until(lambda: watched.watch.report().metadata_version == 50)
    assert watched.metadata.anchored == [1, 6]


async def test_a_restarted_cluster(watched: Watched) -> None:
    """After a quiet poll it notices another era by asking for the lowest version, and anchors from the start."""
    await watched.quiet()
    await watched.metadata.change(2, Era("cluster", 2))
    await until(lambda: watched.watch.report().metadata_version == 2)
    assert watched.metadata.anchored == [1, 1]


async def test_a_node_of_an_earlier_era(watched: Watched) -> None:
    """After a quiet poll a node that hasn't heard of the latest election is no reason to anchor anew."""
    await watched.quiet()
    asked = watched.metadata.requests_total
    await watched.metadata.change(2, Era("cluster", 0))
    await until(lambda: watched.metadata.requests_total >= asked + 4)
    assert watched.metadata.anchored == [1]


async def test_another_era_with_a_higher_version(watched: Watched) -> None:
    """A wake from another era isn't followed step by step: its numbers are others."""
    await watched.quiet()
    await watched.metadata.change(9, Era("other", 1))
    await until(lambda: watched.watch.report().metadata_version == 9)
    assert watched.metadata.anchored == [1, 1]


async def test_standby_until_the_lease_runs_out(watched: Watched) -> None:
    """While another process holds the lease it asks the cluster nothing; when that runs out it takes over."""
    await watched.store.lease(LEASE, "other", 30.0)
    watched.start()
    await until(lambda: watched.state is WatchState.STANDBY)
    await asyncio.sleep(0.03)
    assert watched.metadata.requests_total == 0
    watched.clock.advance(30.0)
    await until(lambda: watched.state is WatchState.WATCHING)


async def test_in_standby_nothing_is_left_of_before(watched: Watched) -> None:
    """What it knew, or what went wrong, while it watched itself says nothing of the watch of another process."""
    assert watched.state is WatchState.OFF
    await watched.quiet()
    await until(lambda: watched.state is WatchState.WATCHING)
    watched.watch._last_error = "of an earlier outage"
    watched.clock.advance(QUICK.lease_ttl + 1)
    await watched.store.lease(LEASE, "other", 30.0)
    await until(lambda: watched.state is WatchState.STANDBY)
    report = watched.watch.report()
    assert (report.last_error, report.metadata_version) == (None, None)


async def test_a_lost_lease_ends_following(watched: Watched) -> None:
    """When another process has the lease it stops: changes start nothing any more."""
    await watched.quiet()
    watched.clock.advance(1.0)
    await watched.store.lease(LEASE, "other", 30.0)
    await until(lambda: watched.state is WatchState.STANDBY)
    await settle()
    asked = watched.metadata.requests_total
    await watched.metadata.change()
    await asyncio.sleep(0.03)
    assert (watched.metadata.requests_total, watched.refresher.looks) == (asked, 2)


async def test_it_keeps_the_lease(watched: Watched) -> None:
    """While it watches nobody else gets the lease, as long as that would last without renewal."""
    await watched.quiet()
    for _ in range(4):
        watched.clock.advance(0.03)
        await asyncio.sleep(0.03)
        assert not isinstance(await watched.store.lease(LEASE, "other", 30.0), Lease)


async def test_what_was_overwritten_is_published_again(watched: Watched) -> None:
    """When it knows newer mappings than what another process published, it gives them out with the next renewal."""
    await watched.quiet()
    watched.refresher.is_ahead = True
    await until(lambda: watched.refresher.published)


async def test_release(watched: Watched) -> None:
    """At the end another process may watch at once; without a lease, or a store, there is nothing to give back."""
    await watched.watch.release_lease()
    await watched.quiet()
    assert watched.running is not None
    watched.running.cancel()
    await settle()
    await watched.watch.release_lease()
    assert watched.store.is_free(LEASE)
    watched.store.down = True
    await watched.watch.release_lease()


async def test_without_a_store(watched: Watched) -> None:
    """A store that is down doesn't end the watch: each process watches for itself, and publishes nothing."""
    watched.store.down = True
    watched.refresher.findings = [1]
    watched.start()
    await until(lambda: watched.refresher.looks)
    await settle()
    assert (watched.state, watched.watch.report().changes_total) == (WatchState.WATCHING, 1)
    assert watched.refresher.published == []


async def test_it_reconnects(watched: Watched) -> None:
    """After an outage it anchors anew, and so finds what changed meanwhile; the error is told until then."""
    await watched.quiet()
    await watched.metadata.fail(no_answer())
    await until(lambda: watched.state is WatchState.RECONNECTING)
    assert watched.watch.report().last_error == "Elasticsearch could not be reached."
    watched.metadata.version = 8
    watched.refresher.findings = [1]
    await watched.metadata.fail(None)
    await until(lambda: watched.refresher.published)
    report = watched.watch.report()
    assert (report.state, report.metadata_version, report.last_error) == (WatchState.WATCHING, 8, None)


async def test_a_failed_look_is_an_outage(watched: Watched) -> None:
    """When the change pass can't read the cluster the watch begins anew: what it was woken for isn't lost."""
    await watched.quiet()
    watched.refresher.failure = no_answer()
    await watched.metadata.change()
    await until(lambda: watched.state is WatchState.RECONNECTING)
    watched.refresher.failure = None
    watched.refresher.findings = [1]
    await until(lambda: watched.refresher.published)


async def test_what_it_could_not_read_is_read_later(watched: Watched) -> None:
    """A change pass that could not read everything is no outage: the next look comes by itself, one at a time, and
    leaves alone what need not be read yet.
    """
    watched.set_up(replace(QUICK, unread=0.01, long_poll=30.0))
    watched.refresher.failed = frozenset({"bad"})
    await watched.quiet()
    await until(lambda: watched.refresher.looks == 5)
    assert (watched.state, watched.refresher.postponing) == (WatchState.WATCHING, [True] * 5)


async def test_what_was_postponed_is_read_when_it_is_due(watched: Watched) -> None:
    """What a look postponed starts one look when it is due, none before, and none after if nothing is left."""
    watched.set_up(replace(QUICK, long_poll=0.02))
    watched.refresher.postponed_seconds = 0.15
    await watched.quiet()
    await asyncio.sleep(0.08)
    assert watched.refresher.looks == 2
    watched.refresher.postponed_seconds = None
    await until(lambda: watched.refresher.looks == 3)
    await asyncio.sleep(0.2)
    assert watched.refresher.postponing == [True, True, False]


async def test_changes_of_parameters_are_looked_for(watched: Watched) -> None:
    """The versions are remembered at the anchor; after each wake it is told whether the look found something, asked for
    the version that woke it, and what it finds makes the second look needless.
    """
    await watched.quiet()
    assert (watched.parameters.begun_at, watched.parameters.wakes) == ([5], [])
    watched.parameters.findings = [1]
    await watched.metadata.change()
    await until(lambda: watched.refresher.published)
    await asyncio.sleep(0.03)
    assert (watched.parameters.wakes, watched.parameters.asked[1], watched.refresher.looks) == ([False], 6, 3)
    watched.refresher.findings = [2]
    await watched.metadata.change()
    await until(lambda: len(watched.parameters.wakes) == 2)
    assert (watched.parameters.wakes[1], watched.watch.report().changes_total) == (True, 3)


async def test_what_is_owed_is_not_slept_over(watched: Watched) -> None:
    """When the versions are due before the long poll ends, they are asked for then."""
    watched.set_up(replace(QUICK, long_poll=30.0))
    watched.parameters.waits = 0.02
    watched.parameters.requests_total = 7
    await watched.quiet()
    watched.parameters.waits, watched.parameters.findings = 0.02, [1]
    await watched.metadata.change()
    await until(lambda: watched.watch.report().changes_total == 1)
    report = watched.watch.report()
    assert report.requests_total == watched.metadata.requests_total + watched.refresher.change_requests_total + 7


async def test_it_asks_for_versions_after_an_outage(watched: Watched) -> None:
    """What changed while it was away is owed an answer too, compared with the versions of before."""
    await watched.quiet()
    await watched.metadata.fail(no_answer())
    await until(lambda: watched.state is WatchState.RECONNECTING)
    await watched.metadata.fail(None)
    await until(lambda: watched.parameters.wakes == [False])
    assert len(watched.parameters.begun_at) >= 2


async def test_reconnects_back_off(watched: Watched) -> None:
    """Outage after outage, the waits double up to five seconds; once it watched, they begin anew."""
    sleep = InstantSleep(watched.clock, limit=6, endless_seconds=7.0)
    watched.set_up(WatchIntervals(lease_ttl=35.0), sleep)
    watched.metadata.failure = no_answer()
    watched.start()
    await asyncio.wait_for(sleep.enough.wait(), 3)
    assert sleep.delays == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


async def test_refused_is_said_once(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """A cluster that doesn't let us is asked again every ten minutes, but only the first refusal is logged."""
    sleep = InstantSleep(watched.clock, limit=3, endless_seconds=7.0)
    watched.set_up(WatchIntervals(lease_ttl=35.0), sleep)
    watched.metadata.failure = WatchRefused("not for you")
    watched.start()
    await asyncio.wait_for(sleep.enough.wait(), 3)
    assert sleep.delays == [600.0, 600.0, 600.0]
    assert (watched.state, watched.watch.report().last_error) == (WatchState.REFUSED, "not for you")
    assert caplog.text.count("not for you") == 1


async def test_an_unexpected_error_is_raised(watched: Watched) -> None:
    """An error that nobody foresaw ends the task, so that its supervisor logs it and starts it again."""
    watched.refresher.failure = RuntimeError("unforeseen")
    with pytest.raises(RuntimeError, match="unforeseen"):
        await asyncio.wait_for(watched.start(), 3)


async def test_nothing_is_left_running(watched: Watched) -> None:
    """Cancelled, it takes its follower and the renewal of its lease with it."""
    before = asyncio.all_tasks()
    await watched.quiet()
    assert watched.running is not None
    assert len(asyncio.all_tasks() - before) == 3
    watched.running.cancel()
    await settle()
    assert asyncio.all_tasks() - before == set()


async def test_an_unexpected_error_of_the_renewal_is_raised(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw, while the lease is kept and what is known is given out, ends the task too; it is
    neither swallowed nor tried again without a pause.
    """

    async def publish(_: Lease) -> bool:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(watched.refresher, "publish", publish)
    watched.refresher.is_ahead = True
    with pytest.raises(RuntimeError, match="unforeseen"):
        await asyncio.wait_for(watched.start(), 3)


async def test_a_store_of_another_cluster(watched: Watched) -> None:
    """While another cluster's instances use the store it watches without their lease, and publishes nothing; once they
    are gone the lease counts again.
    """
    theirs = await watched.store.lease(LEASE, "theirs", 60.0)
    assert isinstance(theirs, Lease)
    watched.start()
    await until(lambda: watched.state is WatchState.STANDBY)
    watched.refresher.refusal = "It is another cluster's."
    await until(lambda: watched.state is WatchState.WATCHING)
    watched.refresher.findings = [1]
    await watched.metadata.change()
    await until(lambda: watched.watch.report().changes_total)
    assert watched.refresher.published == []
    assert not watched.store.is_free(LEASE)
    watched.refresher.refusal = None
    await until(lambda: watched.state is WatchState.STANDBY)


async def test_what_it_holds_is_given_back(watched: Watched) -> None:
    """A process that holds the lease when the store turns out to be another cluster's leaves it to that one."""
    await watched.quiet()
    assert not watched.store.is_free(LEASE)
    watched.refresher.refusal = "It is another cluster's."
    await until(lambda: watched.store.is_free(LEASE))
    assert watched.state is WatchState.WATCHING


async def test_changes_are_those_of_the_cluster_that_is_watched(watched: Watched) -> None:
    """A change pass is told which cluster answers: another may be in the place of the one that was known."""
    await watched.quiet()
    await watched.metadata.change(era=Era("another", 1))
    await until(lambda: watched.refresher.asked_of[-1] == "another")
    assert watched.refresher.asked_of[:2] == ["cluster", "cluster"]
