"""Who sends: one process of a deployment, for as long as it holds the lease, to the targets that the file says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cacheapp.change_reports import TargetReport, TargetState
from cacheapp.models import LeaseRow
from cacheapp.stores.database_thread import DatabaseThread, open_database_thread
from cacheapp.stores.protocol import Lease
from cacheapp.webhooks.delivery import Delivery
from cacheapp.webhooks.webhooks import HELD_SECONDS, LEASE_SECONDS, RENEW_SECONDS, RESTART_SECONDS, Webhooks
from esassistant.config.webhooks import Target, load_targets, parse_targets
from esassistant.errors import StaleToken, StoreUnavailable
from esassistant.followed_file import FollowedFile
from esassistant.resource import Health
from tests.support.fakes import FakeClock
from tests.support.receiver import entry

pytestmark = pytest.mark.django_db(transaction=True)

STANDBY = TargetReport("h", TargetState.STANDBY, None, None, None, None, 0, {}, 0, None, None)


class FakeDelivery(Delivery):
    """Says who sends to what, and fails when it is told to."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.leases: list[Lease] = []
        self.running = False
        self.failure = asyncio.Event()
        self.error: Exception = ZeroDivisionError()

    def report(self) -> TargetReport:
        return STANDBY

    async def run(self, lease: Lease) -> None:
        self.leases.append(lease)
        self.running = True
        try:
            await self.failure.wait()
            raise self.error
        finally:
            self.running = False


class Process:
    """One process of a deployment."""

    def __init__(self, path: Path, thread: DatabaseThread, clock: FakeClock) -> None:
        self.made: list[FakeDelivery] = []
        self.file = FollowedFile(path, load_targets(path), load_targets, noun="targets", setting="ESASSISTANT_WEBHOOKS")
        self.clock = clock
        self.webhooks = Webhooks(self.file, thread, self.make, self.spawn, clock=clock, sleep=self.sleep)
        self.task: asyncio.Task[None] | None = None

    def make(self, _: Webhooks, target: Target) -> FakeDelivery:
        self.made.append(FakeDelivery(target))
        return self.made[-1]

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        return asyncio.create_task(function())

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await asyncio.sleep(0.002)

    def start(self) -> None:
        self.task = asyncio.create_task(self.webhooks.run())

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait([self.task])

    @property
    def running(self) -> list[str]:
        return sorted(delivery.target.name for delivery in self.made if delivery.running)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (nothing is signalled)
            await asyncio.sleep(0.002)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "webhooks.toml"
    path.write_text(entry("http://127.0.0.1/", "a") + entry("http://127.0.0.1/", "b"))
    return path


@asynccontextmanager
async def process(path: Path, clock: FakeClock) -> AsyncIterator[Process]:
    async with open_database_thread("test") as thread:
        made = Process(path, thread, clock)
        made.start()
        try:
            yield made
        finally:
            await made.stop()


async def test_one_sends(path: Path, fake_clock: FakeClock) -> None:
    """One process sends to all targets; the other stands by until the first gives the lease back, and then sends."""
    async with process(path, fake_clock) as one:
        await until(lambda: one.running == ["a", "b"])
        assert one.webhooks.report().sends
        assert list(one.webhooks.report().targets) == ["a", "b"]
        async with process(path, fake_clock) as two:
            await asyncio.sleep(0.2)
            assert two.running == []
            assert not two.webhooks.report().sends
            await two.webhooks.release_lease()  # of one that never had it: nothing
            assert one.running == ["a", "b"]
            assert list(two.webhooks.report().targets) == ["a", "b"]
            await one.stop()
            assert one.running == []
            await one.webhooks.release_lease()
            await until(lambda: two.running == ["a", "b"])
            [first], [second] = one.made[0].leases, two.made[0].leases
            assert second.token == first.token + 1
            await one.webhooks.release_lease()  # of one that was overtaken: nothing
            await asyncio.sleep(0.1)
            assert two.running == ["a", "b"]


async def test_the_lease_is_lost(path: Path, fake_clock: FakeClock) -> None:
    """A process that finds the lease another's stops sending; where it gets it anew it begins anew."""
    async with process(path, fake_clock) as one, open_database_thread("other") as thread:
        await until(lambda: one.running == ["a", "b"])
        await thread.run(lambda: LeaseRow.objects.update(holder="another"))
        await until(lambda: one.running == [])
        assert not one.webhooks.report().sends
        await thread.run(lambda: LeaseRow.objects.update(holder=""))
        await thread.run(lambda: LeaseRow.objects.update(expires_at="2026-01-01T00:00:00Z"))
        await until(lambda: one.running == ["a", "b"])
        tokens = [lease.token for lease in one.made[0].leases]
        assert tokens == [tokens[0], tokens[0] + 1]
        assert one.made[0].leases[0].ttl_seconds == LEASE_SECONDS


async def test_the_file_is_followed(path: Path, fake_clock: FakeClock) -> None:
    """A target that comes is sent to, one that goes isn't any more, and one that is changed begins anew; the others go
    on undisturbed.
    """
    async with process(path, fake_clock) as one:
        await until(lambda: one.running == ["a", "b"])
        path.write_text(  # noqa: ASYNC240  (a test's own small file)
            entry("http://127.0.0.1/other", "b") + entry("http://127.0.0.1/", "c") + entry("http://127.0.0.1/", "d")
        )
        await one.file.look()
        await until(lambda: one.running == ["b", "c", "d"])
        path.write_text(entry("http://127.0.0.1/other", "b"))  # noqa: ASYNC240
        await one.file.look()
        await until(lambda: one.running == ["b"])
    urls = [(delivery.target.name, delivery.target.url) for delivery in one.made]
    assert urls == [
        ("a", "http://127.0.0.1/"),
        ("b", "http://127.0.0.1/"),
        ("b", "http://127.0.0.1/other"),
        ("c", "http://127.0.0.1/"),
        ("d", "http://127.0.0.1/"),
    ]
    assert all(len(delivery.leases) == 1 for delivery in one.made)


async def test_what_nobody_foresaw(path: Path, fake_clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """An error in what sends to one target is logged with its name and reported; that one alone starts again, later."""
    async with process(path, fake_clock) as one:
        await until(lambda: one.running == ["a", "b"])
        one.made[0].failure.set()
        await until(lambda: one.webhooks.report().targets["a"].state is TargetState.FAILING)
        crashed_at = fake_clock()
        one.made[0].failure.clear()
        report = one.webhooks.report().targets["a"]
        assert report.error == "this service made a mistake (ZeroDivisionError), which its log has"
        assert report.retry_in_seconds is not None
        assert 0 <= report.retry_in_seconds <= RESTART_SECONDS
        assert one.running == ["b"]
        await until(lambda: one.running == ["a", "b"])
        assert fake_clock() - crashed_at >= RESTART_SECONDS - 2
        assert one.webhooks.report().targets["a"] == STANDBY
        assert [len(delivery.leases) for delivery in one.made] == [2, 1]
        # Once more, soon: it fails since the first time. Much later: since then.
        for settled, since in ((0.0, crashed_at), (2 * RESTART_SECONDS, None)):
            fake_clock.advance(settled)
            crashed_again_at = fake_clock()
            one.made[0].failure.set()
            await until(lambda: one.running == ["b"])
            await until(lambda: one.webhooks.report().targets["a"].state is TargetState.FAILING)
            one.made[0].failure.clear()
            seconds = one.webhooks.report().targets["a"].failing_seconds
            assert seconds is not None
            assert seconds >= RESTART_SECONDS if since else seconds <= fake_clock() - crashed_again_at
            await until(lambda: one.running == ["a", "b"])
    record, *_ = [record for record in caplog.records if record.exc_info]
    assert record.getMessage() == "webhooks: sending to a crashed; it starts again in 30 s"


async def test_an_entry_is_written_anew_after_an_error(path: Path, fake_clock: FakeClock) -> None:
    """It is sent to at once: what failed was another."""
    async with process(path, fake_clock) as one:
        await until(lambda: one.running == ["a", "b"])
        one.made[0].failure.set()
        await until(lambda: one.running == ["b"])
        crashed_at = fake_clock()
        path.write_text(entry("http://127.0.0.1/other", "a") + entry("http://127.0.0.1/", "b"))  # noqa: ASYNC240
        await one.file.look()
        await until(lambda: one.running == ["a", "b"])
        assert fake_clock() - crashed_at < RESTART_SECONDS


@pytest.mark.parametrize("error", [StaleToken("another"), StoreUnavailable("The database is away.")])
async def test_what_is_about_all_targets(path: Path, fake_clock: FakeClock, error: Exception) -> None:
    """A lease that another took, and a database that is away, end all; all start again with the lease."""
    async with process(path, fake_clock) as one:
        await until(lambda: one.running == ["a", "b"])
        one.made[0].error = error
        one.made[0].failure.set()
        await until(lambda: one.running == [])
        one.made[0].failure.clear()
        await until(lambda: one.running == ["a", "b"])
        assert [len(delivery.leases) for delivery in one.made] == [2, 2]


async def test_a_lease_that_is_granted_late(path: Path, fake_clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease began before the answer came: who gets that too late sends nothing, whenever it was asked for."""
    async with process(path, fake_clock) as one:
        await until(lambda: one.running == ["a", "b"])
        grant, took = one.webhooks._leases.lease, [HELD_SECONDS + 1]
        told: list[bool] = []

        async def late(*arguments: Any) -> Any:
            granted = await grant(*arguments)
            fake_clock.advance(took[0])
            told.append(bool(one.running))
            return granted

        monkeypatch.setattr(one.webhooks._leases, "lease", late)
        await until(lambda: one.running == [])
        asked = len(told)
        await until(lambda: len(told) > asked + 3)
        assert not any(told[asked:])
        # Late, and in time: it is renewed before anything is sent.
        took[0] = RENEW_SECONDS + 1
        asked = len(told)
        await until(lambda: len(told) > asked + 1)
        took[0] = 0
        await until(lambda: one.running == ["a", "b"])


async def test_the_database_is_away(path: Path, fake_clock: FakeClock) -> None:
    """Nothing is sent until it is back."""
    async with open_database_thread("test") as thread:
        one = Process(path, thread, fake_clock)
        run, is_away = thread.run, True

        async def sometimes(*args: Any, **options: Any) -> Any:
            if is_away:
                raise StoreUnavailable("The database is away.")
            return await run(*args, **options)

        thread.run = sometimes  # type: ignore[method-assign]
        one.start()
        await asyncio.sleep(0.1)
        assert one.running == []
        is_away = False
        await until(lambda: one.running == ["a", "b"])
        is_away = True
        await until(lambda: one.running == [])
        await one.webhooks.release_lease()
        await one.stop()


async def test_a_bad_file(path: Path, fake_clock: FakeClock) -> None:
    """What it said before stays in force; report and health say so."""
    async with process(path, fake_clock) as one:
        assert (await one.webhooks.ping()).health is Health.HEALTHY
        path.write_text("[[target]]\n")  # noqa: ASYNC240
        await one.file.look()
        await until(lambda: one.running == ["a", "b"])
        report = one.webhooks.report()
        assert (report.enabled, report.readable, list(report.targets)) == (True, False, ["a", "b"])
        assert report.error == "target 1 (line 1): name is missing"
        ping = await one.webhooks.ping()
        assert ping.health is Health.DEGRADED
        assert (ping.detail or "").startswith("ESASSISTANT_WEBHOOKS target 1 (line 1): name is missing. What it said")


def test_entries_of_tests_are_right(path: Path) -> None:
    """What the tests write into files is what an operator writes."""
    assert [target.name for target in parse_targets(path.read_text())] == ["a", "b"]
