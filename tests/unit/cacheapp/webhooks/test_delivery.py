"""Sending to one target: what is sent, in which order, what follows a failure, and how far the cursor is."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection

from cacheapp import change_log
from cacheapp.change_log import Entry, Head
from cacheapp.change_reports import TargetState
from cacheapp.history import History
from cacheapp.models import HistoryHead, LeaseRow, MappingChange, WebhookCursor
from cacheapp.rows import HISTORY_MODELS, ignored_rows
from cacheapp.state.changes import ChangeKind
from cacheapp.stores.database import DatabaseStore
from cacheapp.stores.database_thread import DatabaseThread, open_database_thread
from cacheapp.stores.protocol import Lease
from cacheapp.webhooks.delivery import AWAY_SECONDS, IDLE_SECONDS, Delivery
from cacheapp.webhooks.events import Event
from cacheapp.webhooks.policy import AT_ONCE, Attempt, Outcome
from esassistant.config.webhooks import Target
from esassistant.errors import StaleToken, StoreUnavailable
from tests.support.changes import NOW, tell
from tests.support.fakes import FakeClock
from tests.support.fixtures import Figure
from tests.support.states import take

pytestmark = pytest.mark.django_db(transaction=True)

TARGET = Target("registry", "https://hooks.example.org/", (b"k" * 32,), ("*",))
SENT = Attempt(Outcome.DELIVERED)
FAILED = Attempt(Outcome.FAILED, "it answered 500")


class Receiver:
    """Keeps what it takes; `answer` says what becomes of an event."""

    def __init__(self) -> None:
        self.taken: list[Event] = []
        self.tried: list[Event] = []
        self.answer: Callable[[Event], Attempt] = lambda _: SENT
        self.most_at_once = self._at_once = 0

    async def send(self, event: Event) -> Attempt:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self.tried.append(event)
        await asyncio.sleep(0)
        self._at_once -= 1
        attempt = self.answer(event)
        if attempt.is_delivered:
            self.taken.append(event)
        return attempt

    @property
    def numbers(self) -> list[int]:
        return [event.number for event in self.taken]

    @property
    def names(self) -> list[str | None]:
        return [event.index for event in self.taken]


class Sending:
    """A delivery that the test takes turn by turn, over a database of its own."""

    def __init__(self, thread: DatabaseThread, lease: Lease, clock: FakeClock, target: Target = TARGET) -> None:
        self.thread, self.lease, self.clock = thread, lease, clock
        self.history = History(thread, "test")
        self.receiver = Receiver()
        self.head: Head | None = None
        self.written_at: float | None = None
        self.slept: list[float] = []
        self.delivery = self.made(target)

    def made(self, target: Target = TARGET) -> Delivery:
        return Delivery(
            target,
            self.history,
            self.thread,
            self.opened,
            head=lambda: self.head,
            written_at=lambda: self.written_at,
            instance="test",
            clock=self.clock,
            sleep=self.sleep,
            now=lambda: NOW,
            jitter=lambda: 1.0,
        )

    @asynccontextmanager
    async def opened(self, _: Target) -> AsyncIterator[Receiver]:
        yield self.receiver

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)
        if len(self.slept) >= 5:
            raise asyncio.CancelledError

    async def turn(self) -> float:
        self.head = await self.thread.run(change_log.head, atomic=False)
        return await self.delivery.turn(self.receiver, self.lease)

    async def turns(self) -> None:
        """As many as it takes until nothing is left to do."""
        async with asyncio.timeout(10):
            while await self.turn() != IDLE_SECONDS:
                pass

    async def cursor(self) -> tuple[str, int, bool]:
        row: WebhookCursor = await self.thread.run(WebhookCursor.objects.get)
        return row.history, row.last_id, row.paused_at is not None


@pytest.fixture
async def sending(fake_clock: FakeClock) -> AsyncIterator[Sending]:
    """The history has one change, which was there before the target."""
    async with open_database_thread("test") as thread:
        await tell(thread)
        await tell(thread, "before")
        sending = Sending(thread, await take(DatabaseStore(thread), name="webhooks"), fake_clock)
        await sending.turns()
        yield sending


async def test_begins_with_what_comes_next(sending: Sending) -> None:
    """What was there before the target is not sent; what comes then is, each once, and the cursor is where it ends."""
    assert sending.receiver.taken == []
    await tell(sending.thread, "a", "b", "a", "c")
    await sending.turns()
    assert sending.receiver.names == ["a", "b", "a", "c"]
    assert sending.receiver.numbers == [2, 3, 4, 5]
    assert (await sending.cursor())[1] == 5
    report = sending.delivery.report()
    assert (report.state, report.behind, report.failing_seconds, report.error) == (TargetState.IDLE, 0, 0.0, None)
    assert report.outcomes["delivered"] == report.attempts_total == 4
    assert report.last_delivered_at == NOW


async def test_several_at_once(sending: Sending) -> None:
    """Events of different indices are under way at the same time, so many at most; those of one index never."""
    await tell(sending.thread, *map(str, range(30)))
    await sending.turns()
    assert sending.receiver.most_at_once == AT_ONCE
    assert sending.receiver.numbers == list(range(2, 32))
    sending.receiver.most_at_once = 0
    await tell(sending.thread, *(["a"] * 5))
    await sending.turns()
    assert sending.receiver.most_at_once == 1


async def test_only_what_is_wanted(sending: Sending) -> None:
    """A target gets the kinds and names of its entry, and every gap; the cursor goes on behind what is none of it."""
    sending.delivery = sending.made(Target("registry", TARGET.url, TARGET.secrets, ("logs-*",), ("changed",)))
    await tell(sending.thread, "logs-1", "orders")
    await tell(sending.thread, "logs-2", ".logs-3")
    await tell(sending.thread, "logs-1", kind=ChangeKind.DELETED)
    await sending.turns()
    assert sending.receiver.names == ["logs-1", "logs-2"]
    assert (await sending.cursor())[1] == 6
    await sending.thread.run(lambda: change_log.write(Entry(NOW, "i", "another", None, lambda _: (), gap=True), 100))
    await sending.turns()
    assert sending.receiver.names == ["logs-1", "logs-2", None]


async def test_failures(sending: Sending, caplog: pytest.LogCaptureFixture) -> None:
    """What fails is tried again, less and less often, one at a time, until it is taken; nothing overtakes it then.
    Logged when it begins and when it ends.
    """
    caplog.set_level(logging.INFO)
    await tell(sending.thread, "a", "b", "c")
    sending.receiver.answer = lambda event: FAILED if event.index == "b" else SENT
    assert [await sending.turn() for _ in range(4)] == [1.0, 2.0, 4.0, 8.0]
    assert sending.receiver.names == ["a", "c"]
    assert [event.index for event in sending.receiver.tried] == ["a", "b", "c", "b", "b", "b"]
    assert (await sending.cursor())[1] == 2
    sending.clock.advance(5)
    report = sending.delivery.report()
    assert (report.state, report.behind, report.error) == (TargetState.FAILING, 2, "it answered 500")
    assert (report.failing_since, report.failing_seconds, report.retry_in_seconds) == (NOW, 5.0, 3.0)
    await tell(sending.thread, "d", "b")
    assert await sending.turn() == 16.0
    sending.receiver.answer = lambda _: SENT
    await sending.turns()
    assert sending.receiver.names == ["a", "c", "b", "d", "b"]
    assert (await sending.cursor())[1] == 6
    assert sending.delivery.report().failing_since is None
    assert [record.getMessage() for record in caplog.records] == [
        "webhooks: registry does not take events: it answered 500",
        "webhooks: registry takes events again, after 5 failures",
    ]


async def test_case_68_down_for_hours(sending: Sending, figure: Figure) -> None:
    """A receiver that is down for six hours is tried at most once an hour in the end, and gets all that happened
    meanwhile within an hour of being back, in order; an hour is a moment here.
    """
    started_at = sending.clock()
    down_seconds = 6 * 3600.0
    sending.receiver.answer = lambda _: FAILED if sending.clock() - started_at < down_seconds else SENT
    attempts = 0
    while sending.receiver.taken == []:
        await tell(sending.thread, "a", "b")
        sending.clock.advance(await sending.turn())
        attempts += 1
    late_seconds = sending.clock() - started_at - down_seconds
    assert late_seconds <= 3600
    assert attempts <= 20
    await sending.turns()
    assert sending.receiver.numbers == list(range(2, 2 * attempts + 2))
    figure(68, f"down for 6 h (in a moment): {attempts} attempts, back after {late_seconds / 60:.0f} min, all in order")


async def test_the_receiver_is_left_alone(sending: Sending) -> None:
    """For as long as it asks for."""
    await tell(sending.thread, "a", "b")
    sending.receiver.answer = lambda _: Attempt(Outcome.FAILED, "it answered 503", 60.0)
    assert await sending.turn() == 60.0
    assert sending.delivery.report().retry_in_seconds == 60.0


async def test_nothing_is_lost_with_the_process(sending: Sending) -> None:
    """Another process goes on where the cursor is: what was delivered since comes twice, nothing is left out."""
    await tell(sending.thread, "a", "b", "c")
    sending.receiver.answer = lambda event: FAILED if event.index == "b" else SENT
    await sending.turn()
    sending.delivery = sending.made()
    sending.receiver.answer = lambda _: SENT
    await sending.turns()
    assert sending.receiver.names == ["a", "c", "b", "c"]
    ids = [event.message_id for event in sending.receiver.taken]
    assert ids[1] == ids[3]
    assert len(set(ids)) == 3


async def test_gone(sending: Sending) -> None:
    """After 410 nothing is sent, in whichever process, until the file is written again; then from where it ended."""
    await tell(sending.thread, "a", "b", "c")
    sending.receiver.answer = lambda event: Attempt(Outcome.GONE, "410") if event.index == "b" else SENT
    await sending.turns()
    assert sending.receiver.names == ["a", "c"]
    assert (await sending.cursor())[1:] == (2, True)
    assert sending.delivery.report().state is TargetState.PAUSED
    sending.receiver.answer = lambda _: SENT
    sending.delivery = sending.made()
    for sending.written_at in (None, (NOW - timedelta(seconds=1)).timestamp()):
        await sending.turns()
    assert sending.receiver.names == ["a", "c"]
    sending.written_at = (NOW + timedelta(seconds=1)).timestamp()
    await sending.turns()
    assert sending.receiver.names == ["a", "c", "b", "c"]
    assert (await sending.cursor())[1:] == (4, False)


async def test_what_is_not_kept_any_more(sending: Sending) -> None:
    """Changes that the history has dropped are told as one gap, whose id stays the same until it is taken; then comes
    what is left.
    """
    sending.receiver.answer = lambda _: FAILED
    await tell(sending.thread, "a", "b", "c", "d", kept=2)
    await sending.turn()
    await sending.turn()
    [first, second] = sending.receiver.tried
    assert (first.id, first.number, first.index, first.message_id) == ("lost-3", 3, None, second.message_id)
    assert (await sending.cursor())[1] == 1
    sending.receiver.answer = lambda _: SENT
    await sending.turns()
    assert [(event.index, event.number) for event in sending.receiver.taken] == [(None, 3), ("c", 4), ("d", 5)]
    assert sending.delivery.report().gaps_total == 1
    assert (await sending.cursor())[1] == 5


async def test_another_history(sending: Sending) -> None:
    """Where the database was set up anew all that it has is sent, after a gap, whether its ids are lower or not."""
    for name in ("other", "third"):
        await sending.thread.run(partial(HistoryHead.objects.update, name=name))
        await tell(sending.thread, name, kept=1)
        await sending.turns()
        assert (await sending.cursor())[0] == name
    assert sending.receiver.names == [None, "other", None, "third"]
    assert sending.receiver.taken[0].history == "other"
    await sending.thread.run(lambda: HistoryHead.objects.update(name="empty", last_id=0))
    await sending.thread.run(lambda: MappingChange.objects.all().delete())
    await sending.turns()
    assert sending.receiver.names[-1] is None
    assert (await sending.cursor())[:2] == ("empty", 0)


@pytest.mark.parametrize(
    ("column", "value"),
    [("last_id", "-5"), ("last_id", "'many'"), ("history", "x'ff'"), ("paused_at", "'2026-99-99 00:00:00'")],
)
async def test_edited_cursor(sending: Sending, column: str, value: str) -> None:
    """A cursor that somebody edited is ignored and counted: all that is kept is sent, after a gap; then it is right."""

    def edit() -> None:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA ignore_check_constraints = ON")
            cursor.execute(f"UPDATE cacheapp_webhookcursor SET {column} = {value}")  # noqa: S608

    await sending.thread.run(edit)
    sending.delivery = sending.made()
    await sending.turns()
    assert sending.receiver.names == [None, "before"]
    assert ignored_rows.total(HISTORY_MODELS) == 1
    assert (await sending.cursor())[1:] == (1, False)


async def test_the_lease_was_overtaken(sending: Sending) -> None:
    """Who lost the lease writes no cursor: it ends."""
    await tell(sending.thread, "a")
    await sending.thread.run(lambda: LeaseRow.objects.update(token=99))
    with pytest.raises(StaleToken):
        await sending.turn()
    sending.delivery = sending.made()
    with pytest.raises(StaleToken):
        await sending.turn()
    assert (await sending.cursor())[1] == 1


async def test_runs_until_it_is_cancelled(sending: Sending) -> None:
    """The task takes turns and sleeps in between; a database that is away is waited for. Afterwards it stands by."""
    assert sending.made().report().state is TargetState.STANDBY
    sending.delivery = sending.made()
    sending.head = await sending.thread.run(change_log.head, atomic=False)
    await tell(sending.thread, "a")
    sending.head = await sending.thread.run(change_log.head, atomic=False)
    run = sending.thread.run
    calls = 0

    async def sometimes(*args: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise StoreUnavailable("The database is away.")
        return await run(*args, **options)  # type: ignore[arg-type]

    sending.thread.run = sometimes  # type: ignore[method-assign, assignment]
    with pytest.raises(asyncio.CancelledError):
        await sending.delivery.run(sending.lease)
    assert sending.slept == [AWAY_SECONDS, 0.0, IDLE_SECONDS, IDLE_SECONDS, IDLE_SECONDS]
    assert sending.receiver.names == ["a"]
    report = sending.delivery.report()
    assert (report.state, report.behind, report.failing_seconds) == (TargetState.STANDBY, None, None)
    assert report.attempts_total == 1


async def test_nothing_is_read_while_nothing_changes(sending: Sending) -> None:
    """A turn without news, or before it is known where the history ends, asks the database nothing."""

    async def fail(*_: object, **__: object) -> object:
        raise AssertionError

    sending.thread.run = fail  # type: ignore[method-assign, assignment]
    for head in (sending.head, None):
        sending.head = head
        assert await sending.delivery.turn(sending.receiver, sending.lease) == IDLE_SECONDS
