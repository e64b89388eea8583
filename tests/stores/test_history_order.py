"""The history's one order, on real databases: processes write at once, a reader misses none; beside version 1.0's rows;
what a publication says of it, in each store.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, transaction

from cacheapp import change_log
from cacheapp.history import History
from cacheapp.models import HistoryHead, MappingChange
from cacheapp.state.published import HistoryMark
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from cacheapp.state.visible import ALL_VISIBLE
from cacheapp.stores.database_thread import open_database_thread
from cacheapp.stores.protocol import Store
from esassistant.clock import monotonic
from tests.support.states import A_MAPPING, FIRST, load, take
from tests.support.stores import Backend

WRITERS = 4
CHANGES_EACH = 12


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.django_db(transaction=True)), "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    backend: Backend = request.getfixturevalue(request.param)
    return backend.name


def snapshot(*names: str) -> Snapshot:
    now, hashed = monotonic(), mapping_hash(A_MAPPING)
    return Snapshot(
        indices={name: IndexEntry(f"u-{name}", hashed, now, Source.MEMORY) for name in names},
        bodies={hashed: A_MAPPING},
        listed_at=now,
        listed=frozenset(names),
    )


@asynccontextmanager
async def process(name: str) -> AsyncIterator[History]:
    """A history with a connection of its own, as another process has."""
    async with open_database_thread(name) as thread:
        history = History(thread, name, mark_seconds=30.0)
        writing = asyncio.create_task(history.keep_writing())
        try:
            yield history
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)


@pytest.mark.usefixtures("database")
async def test_a_reader_misses_none_while_many_write() -> None:
    """Several processes record different changes, and the same ones, at once: each is told once, numbers have no holes,
    and who follows by `since` gets all of them in the order of their numbers, although he reads amid the commits.
    """
    async with AsyncExitStack() as stack:
        histories = [await stack.enter_async_context(process(f"p{number}")) for number in range(WRITERS)]
        reader = await stack.enter_async_context(process("reader"))
        await reader.mark(snapshot())
        names: list[str] = []
        followed: list[tuple[int | None, str, str | None]] = []
        expected = WRITERS * CHANGES_EACH

        async def write(number: int, history: History) -> None:
            for change in range(CHANGES_EACH):
                await asyncio.sleep(0.01)  # a cluster is not asked more often, and what it says is that much apart
                names.append(f"i-{number}-{change}")
                await history.mark(snapshot(*names))  # those of the others too, as far as they are known by now

        async def follow() -> None:
            since = 0
            while len(followed) < expected:
                page = await reader.changes(since=since, limit=7, visible=ALL_VISIBLE)
                followed.extend((change.id, change.kind, change.index) for change in page.changes)
                since = page.next

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(follow())
            for number, history in enumerate(histories):
                group.create_task(write(number, history))
    assert [one for one in followed if one[1] != "created"] == []
    assert [number for number, _, _ in followed] == list(range(1, expected + 1))
    assert sorted(name or "" for _, _, name in followed) == sorted(names)


@pytest.mark.usefixtures("database")
async def test_the_lock_orders_commits() -> None:
    """While one transaction has taken numbers and has not ended, no other takes any: a sequence would let a later one
    be seen first.
    """
    async with process("one") as one, process("two") as two:
        await one.mark(snapshot())
        held, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def hold() -> None:
            try:
                with transaction.atomic():
                    HistoryHead.objects.select_for_update().get()
                    loop.call_soon_threadsafe(held.set)
                    asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
            finally:
                connection.close()

        holding = asyncio.create_task(sync_to_async(hold, thread_sensitive=False)())
        await held.wait()
        waiting = asyncio.create_task(two.mark(snapshot("a")))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        assert (await one.changes(limit=10, visible=ALL_VISIBLE)).last_id == 0
        go_on.set()
        await holding
        assert (await waiting).last_id == 1


@pytest.mark.usefixtures("database")
async def test_rows_of_version_1_are_taken_in() -> None:
    """It writes rows whenever it likes, with keys of the sequence and without our columns: they are numbered behind a
    gap, once.
    """
    async with process("one") as one, process("two") as two:
        await one.mark(snapshot())
        await sync_to_async(insert_as_version_1, thread_sensitive=False)("old")
        async with asyncio.TaskGroup() as group:
            group.create_task(one.mark(snapshot("a")))
            group.create_task(two.mark(snapshot("a")))
        page = await two.changes(limit=10, visible=ALL_VISIBLE)
        assert [(change.id, change.kind, change.index) for change in page.changes] == [
            (1, "gap", None),
            (2, "created", "old"),
            (3, "created", "a"),
        ]


def insert_as_version_1(index: str) -> None:
    columns = [field.column for field in MappingChange._meta.concrete_fields]
    assert {"number", "family", "names", "compared_with"} <= set(columns)
    statement = """
        INSERT INTO cacheapp_mappingchange
            ("index", at, kind, compared, added, removed, retyped, altered,
             added_total, removed_total, retyped_total, altered_total, instance)
        VALUES (%s, '2026-01-01 00:00:00+00:00', 'created', %s, '[]', '[]', '[]', '[]', 0, 0, 0, 0, 'old')
    """
    with connection.cursor() as cursor:
        cursor.execute(statement, [index, False])
    connection.close()


@pytest.mark.usefixtures("database")
async def test_texts_that_a_database_does_not_take() -> None:
    """A field may be named by characters that PostgreSQL takes in no text: they don't stop the history."""
    odd = b'{"properties":{"a\\u0000b":{"type":"ip"},"\\ud800":{"type":"ip"}}}'
    async with process("one") as one:
        await one.mark(snapshot("a"))
        hashed = mapping_hash(odd)
        changed = replace(
            snapshot("a"),
            indices={"a": IndexEntry("u-a", hashed, monotonic(), Source.MEMORY)},
            bodies={hashed: odd},
        )
        assert (await one.mark(changed)).last_id == 1
        [change] = (await one.changes(limit=10, visible=ALL_VISIBLE)).changes
        assert change.added_total + change.compared >= 1


async def test_a_publication_says_how_far_its_changes_are_recorded(store: Store, other_store: Store) -> None:
    """In each store; nothing where the publisher says nothing, as version 1.0."""
    lease = await take(store)
    for mark in (HistoryMark("name", 7), HistoryMark("name", None, lost=True), None):
        await store.publish(replace(FIRST, history=mark), lease)
        assert (await load(other_store)).state.history == mark


@pytest.mark.usefixtures("database")
async def test_the_head_is_made_once() -> None:
    """Processes that start at once find the one name of the history."""
    heads = await asyncio.gather(*(sync_to_async(head_alone, thread_sensitive=False)() for _ in range(4)))
    assert len({head.name for head in heads}) == 1


def head_alone() -> change_log.Head:
    try:
        return change_log.head()
    finally:
        connection.close()
