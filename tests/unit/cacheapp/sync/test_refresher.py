"""Full passes: who may start one, what it reads and shares, and what is left when a part of it fails."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from cacheapp.cluster.reader import Sent, uncounted
from cacheapp.errors import RefreshNotFound
from cacheapp.reports import PassOutcome
from cacheapp.state.published import StoredState
from cacheapp.stores.protocol import Lease
from cacheapp.sync.pass_record import REPORTED_ERRORS, ChangesRead
from cacheapp.sync.refresher import KEPT_REFRESHES, LEASE_TTL_SECONDS, OVERLAP_RETRY_SECONDS
from esassistant.errors import ClusterUnavailable, StaleToken, StoreUnavailable
from tests.support.fakes import (
    A_MAPPING,
    B_MAPPING,
    C_MAPPING,
    FakeClock,
    FakeReader,
    Instance,
    MemoryStore,
    no_answer,
    settle,
)

Make = Callable[..., Instance]


@pytest.fixture
async def make() -> Make:
    """Makes instances that share one cluster of three indices, one store and one clock."""
    reader = FakeReader({"a": A_MAPPING, "b": B_MAPPING, "c": C_MAPPING})
    reader.cluster_aliases["all"] = ("a", "b", "c")
    clock = FakeClock()
    store = MemoryStore(clock)
    return lambda lease_ttl_seconds=LEASE_TTL_SECONDS, **config: Instance(
        reader, store, clock, config, lease_ttl_seconds=lease_ttl_seconds
    )


async def test_completed_pass(make: Make) -> None:
    """A pass reads everything in batches, fills the cache, publishes, and reports what it did."""
    one = make()
    report = await one.run()
    assert (report.outcome, report.trigger, report.published, report.error) == (
        PassOutcome.COMPLETED,
        "api",
        True,
        None,
    )
    assert (report.indices_total, report.read_total, report.changed_total, report.failed_total) == (3, 3, 3, 0)
    assert one.reader.asked == [("a", "b"), ("c",)]
    assert report.requests_total == 3
    assert one.cache.warm
    assert one.cache.snapshot.indices["a"].uuid == "uuid-a"
    assert one.cache.snapshot.resolve("all") == ("a", "b", "c")
    assert one.store.published is not None
    assert set(one.store.published[2].indices) == {"a", "b", "c"}


async def test_deleted_index_goes(make: Make) -> None:
    """An index that is gone at the second pass is removed, here and in the store."""
    one = make()
    await one.run()
    del one.reader.indices["b"]
    report = await one.run()
    assert (report.changed_total, report.removed_total) == (0, 1)
    assert one.store.published is not None
    assert set(one.store.published[2].indices) == {"a", "c"}


async def test_asking_joins(make: Make) -> None:
    """Who asks while a pass runs joins it, also when both asked in the same moment."""
    one = make()
    one.reader.gate.clear()
    first, second = await asyncio.gather(one.refresher.ask("api"), one.refresher.ask("api"))
    assert (first.outcome, second.outcome) == (PassOutcome.STARTED, PassOutcome.JOINED)
    assert first.id == second.id
    assert first.id is not None
    assert one.refresher.refresh_report(first.id).outcome is PassOutcome.STARTED
    running = one.refresher.report().running
    assert running is not None
    assert running.id == first.id
    waiter = asyncio.create_task(one.refresher.wait(first.id))
    await settle()
    waiter.cancel()
    await settle()
    one.reader.gate.set()
    assert (await one.refresher.wait(first.id)).outcome is PassOutcome.COMPLETED
    assert one.refresher.report().passes_total == 1
    assert one.refresher.report().outcomes == {"unchanged": 0, "completed": 1, "partial": 0, "failed": 0}


async def test_few_batches_in_flight(make: Make) -> None:
    """However many batches there are, four are under way at a time."""
    one = make(batch_size=1)
    one.reader.indices = {f"i{number:02}": A_MAPPING for number in range(20)}
    one.reader.gate.clear()
    answer = await one.refresher.ask("api")
    await settle()
    one.reader.gate.set()
    await settle()
    assert answer.id is not None
    assert (await one.refresher.wait(answer.id)).read_total == 20
    assert one.reader.max_in_flight <= 4


async def test_rate_limit(make: Make) -> None:
    """On demand, a pass is refused within the interval of the last attempt, in every process, and frees the lease."""
    one, other = make(), make()
    await one.run(limited=True)
    one.clock.advance(59.0)
    for instance in (one, other):
        answer = await instance.refresher.ask("api")
        assert (answer.outcome, answer.id, answer.retry_after_seconds) == (PassOutcome.RATE_LIMITED, None, 1.0)
        assert one.store.is_free("refresh")
    one.clock.advance(1.0)
    assert (await other.run(limited=True)).outcome is PassOutcome.COMPLETED


async def test_unlimited_ignores_and_leaves_limit(make: Make) -> None:
    """A scheduled pass neither obeys the limit nor uses it up."""
    one = make()
    await one.run()
    await one.run(limited=True)
    await one.run()
    assert one.refresher.report().passes_total == 3


async def test_overlap(make: Make) -> None:
    """While another process holds the lease nothing is started; the answer says how long it may take."""
    one, other = make(), make()
    one.reader.gate.clear()
    started = await one.refresher.ask("api", limited=False)
    await settle()
    answer = await other.refresher.ask("api", limited=False)
    assert (answer.outcome, answer.id) == (PassOutcome.OVERLAP, None)
    assert answer.retry_after_seconds == OVERLAP_RETRY_SECONDS
    one.reader.gate.set()
    assert started.id is not None
    await one.refresher.wait(started.id)
    assert (await other.run()).outcome is PassOutcome.COMPLETED


async def test_partial(make: Make) -> None:
    """A batch that fails is asked for again in halves: one bad index takes no other with it, and stays as it was."""
    one = make()
    await one.run()
    one.clock.advance(5.0)
    one.reader.broken["b"] = no_answer()
    one.reader.indices["c"] = A_MAPPING
    report = await one.run()
    assert (report.outcome, report.published) == (PassOutcome.PARTIAL, True)
    assert {failed.index: failed.error for failed in report.errors} == {"b": "Elasticsearch could not be reached."}
    assert (report.failed_total, report.read_total, report.changed_total, report.removed_total) == (1, 2, 1, 0)
    b, c = one.cache.peek("b"), one.cache.peek("c")
    assert b is not None
    assert c is not None
    assert (b.age_seconds, c.age_seconds) == (5.0, 0.0)


async def test_slow_batch_fails_alone(make: Make) -> None:
    """A batch that exceeds the fetch timeout fails with that as its reason."""
    one = make(fetch_timeout=0.02)
    slow = one.reader.mappings

    async def mappings(names: Any, sent: Sent = uncounted) -> dict[str, bytes]:
        if "c" in names:
            await asyncio.Event().wait()
        return await slow(names, sent)

    one.reader.mappings = mappings  # type: ignore[method-assign]
    report = await one.run()
    assert [(failed.index, failed.error) for failed in report.errors] == [("c", "no answer within 20 ms")]


async def test_errors_are_bounded(make: Make) -> None:
    """All failures are counted, the first few are told."""
    one = make(batch_size=1)
    one.reader.indices = {f"i{number:02}": A_MAPPING for number in range(60)}
    # Every other one, so that the pass doesn't give up.
    one.reader.broken = {f"i{number:02}": no_answer() for number in range(0, 60, 2)}
    report = await one.run()
    assert report.failed_total == 30
    assert len(report.errors) == REPORTED_ERRORS


async def test_pass_that_reads_nothing_failed(make: Make) -> None:
    """When no mapping at all could be read the pass failed: the cache doesn't count as warm, and the schedule
    retries.
    """
    one = make()
    one.reader.broken = dict.fromkeys("abc", no_answer())
    report = await one.run()
    assert report.outcome is PassOutcome.FAILED
    assert not one.cache.warm
    assert one.schedule.next_pass_in() == 0.0


async def test_failed_listing(make: Make) -> None:
    """When the cluster can't be listed the pass fails with the reason, and what was known stays."""
    one = make()
    await one.run()
    before = one.cache.snapshot
    one.reader.failure = no_answer()
    report = await one.run()
    assert (report.outcome, report.error) == (PassOutcome.FAILED, "Elasticsearch could not be reached.")
    assert (report.indices_total, report.published) == (None, False)
    assert one.cache.snapshot is before
    assert one.store.is_free("refresh")


async def test_failed_pass_counts_its_requests(make: Make) -> None:
    """The report of a failed pass says what it cost the cluster."""
    one = make()
    one.reader.failure = no_answer()
    assert (await one.run()).requests_total == one.reader.requests_total == 1


async def test_slow_listing(make: Make) -> None:
    """A listing that exceeds its timeout fails the pass and says so."""
    one = make(indices_timeout=0.02)
    one.reader.gate.clear()
    report = await one.run()
    assert report.outcome is PassOutcome.FAILED
    assert report.error == "Elasticsearch did not list its indices within 20 ms."


async def test_unforeseen_error(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw fails the pass, goes to the log, and keeps its text from the caller."""
    one = make()
    one.reader.failure = RuntimeError("sensitive text")
    report = await one.run()
    assert (report.outcome, report.error) == (PassOutcome.FAILED, "An error in this server; its log has the details.")
    assert "sensitive text" in caplog.text
    assert (await one.refresher.ask("api", limited=False)).outcome is PassOutcome.STARTED


@pytest.mark.parametrize(
    ("trigger", "fails", "level"),
    [("schedule", True, "DEBUG"), ("schedule", False, "INFO"), ("api", True, "WARNING"), ("api", False, "INFO")],
)
async def test_how_loud_a_pass_is(
    make: Make, caplog: pytest.LogCaptureFixture, trigger: str, fails: bool, level: str
) -> None:
    """What the schedule tries in vain, again and again in an outage, has no line each: the verdict tells."""
    caplog.set_level(logging.DEBUG, "cacheapp.sync.refresher")
    one = make()
    if fails:
        one.reader.failure = ClusterUnavailable("away")
    answer = await one.refresher.ask(trigger, limited=False)
    assert answer.id is not None
    await one.refresher.wait(answer.id)
    assert [record.levelname for record in caplog.records if f"({trigger})" in record.getMessage()] == [level]


async def test_a_pass_that_finds_nothing_new_is_quiet(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """One by the schedule has a line when something has changed, been removed or not been read, else none."""
    caplog.set_level(logging.INFO, "cacheapp.sync.refresher")
    one = make()
    await one.run("schedule")
    caplog.clear()
    await one.run("schedule")
    assert caplog.messages == []
    one.reader.indices = {"a": B_MAPPING, "b": B_MAPPING, "c": C_MAPPING}
    await one.run("schedule")
    assert len(caplog.messages) == 1


async def test_ended_with_server(make: Make) -> None:
    """A pass that is cancelled at shutdown has failed, says so, and gives its lease back."""
    one = make()
    one.reader.gate.clear()
    answer = await one.refresher.ask("api", limited=False)
    assert answer.id is not None
    await settle()
    assert one.refresher._running is not None
    one.refresher._running[1].cancel()
    report = await one.refresher.wait(answer.id)
    assert (report.outcome, report.error) == (PassOutcome.FAILED, "The server ended before the refresh was done.")
    assert one.store.is_free("refresh")


async def test_overtaken_result_is_refused(make: Make) -> None:
    """Who lost the lease while it read keeps its result to itself: published is false and the error says why."""
    one = make()
    one.reader.gate.clear()
    answer = await one.refresher.ask("api", limited=False)
    await settle()
    one.clock.advance(LEASE_TTL_SECONDS)
    taken = await one.store.lease("refresh", "other", 30.0)
    assert isinstance(taken, Lease)
    one.reader.gate.set()
    assert answer.id is not None
    report = await one.refresher.wait(answer.id)
    assert (report.outcome, report.published) == (PassOutcome.COMPLETED, False)
    assert report.error is not None
    assert "took over" in report.error
    await settle()
    assert not one.store.is_free("refresh")
    with pytest.raises(StaleToken):
        await one.store.publish(StoredState(0.0, {}, {}, {}), Lease("refresh", taken.token - 1, 30.0))


async def test_lease_is_renewed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass longer than the lease keeps it, whatever the store does in between."""
    one = make(lease_ttl_seconds=0.03)
    one.reader.gate.clear()
    renewals = 0
    twice = asyncio.Event()
    take = one.store.lease

    async def lease(name: str, holder: str, ttl_seconds: float) -> Lease | float:
        nonlocal renewals
        renewals += 1
        if renewals == 2:
            raise StoreUnavailable("The store is down.")
        if renewals > 3:
            twice.set()
        return await take(name, holder, ttl_seconds)

    monkeypatch.setattr(one.store, "lease", lease)
    answer = await one.refresher.ask("api", limited=False)
    await asyncio.wait_for(twice.wait(), 5)
    one.reader.gate.set()
    assert answer.id is not None
    assert (await one.refresher.wait(answer.id)).published
    await settle()
    seen = renewals
    await asyncio.sleep(0.05)
    assert renewals == seen


async def test_lost_lease_is_not_taken_again(make: Make) -> None:
    """The renewal of a lease that another process took and gave back leaves no lease behind that nobody releases."""
    one = make(lease_ttl_seconds=0.03)
    one.reader.gate.clear()
    answer = await one.refresher.ask("api", limited=False)
    one.clock.advance(1.0)
    taken = await one.store.lease("refresh", "other", 30.0)
    assert isinstance(taken, Lease)
    await one.store.release(taken)
    await asyncio.sleep(0.05)
    one.reader.gate.set()
    assert answer.id is not None
    await one.refresher.wait(answer.id)
    await settle()
    assert one.store.is_free("refresh")


async def test_a_listing_that_a_read_asks_for(make: Make) -> None:
    """A read that denies a known name has the cluster listed, beside a pass of any process, and what is gone is
    published unless a pass does so at its end; that the store is away stops none of it.
    """
    one, other = make(), make()
    await one.run()
    await other.sharing.take_over()
    generations = []
    for name, others_lease, is_down in (("a", None, False), ("b", "other", False), ("c", None, True)):
        one.clock.advance(5.0)
        if others_lease is not None:
            await one.store.lease("refresh", others_lease, 1.0)
        one.store.down = is_down
        del one.reader.indices[name]
        await one.refresher.list_now()
        one.store.down = False
        assert name not in one.cache.snapshot.indices
        generations.append(await one.store.generation())
    assert generations == [2, 2, 2]
    await one.refresher.list_now()  # nothing else has gone
    assert (await one.store.generation(), one.refresher.report().passes_total) == (2, 1)


async def test_a_listing_that_a_read_asks_for_leaves_passes_alone(make: Make) -> None:
    """It takes no lease from a pass of this process, and is none before the first one."""
    one = make()
    await one.refresher.list_now()
    assert one.reader.requests_total == 0
    await one.run()
    one.clock.advance(5.0)
    del one.reader.indices["a"]
    listing = asyncio.create_task(one.refresher.list_now())
    answer = await one.refresher.ask("api", limited=False)
    await listing
    assert not one.store.is_free("refresh")
    assert answer.id is not None
    assert (await one.refresher.wait(answer.id)).published


async def test_store_down(make: Make) -> None:
    """Without the store passes go on, limited by this process alone; the report and the statistics say so."""
    one = make()
    one.store.down = True
    report = await one.run(limited=True)
    assert (report.outcome, report.published, report.error) == (PassOutcome.COMPLETED, False, "The store is down.")
    assert one.refresher.report().store_error == "The store is down."
    one.clock.advance(20.0)
    answer = await one.refresher.ask("api")
    assert (answer.outcome, answer.retry_after_seconds) == (PassOutcome.RATE_LIMITED, 40.0)
    one.clock.advance(40.0)
    assert (await one.run(limited=True)).outcome is PassOutcome.COMPLETED


async def test_store_fails_during_pass(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A store that goes away during a pass costs the sharing, not the result; it is logged once per outage."""
    one = make()
    one.reader.gate.clear()
    answer = await one.refresher.ask("api", limited=False)
    await settle()
    one.store.down = True
    one.reader.gate.set()
    assert answer.id is not None
    report = await one.refresher.wait(answer.id)
    await settle()
    assert (report.outcome, report.published, report.error) == (PassOutcome.COMPLETED, False, "The store is down.")
    assert one.cache.warm
    assert caplog.text.count("not shared between processes") == 1
    one.store.down = False
    one.clock.advance(LEASE_TTL_SECONDS)
    assert (await one.run()).published
    assert one.refresher.report().store_error is None


async def test_illegal_names_are_reported(make: Make) -> None:
    """Names of the cluster's that the reader left out are a figure of the refresher."""
    one = make()
    one.reader.illegal_names_total = 3
    assert one.refresher.report().illegal_names_total == 3


async def test_unknown_refresh(make: Make) -> None:
    """An id that was never given out, or that is too old to be kept, is 404."""
    one = make()
    first = await one.run()
    for _ in range(KEPT_REFRESHES - 1):
        await one.run()
    assert one.refresher.refresh_report(first.id).outcome is PassOutcome.COMPLETED
    await one.run()
    with pytest.raises(RefreshNotFound):
        one.refresher.refresh_report(first.id)
    with pytest.raises(RefreshNotFound):
        await one.refresher.wait("unknown")


async def test_duration(make: Make) -> None:
    """The duration grows while the pass runs and stands still afterwards."""
    one = make()
    one.reader.gate.clear()
    answer = await one.refresher.ask("api", limited=False)
    assert answer.id is not None
    await settle()
    one.clock.advance(2.0)
    assert one.refresher.refresh_report(answer.id).duration_seconds == 2.0
    one.clock.advance(1.0)
    one.reader.gate.set()
    await one.refresher.wait(answer.id)
    one.clock.advance(100.0)
    assert one.refresher.refresh_report(answer.id).duration_seconds == 3.0
    last = one.refresher.report().last
    assert last is not None
    assert last.duration_seconds == 3.0


async def test_changes_read(make: Make) -> None:
    """A change pass tells what it found, whether it could read all of it, and what all change passes cost, failed ones
    too.
    """
    one = make()
    await one.run()
    one.reader.indices |= {"d": A_MAPPING, "e": B_MAPPING}
    one.reader.cluster_aliases["new"] = ("d",)
    one.reader.broken["e"] = no_answer()
    before = one.reader.requests_total
    assert await one.refresher.read_changes() == ChangesRead(2, frozenset({"e"}))
    one.reader.broken.clear()
    one.reader.failure = no_answer()
    with pytest.raises(ClusterUnavailable):
        await one.refresher.read_changes()
    assert one.refresher.change_requests_total == one.reader.requests_total - before
    one.reader.failure = None
    assert await one.refresher.read_changes() == ChangesRead(1)
    assert one.refresher.change_requests_total == one.reader.requests_total - before
    assert one.refresher.report().passes_total == 1


async def test_named_changes_are_read(make: Make) -> None:
    """A change pass reads what is named to it, though nothing shows in the listing, unless it isn't listed."""
    one = make()
    await one.run()
    name = min(one.reader.indices)
    one.reader.indices[name] = one.reader.indices[name].replace(b'"type"', b'"meta":{},"type"')
    assert await one.refresher.read_changes() == ChangesRead(0)
    one.reader.asked.clear()
    assert await one.refresher.read_changes(named=frozenset({name, "elsewhere"})) == ChangesRead(1)
    assert one.reader.asked == [(name,)]


async def test_waiting_for_the_first_pass(make: Make) -> None:
    """Whoever waits for the first full pass goes on when this process, or another by way of the store, has run one."""
    one, other = make(), make()
    waiting = [asyncio.create_task(instance.refresher.wait_for_first_pass()) for instance in (one, other)]
    await settle()
    assert not any(task.done() for task in waiting)
    await one.run()
    await other.sharing.take_over()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
