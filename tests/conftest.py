"""What all tests share: one Elasticsearch node of their own, ended afterwards, and the application in the test's own
loop.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from coverage import Coverage
from elasticsearch import Elasticsearch
from hypothesis import settings as hypothesis_settings
from pytest_django import Settings

from cacheapp.rows import ignored_rows
from dev.elasticsearch.node import Node
from dev.servers.service import TOKEN
from esassistant.asgi import new_application
from esassistant.database.connecting import forget_outages
from esassistant.http.sessions import known_staff, session_outage
from esassistant.registry import registry
from tests.support.fixtures import Figure, OpenApp
from tests.support.nodes import NODE_VERSION

# The same examples each time, so that a failure is the change's; however long each takes on a machine with other work.
hypothesis_settings.register_profile("same", deadline=None, derandomize=True)
# Other examples each time: pytest --hypothesis-profile=other
hypothesis_settings.register_profile("other", deadline=None)
hypothesis_settings.load_profile("same")

# A node of the tests lives for seconds: with the quick compiler alone, starting one takes half of the processor time.
# In the environment, so that it holds for nodes that are started by what is tested, too.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

MEASURED: Final = tuple(Path(__file__).parent / name for name in ("unit", "stores"))
"""The folders of tests whose coverage counts. Others reach much without looking at it, and measuring takes its time."""
WARM_UP_SECONDS = 5
QUIET = {"refresh_interval": 0.0, "watch": False}
"""No schedule and no watch: calls are counted."""


def _is_measured(item: pytest.Item) -> bool:
    return any(item.path.is_relative_to(folder) for folder in MEASURED)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests whose coverage is measured first.

    A process imports a module once, fills a cache once, and keeps threads that were started while nothing was measured:
    after other tests, what is measured would depend on which of them ran in the same process.
    pytest-xdist keeps this order with `--no-loadscope-reorder` alone.
    """
    items.sort(key=lambda item: not _is_measured(item))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Measure no coverage from the first test on whose coverage doesn't count.

    pytest-cov's marker `no_cover` isn't enough: it leaves out the fixtures, fails with `--no-cov`, and in a process of
    pytest-xdist a second measurement of pytest-cov goes on, whose figures it throws away.
    """
    if not _is_measured(item):
        while (measurement := Coverage.current()) is not None:
            measurement.stop()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """`figure(1, "1 call, 0 errors")`: what the test of a case of docs/reliability.md measured, at the end of the test.

    Kept in the JUnit report as the properties `case` and `figure`, as `record_property` would, which warns about the
    default form of that report.
    """

    def record(case: int, text: str) -> None:
        request.node.user_properties += [("case", case), ("figure", text)]

    return record


@pytest.fixture(autouse=True)
def _no_outage_is_remembered() -> None:
    """What a test did to the database is not the next one's trouble."""
    forget_outages()
    session_outage.note_success()
    known_staff.forget_all()
    ignored_rows.clear()


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A real node of `NODE_VERSION` on a free port, with an empty data directory."""
    # Without it, "delete everything" is refused.
    settings = {"action.destructive_requires_name": "false"}
    data = Path(tmp_path_factory.mktemp("elasticsearch"))
    with Node(data, version=NODE_VERSION, settings=settings) as running:
        yield running


@pytest.fixture
def cluster(node: Node) -> Iterator[Elasticsearch]:
    """A client straight to the node, to arrange and to count; every index is gone afterwards."""
    with Elasticsearch(node.url, request_timeout=30) as client:
        yield client
        if client.indices.resolve_index(name="*").body["data_streams"]:
            # Without x-pack nothing but the end of the data directory deletes a data stream.
            node.stop()
            shutil.rmtree(node.data / "data")
            node.start()
        else:
            client.indices.delete(index="*", expand_wildcards="all", ignore_unavailable=True)


@pytest.fixture
def open_app(settings: Settings, transactional_db: None) -> OpenApp:
    """`async with open_app(url, cache={...}, health={...}) as http`: the application on a cluster, with settings
    replaced.
    """

    @asynccontextmanager
    async def opened(
        url: str, *, cache: dict[str, Any] | None = None, health: dict[str, Any] | None = None, **elasticsearch: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        config = settings.ESASSISTANT
        settings.ESASSISTANT = replace(
            config,
            elasticsearch=replace(config.elasticsearch, urls=(url,), **elasticsearch),
            mapping_cache=replace(config.mapping_cache, **{**QUIET, **(cache or {})}),
            health=replace(config.health, **(health or {})),
            api_tokens=(TOKEN,),
        )
        transport = httpx.ASGITransport(app=new_application())
        async with registry.open(), httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
            await _warm_up_ended()
            yield http

    return opened


async def _warm_up_ended() -> None:
    """Wait for the first pass to end, in whatever way: what a test counts and asks for is then its own."""
    async with asyncio.timeout(WARM_UP_SECONDS):
        while registry.read("refresher").passes_total == 0:  # noqa: ASYNC110  (reports are read, nothing is signalled)
            await asyncio.sleep(0.01)
