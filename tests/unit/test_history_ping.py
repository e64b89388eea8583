"""The check of the database, which the history's thread makes."""

import threading
from typing import Any

import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from cacheapp.database_thread import open_database_thread
from cacheapp.history import History
from esassistant.errors import StoreUnavailable

pytestmark = pytest.mark.django_db(transaction=True)


async def test_each_check_connects_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check makes a connection of the thread's own, which is closed afterwards: a database that went away since the
    last check is noticed.
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
