"""Helpers for tests of the running application: refresh it, and wait for its watch and its history."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from cacheapp.reports import RefreshReport, WatchReport, WatchState
from cacheapp.state.visible import ALL_VISIBLE
from dev.servers.service import TOKEN
from esassistant.registry import registry
from tests.support.fixtures import OpenApp

BEARER = {"Authorization": f"Bearer {TOKEN}"}
WATCHED: dict[str, Any] = {"watch": True, "min_refresh_interval": 0.0}
QUIET_SECONDS = 0.8
"""After a change the watch may look a second time within this time; after that it only waits."""


def report() -> WatchReport:
    watch: WatchReport = registry.read("watch")
    return watch


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> float:
    """Wait for a condition, and return the seconds that it took."""
    started_at = time.monotonic()
    while not condition():
        assert time.monotonic() - started_at < seconds, f"not so within {seconds} s; the watch is {report()}"
        await asyncio.sleep(0.005)
    return time.monotonic() - started_at


@asynccontextmanager
async def watching(open_app: OpenApp, url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with open_app(url, cache=WATCHED) as http:
        await until(lambda: report().state is WatchState.WATCHING)
        await asyncio.sleep(QUIET_SECONDS)
        yield http


async def refreshed(http: httpx.AsyncClient) -> RefreshReport:
    await http.post("/api/cache/refresh?wait=true", headers=BEARER)
    last: RefreshReport = registry.read("refresher").last
    return last


async def refresh_with_history(http: httpx.AsyncClient) -> None:
    """Refresh, and wait until its changes are written to the history."""
    await refreshed(http)
    async with asyncio.timeout(5):
        while registry.read("history").waiting:  # noqa: ASYNC110  (reports are read, nothing is signalled)
            await asyncio.sleep(0.01)
    await registry.get("history").latest_changes(["behind what is being written"], ALL_VISIBLE)
