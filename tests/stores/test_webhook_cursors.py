"""Cursors of webhooks on real databases: written by who holds the lease alone, whichever database it is."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from cacheapp.models import LeaseRow
from cacheapp.stores.database import DatabaseStore
from cacheapp.stores.database_thread import DatabaseThread, open_database_thread
from cacheapp.stores.protocol import Lease
from cacheapp.webhooks import cursors
from cacheapp.webhooks.cursors import Cursor
from esassistant.errors import StaleToken
from tests.support.changes import NOW, tell
from tests.support.states import take
from tests.support.stores import Backend


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.django_db(transaction=True)), "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    backend: Backend = request.getfixturevalue(request.param)
    return backend.name


@pytest.fixture
async def thread(database: str) -> AsyncIterator[DatabaseThread]:
    async with open_database_thread("cursors") as thread:
        yield thread


async def lease_of(thread: DatabaseThread, holder: str) -> Lease:
    return await take(DatabaseStore(thread), holder, name="webhooks")


async def load(thread: DatabaseThread, lease: Lease, target: str = "registry") -> Cursor:
    return await thread.run(lambda: cursors.load(target, lease))


async def save(thread: DatabaseThread, lease: Lease, cursor: Cursor) -> None:
    await thread.run(lambda: cursors.save("registry", cursor, lease))


async def test_a_new_target_begins_at_the_end(thread: DatabaseThread) -> None:
    """With what comes next; each target by itself."""
    await tell(thread)
    await tell(thread, "a", "b")
    lease = await lease_of(thread, "one")
    first = await load(thread, lease)
    await tell(thread, "c")
    assert first.last_id == 2
    assert await load(thread, lease) == first
    assert await load(thread, lease, "chat") == replace(first, last_id=3)


async def test_what_is_saved_is_loaded(thread: DatabaseThread) -> None:
    """By this process and by the next, a pause included."""
    lease = await lease_of(thread, "one")
    await load(thread, lease)
    for cursor in (Cursor("h", 7), Cursor("h", 9, NOW), Cursor("other", 2)):
        await save(thread, lease, cursor)
        assert await load(thread, lease) == cursor
    await DatabaseStore(thread).release(lease)
    assert await load(thread, await lease_of(thread, "two")) == Cursor("other", 2)


async def test_who_lost_the_lease_writes_nothing(thread: DatabaseThread) -> None:
    """A process that was frozen, and wakes up while another sends, doesn't turn its cursor back, nor makes one."""
    former = await lease_of(thread, "one")
    await save(thread, former, Cursor("h", 7))
    await thread.run(lambda: LeaseRow.objects.update(expires_at=NOW))
    present = await lease_of(thread, "two")
    await save(thread, present, Cursor("h", 9))
    with pytest.raises(StaleToken):
        await save(thread, former, Cursor("h", 8))
    with pytest.raises(StaleToken):
        await load(thread, former, "new")
    assert await load(thread, present) == Cursor("h", 9)
