"""History: what it records, in which order; what it shows of that; and its thread."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext

from cacheapp import change_log
from cacheapp.errors import ChangesGone, MappingNotFound
from cacheapp.history import OUTLINES_AT_ONCE, History
from cacheapp.models import MappingChange
from cacheapp.reports import PassOutcome, RefreshReport
from cacheapp.shown_changes import RecentChanges
from cacheapp.state.changes import GONE_SECONDS, ChangeKind
from cacheapp.state.choice import NameChoice
from cacheapp.state.expressions import Expression, parse
from cacheapp.state.published import HistoryMark, StoredIndex, StoredState
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from cacheapp.state.visible import ALL_VISIBLE, Visible
from cacheapp.stores.database_thread import open_database_thread
from esassistant.clock import monotonic, now_utc
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


ONE, TWO = (b'{"properties":{"a":{"type":"%s"}}}' % kind for kind in (b"long", b"ip"))
NO_STATE = StoredState(0.0, {}, {}, {})


def snapshot(**indices: bytes) -> Snapshot:
    """Indices with these mappings, listed and read now, at a moment that a database tells from the one before."""
    time.sleep(1.2 * GONE_SECONDS)
    now = monotonic()
    return Snapshot(
        indices={
            name: IndexEntry(f"u-{name}", mapping_hash(body), now, Source.MEMORY) for name, body in indices.items()
        },
        bodies={mapping_hash(body): body for body in indices.values()},
        listed_at=now,
        listed=frozenset(indices),
        cluster_uuid="cluster",
    )


@asynccontextmanager
async def writing(**options: Any) -> AsyncIterator[History]:
    """A history whose task writes."""
    async with open_database_thread("own") as thread:
        history = History(thread, "test", **options)
        task = asyncio.create_task(history.keep_writing())
        try:
            yield history
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def told(history: History, **asked: Any) -> list[tuple[int | None, str, str | None]]:
    """Number, kind and index of the changes that are kept."""
    page = await history.changes(limit=1_000, **{"visible": ALL_VISIBLE, **asked})
    return [(change.id, change.kind, change.index) for change in page.changes]


async def test_what_is_published_is_recorded() -> None:
    """A publication carries the number of the last change that is in it; what the first snapshot has is no news."""
    async with writing() as history:
        first = await history.mark(snapshot(a=ONE))
        assert (first.last_id, first.lost, len(first.name)) == (0, False, 16)
        after = snapshot(a=TWO, b=ONE)
        assert await history.mark(after) == HistoryMark(first.name, 2)
        assert await history.mark(after) == HistoryMark(first.name, 2)
        assert await told(history) == [(1, "changed", "a"), (2, "created", "b")]
        assert (history.report().rows_written_total, history.report().name) == (2, first.name)


async def test_who_takes_over_neither_loses_nor_doubles() -> None:
    """Another process that finds the same records nothing of it; what nobody recorded before its end it does, with the
    time it was seen, also without having known anything.
    """
    async with writing() as history:
        await history.mark(snapshot(a=ONE))
        await history.mark(snapshot(a=TWO))
    for _ in range(2):
        async with writing() as other:
            await other.mark(snapshot(a=TWO))
            assert await told(other) == [(1, "changed", "a")]
    async with writing() as later:
        await later.mark(snapshot(b=ONE))
        assert await told(later) == [(1, "changed", "a"), (2, "deleted", "a"), (3, "created", "b")]


async def test_what_others_published() -> None:
    """Recorded in this database: it is known then. Not yet: whoever reads the cluster next records it. In another
    database: this process records it here too.
    """
    a, b, c = ({"a": ONE}, {"a": ONE, "b": ONE}, {"a": ONE, "b": ONE, "c": ONE})
    async with writing() as history, writing() as other:
        await history.mark(snapshot(**a))
        mark = await other.mark(snapshot(**b))
        await history.note_published(published(mark, **b), {}, snapshot(**b))
        await history.mark(snapshot(**b))
        assert await told(history) == [(1, "created", "b")]
        for name in (mark.name, ""):
            await history.note_published(published(HistoryMark(name, None), **c), {}, snapshot(**c))
        assert history.report().waiting == 0
        await history.mark(snapshot(**c))
        assert await told(history) == [(1, "created", "b"), (2, "created", "c")]
        await history.note_published(published(HistoryMark("another", 7), **a), {}, snapshot(**a))
        await until(lambda: not history.report().waiting)
        assert [kind for _, kind, _ in await told(history)] == ["created", "created", "deleted", "deleted"]


def published(mark: HistoryMark | None, **indices: bytes) -> StoredState:
    """A state of these indices."""
    stored = {name: StoredIndex(f"u-{name}", mapping_hash(body)) for name, body in indices.items()}
    return StoredState(0.0, stored, {}, {}, history=mark)


async def test_beside_version_1() -> None:
    """What it publishes is taken over behind a gap; what it writes is numbered then, behind a gap too."""
    async with writing() as history:
        await history.mark(snapshot(a=ONE))
        await history.note_published(NO_STATE, {}, snapshot(a=TWO))
        await until(lambda: not history.report().waiting)
        assert await told(history) == [(1, "gap", None)]
        await as_version_1("a", "changed")
        await history.mark(snapshot(a=TWO, b=ONE))
        await as_version_1("c", "created")
        await until_async(lambda: MappingChange.objects.filter(number=None).acount())
        assert await told(history) == [
            (1, "gap", None),
            (2, "changed", "a"),
            (3, "created", "b"),
            (4, "gap", None),
            (5, "created", "c"),
        ]
        assert history.report().gaps_total == 2


async def test_a_database_that_is_away_delays_little() -> None:
    """A publication waits once, and not again; what was seen meanwhile is written in order once it is back, behind a
    gap where that was more than can wait.
    """
    async with writing(mark_seconds=0.2, max_seen=3, sleep=quickly) as history:
        name = (await history.mark(snapshot(a=ONE))).name
        outage = outage_of(connection.settings_dict)
        outage.note_failure(DatabaseFailure("could not be reached.", is_answer=False))
        assert await history.mark(snapshot(a=TWO)) == HistoryMark(name, None)
        assert await history.mark(snapshot(a=TWO, b=ONE)) == HistoryMark(name, None)
        outage.note_success()
        await until(lambda: not history.report().waiting)
        assert await told(history) == [(1, "changed", "a"), (2, "created", "b")]
        outage.note_failure(DatabaseFailure("could not be reached.", is_answer=False))
        await asyncio.sleep(0.05)
        marks = [await history.mark(snapshot(a=ONE, **{f"i{number}": ONE})) for number in range(5)]
        assert marks[-1] == HistoryMark(name, None, lost=True)
        assert history.report().lost_total == 2
        await asyncio.sleep(0.05)  # until an attempt that began before these is over
        outage.note_success()
        await until(lambda: not history.report().waiting)
        kinds = [kind for _, kind, _ in await told(history)]
        assert (kinds[2], kinds.count("gap")) == ("gap", 1)
        assert await history.mark(snapshot(a=ONE, i4=ONE)) == HistoryMark(name, len(kinds))
    forget_outages()


async def test_what_the_publisher_lost_is_said_by_who_goes_on() -> None:
    """A process that lost something and died: the next that finds news says so, once."""
    async with writing() as history:
        name = (await history.mark(snapshot(a=ONE))).name
        await history.note_published(replace(NO_STATE, history=HistoryMark(name, None, lost=True)), {}, snapshot(a=TWO))
        await history.mark(snapshot(a=TWO))
        await history.mark(snapshot(a=ONE))
        assert [kind for _, kind, _ in await told(history)] == ["gap", "changed", "changed"]


async def test_hidden_indices() -> None:
    """What the cluster still has, or denies, is hidden, not deleted; it is shown again as what it was."""

    async def ask(names: Sequence[str]) -> frozenset[str]:
        return frozenset({"hidden"}) & frozenset(names)

    async with writing() as history:
        history.ask_hidden_by(ask)
        await history.mark(snapshot(hidden=ONE, gone=ONE))
        await history.mark(snapshot())
        await history.mark(snapshot(hidden=TWO))
        page = await history.changes(limit=10, visible=ALL_VISIBLE)
        assert [(one.kind, one.index, one.compared) for one in page.changes] == [
            ("deleted", "gone", False),
            ("hidden", "hidden", False),
            ("shown", "hidden", False),
        ]


async def test_another_cluster_is_a_gap() -> None:
    """That another cluster's indices are others is no news of the indices that were there before."""
    async with writing() as history:
        await history.mark(snapshot(a=ONE))
        await history.mark(replace(snapshot(b=ONE), cluster_uuid="another"))
        await history.mark(replace(snapshot(b=TWO), cluster_uuid="another"))
        assert await told(history) == [(1, "gap", None), (2, "changed", "b")]


async def test_pages_of_changes() -> None:
    """All of it, page by page, oldest first; what isn't kept any more, or never was, is said."""
    async with writing(kept_changes=4) as history:
        await history.mark(snapshot())
        for number in range(1, 7):
            await history.mark(snapshot(**{f"i{n}": ONE for n in range(number)}))
        page = await history.changes(limit=3, visible=ALL_VISIBLE)
        assert ([one.id for one in page.changes], page.next, page.oldest_id, page.last_id) == ([3, 4, 5], 5, 3, 6)
        page = await history.changes(since=page.next, limit=3, visible=ALL_VISIBLE)
        assert ([one.id for one in page.changes], page.next) == ([6], 6)
        assert (await history.changes(since=6, limit=3, visible=ALL_VISIBLE)).changes == []
        assert len((await history.changes(since=2, limit=10, visible=ALL_VISIBLE)).changes) == 4
        for since, why in ((1, "the oldest is 3"), (7, "ends with id 6")):
            with pytest.raises(ChangesGone, match=why) as gone:
                await history.changes(since=since, limit=3, visible=ALL_VISIBLE)
            assert gone.value.members == {"oldest_id": 3, "last_id": 6}
        await MappingChange.objects.all().adelete()
        with pytest.raises(ChangesGone, match="none is"):
            await history.changes(since=5, limit=3, visible=ALL_VISIBLE)
        page = await history.changes(limit=3, visible=ALL_VISIBLE)
        assert (page.changes, page.next, page.oldest_id) == ([], 6, None)


async def test_the_newest() -> None:
    """What follows a number, or the last few, at one look; from where on that is all: rows may be gone, and holes that
    somebody made are none.
    """
    async with writing(kept_changes=6) as history:
        await history.mark(snapshot())
        nothing = await history.newest(None, 3)
        assert (nothing.after, nothing.last_id, nothing.changes) == (0, 0, ())
        for number in range(1, 9):
            await history.mark(snapshot(**{f"i{n}": ONE for n in range(number)}))

        async def newest(after: int | None, most: int) -> tuple[int, int, list[int]]:
            found = await history.newest(after, most)
            assert found.head.last_id == 8
            assert [outline.id for outline, _ in found.changes] == [change.id for _, change in found.changes]
            return found.after, found.last_id, [outline.id for outline, _ in found.changes]

        assert await newest(None, 3) == (5, 8, [6, 7, 8])
        assert await newest(6, 3) == (6, 8, [7, 8])
        assert await newest(8, 3) == (8, 8, [])
        assert await newest(99, 3) == (5, 8, [6, 7, 8])

        def queries() -> int:
            with CaptureQueriesContext(connection) as found:
                change_log.newest(8, 3)
            return len(found)

        assert await history._thread.run(queries, atomic=False) == 1  # where nothing is new, of the head alone
        assert await newest(0, 20) == (2, 8, [3, 4, 5, 6, 7, 8])
        await MappingChange.objects.filter(number__in=[4, 6]).adelete()
        assert await newest(3, 20) == (3, 8, [5, 7, 8])
        await MappingChange.objects.filter(number=7).aupdate(kind="x", added_total=-1)
        assert await newest(5, 20) == (5, 8, [8])
        await MappingChange.objects.all().adelete()
        assert await newest(3, 20) == (8, 8, [])


async def test_who_wants_to_hear_of_changes() -> None:
    """They are called when this process wrote something, and when it took over what is recorded; not of nothing new."""
    heard: list[int] = []
    async with writing() as history, writing() as other:
        await history.mark(snapshot(a=ONE))
        with history.telling(lambda: heard.append(1)):
            after = snapshot(a=TWO)
            await history.mark(after)
            assert len(heard) == 1
            await history.mark(after)
            assert len(heard) == 1
            mark = await other.mark(snapshot(b=ONE))
            await history.note_published(published(mark, b=ONE), {}, snapshot(b=ONE))
            assert len(heard) == 2
        await history.mark(snapshot(c=ONE))
        assert len(heard) == 2


async def test_which_changes() -> None:
    """By pattern, of deleted names and aliases too; by kind; and what a caller may see: gaps come with all."""
    async with writing() as history:
        await history.mark(snapshot())
        await history.mark(
            replace(
                snapshot(**{".ds-1": ONE, "orders": ONE}),
                aliases={"logs": (".ds-1",), "all": (".ds-1", "orders")},
            )
        )
        await history.mark(snapshot(orders=TWO))
        await as_version_1("x", "created")
        await history.mark(snapshot(orders=ONE))
        everything = [
            (1, "created", ".ds-1"),
            (2, "created", "orders"),
            (3, "deleted", ".ds-1"),
            (4, "changed", "orders"),
            (5, "gap", None),
            (6, "created", "x"),
            (7, "changed", "orders"),
        ]
        assert await told(history) == everything
        streams = [everything[0], everything[2], everything[4]]
        assert await told(history, chosen_by=NameChoice(parse("logs*"))) == streams
        assert await told(history, visible=Visible(("logs",))) == streams
        assert await told(history, chosen_by=NameChoice(parse("orders,al*,-logs"))) == [
            one for one in everything if one[2] in ("orders", None)
        ]
        # The name of an alias beyond a scope chooses nothing, and takes nothing away.
        orders, scope = [one for one in everything if one[2] in ("orders", None)], Visible(("orders",))
        assert await told(history, visible=scope, chosen_by=NameChoice(parse("al*"))) == [everything[4]]
        assert await told(history, visible=scope, chosen_by=NameChoice(parse("o*,-all"))) == orders
        assert await told(history, kinds=[ChangeKind.DELETED]) == [everything[2], everything[4]]
        page = await history.changes(limit=1, visible=Visible(("orders",)))
        assert (page.changes[0].index, page.changes[0].family, page.next) == ("orders", "orders", 2)


async def test_the_latest_changes() -> None:
    """Newest first, in pages, since a moment, of those that are chosen and visible; what all of them sum up to."""
    async with writing() as history:
        await history.mark(snapshot())
        await history.mark(snapshot(orders=ONE, vault=ONE))
        await history.mark(snapshot(orders=TWO, vault=ONE))
        await history.mark(snapshot(orders=TWO))

        async def recent(**asked: Any) -> RecentChanges:
            return await history.recent(**{"since": None, "before": None, "limit": 10, "visible": ALL_VISIBLE, **asked})

        everything = await recent()
        assert [(one.id, one.kind) for one in everything.changes] == [
            (4, "deleted"),
            (3, "changed"),
            (2, "created"),
            (1, "created"),
        ]
        totals = everything.totals
        assert (totals.total, totals.kinds, totals.indices_total) == (4, {"deleted": 1, "changed": 1, "created": 2}, 2)
        assert (totals.retyped_total, totals.added_total, everything.next_before) == (1, 0, None)
        first = await recent(limit=3)
        assert ([one.id for one in first.changes], first.next_before, first.totals.total) == ([4, 3, 2], 2, 4)
        assert [one.id for one in (await recent(before=first.next_before)).changes] == [1]
        assert [one.id for one in (await recent(visible=Visible(("orders",)))).changes] == [3, 1]
        assert [one.id for one in (await recent(chosen_by=NameChoice(parse("va*")))).changes] == [4, 2]
        assert [one.id for one in (await recent(kinds=[ChangeKind.CREATED])).changes] == [2, 1]
        counts = await history.counts_since(now_utc() - timedelta(minutes=5))
        assert {index: one.total for index, one in counts.items()} == {"orders": 2, "vault": 2}
        assert counts["vault"].last_at == everything.changes[0].at
        # What somebody edited to what no change is, is left out.
        await MappingChange.objects.filter(number=3).aupdate(index=" " * 3, added_total=-1)
        assert [one.id for one in (await recent()).changes] == [4, 2, 1]
        later = now_utc() + timedelta(minutes=5)
        assert await history.counts_since(later) == {}
        nothing = await recent(since=later)
        assert (nothing.changes, nothing.totals.total, nothing.totals.added_total) == ([], 0, 0)
        assert nothing.oldest_at == everything.changes[-1].at
        # It is of all names, and tells of those that aren't visible.
        assert (await recent(visible=Visible(("orders",)))).oldest_at is None


async def test_many_changes_are_looked_through_in_parts() -> None:
    """Nothing is lost or doubled between two parts, between which others have their turn in the database's thread."""
    total = 2 * OUTLINES_AT_ONCE + 1
    async with writing(mark_seconds=60.0) as history:
        await history.mark(snapshot())
        await history.mark(snapshot(**{f"i{number}": ONE for number in range(total)}))
        found = await history.recent(since=None, before=None, limit=total, visible=ALL_VISIBLE)
        assert [one.id for one in found.changes] == list(range(total, 0, -1))


async def test_a_list_with_a_name_beyond_a_scope() -> None:
    """Isn't there, whether something is recorded of it or not, and whether it is still there."""
    async with writing() as history:
        await history.mark(snapshot())
        await history.mark(snapshot(orders=ONE, gone=ONE, payroll=ONE))
        after = snapshot(orders=ONE, payroll=TWO)
        await history.mark(after)
        for name in ("gone", "payroll", "absent"):
            with pytest.raises(MappingNotFound, match=f"named '{name}'"):
                await history.changes_matching(after, Expression(f"orders*,{name}", Visible(("orders",))))
        whole = await history.changes_matching(after, Expression("orders*,gone", ALL_VISIBLE))
        assert {change.index for change in whole} == {"orders", "gone"}


async def test_a_new_member_of_a_family_tells_how_it_differs() -> None:
    """From the one before it; not to who may not see that."""
    async with writing() as history:
        await history.mark(snapshot(**{"logs-1": ONE}))
        await history.mark(snapshot(**{"logs-1": ONE, "logs-2": TWO}))
        for visible, compared in ((Visible(), "logs-1"), (Visible(("logs-2",)), None)):
            [change] = (await history.changes(limit=10, visible=visible)).changes
            assert (change.kind, change.family, change.compared_with) == ("created", "logs*", compared)
            assert (change.compared, change.retyped_total) == (compared is not None, int(compared is not None))


AS_VERSION_1 = """
INSERT INTO cacheapp_mappingchange
    ("index", at, kind, compared, added, removed, retyped, altered,
     added_total, removed_total, retyped_total, altered_total, instance)
VALUES (%s, '2026-01-01 00:00:00', %s, %s, '[]', '[]', '[]', '[]', 0, 0, 0, 0, 'old')
"""


async def as_version_1(index: str, kind: str) -> None:
    """Write a row as version 1.0 does, which knows none of the later columns."""

    def insert() -> None:
        with connection.cursor() as cursor:
            cursor.execute(AS_VERSION_1, [index, kind, False])

    await sync_to_async(insert)()


async def quickly(_: float) -> None:
    await asyncio.sleep(0.01)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (reports are read, nothing is signalled)
            await asyncio.sleep(0.01)


async def until_async(count: Callable[[], Awaitable[int]]) -> None:
    async with asyncio.timeout(10):
        while await count():  # noqa: ASYNC110  (rows are counted, nothing is signalled)
            await asyncio.sleep(0.05)


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
        for asking in (history.ping, lambda: history.latest_changes(["a"], ALL_VISIBLE)):
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
    assert caplog.text.count("the history can't be written") == 1
