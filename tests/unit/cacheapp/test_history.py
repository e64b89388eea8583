"""History's thread: what it writes when the process ends, and the check of the database."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from cacheapp import history as module
from cacheapp.history import History
from cacheapp.models import MappingChange
from cacheapp.reports import PassOutcome, RefreshReport
from cacheapp.state.changes import ChangeKind, IndexChange
from cacheapp.state.snapshot import Snapshot
from cacheapp.stores.database_thread import DatabaseThread, open_database_thread
from esassistant.clock import now_utc
from esassistant.database.connecting import forget_outages, outage_of
from esassistant.database.failures import DatabaseFailure
from esassistant.errors import StoreUnavailable
from esassistant.http.sessions import known_failure, session_outage

pytestmark = pytest.mark.django_db(transaction=True)


async def test_each_check_connects_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check makes a connection of the thread's own, which is closed afterwards: a database that went away since
    the last check is noticed.
    """
    connected: list[str] = []
    closed: list[str] = []
    owner: Any = BaseDatabaseWrapper  # Django's stubs don't have _close
    connect, close = owner.connect, owner._close

    def noted_connect(wrapper: Any) -> None:
        connected.append(threading.current_thread().name)
        connect(wrapper)

    def noted_close(wrapper: Any) -> None:
        closed.append(threading.current_thread().name)
        close(wrapper)

    def refuse(_: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(owner, "connect", noted_connect)
    monkeypatch.setattr(owner, "_close", noted_close)
    async with open_database_thread("own") as thread:
        history = History(thread, "test")
        await history.ping()
        await history.ping()
        assert connected == closed == ["own_0", "own_0"]
        monkeypatch.setattr(owner, "connect", refuse)
        with pytest.raises(StoreUnavailable):
            await history.ping()
        forget_outages()


def with_a_comparison(thread: DatabaseThread, **limits: Any) -> History:
    """A history in which one change of the snapshot waits to be compared."""
    history = History(thread, "test", **limits)
    history.note_snapshot(Snapshot())
    history.note_snapshot(Snapshot(indices={}))
    return history


async def test_what_is_being_compared_at_the_end_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing many mappings takes long: who ends the process waits for a few of them, and the rest is written then,
    once.
    """
    goes_on = threading.Event()

    def slowly(_before: Snapshot, _after: Snapshot) -> Iterator[IndexChange]:
        for number in range(3 * module.COMPARED_AT_ONCE):
            goes_on.wait(5)
            yield IndexChange(f"i{number}", ChangeKind.CREATED)

    monkeypatch.setattr(module, "index_changes", slowly)
    async with open_database_thread("own") as thread:
        history = with_a_comparison(thread)
        writing = asyncio.create_task(history.keep_writing())
        await asyncio.sleep(0.05)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        goes_on.set()
        assert history.report().waiting == 1
        await history.write_rest()
        assert (history.report().waiting, history.report().lost_total) == (0, 0)
    assert await MappingChange.objects.acount() == 3 * module.COMPARED_AT_ONCE


async def test_what_was_dropped_meanwhile_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that is full drops its oldest, also while that is being compared: it counts as lost, and is not
    written.
    """
    goes_on = threading.Event()
    first = [True]

    def slowly(_before: Snapshot, _after: Snapshot) -> Iterator[IndexChange]:
        if first:
            first.clear()
            goes_on.wait(5)
        yield IndexChange("i", ChangeKind.CREATED)

    monkeypatch.setattr(module, "index_changes", slowly)
    async with open_database_thread("own") as thread:
        history = with_a_comparison(thread, max_waiting=1)
        writing = asyncio.create_task(history.write_rest())
        await asyncio.sleep(0.05)
        history.note_snapshot(Snapshot(indices={}))
        goes_on.set()
        await writing
        assert (history.report().waiting, history.report().lost_total, history.report().rows_written_total) == (0, 1, 1)


async def test_probing_while_the_database_is_in_trouble() -> None:
    """A task tries while something is known to fail, and not else; checks and readers are told at once meanwhile."""
    pauses: list[float] = []
    failure = DatabaseFailure("could not be reached.", is_answer=False)
    known: list[bool] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        known.append(known_failure() is not None)
        if len(pauses) == 2:
            outage_of(connection.settings_dict).note_failure(failure)
        if len(pauses) == 4:
            raise asyncio.CancelledError

    async with open_database_thread("own") as thread:
        history = History(thread, "test", sleep=pause)
        session_outage.note_failure(failure)
        with pytest.raises(StoreUnavailable, match="could not be reached"):
            await history.ping()
        session_outage.note_success()
        outage_of(connection.settings_dict).note_failure(failure)
        for asking in (history.ping, lambda: history.latest_changes(["a"])):
            with pytest.raises(StoreUnavailable, match="could not be reached"):
                await asking()
        with pytest.raises(asyncio.CancelledError):
            await history.keep_probing()
    assert known == [True, False, False, False]
    assert len(set(pauses)) == 1


def rename(table: str, to: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {to}")


async def test_what_could_not_be_written_is_said_until_a_write_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    """By the report, and once in the log."""
    counts = dict.fromkeys(("read_total", "changed_total", "removed_total", "failed_total", "requests_total"), 0)
    report = RefreshReport(
        id="x",
        outcome=PassOutcome.COMPLETED,
        trigger="api",
        started_at=now_utc(),
        duration_seconds=1.0,
        indices_total=1,
        published=True,
        error=None,
        errors=(),
        **counts,
    )
    async with open_database_thread("own") as thread:
        history = History(thread, "test")
        await thread.run(lambda: rename("cacheapp_passrecord", "elsewhere"), atomic=False)
        try:
            for _ in range(2):
                history.note_pass(report)
                await history.write_rest()
        finally:
            await thread.run(lambda: rename("elsewhere", "cacheapp_passrecord"), atomic=False)
        told = history.report()
        assert (told.lost_total, "lacks a table" in (told.write_error or "")) == (2, True)
        history.note_pass(report)
        await history.write_rest()
        assert history.report().write_error is None
    assert caplog.text.count("a part of the history is lost") == 1
