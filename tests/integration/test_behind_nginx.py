"""The change feed through a real nginx, set up as docs/security.md says."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from django.conf import settings as django_settings
from elasticsearch import Elasticsearch

from cacheapp.feed.change_feed import HEARTBEAT_SECONDS
from dev.elasticsearch.node import Node
from dev.event_stream import following
from dev.packages import MissingPackage
from dev.ports import HOST
from dev.servers.nginx import Nginx, nginx
from dev.servers.process import wait_until
from dev.servers.service import Server
from tests.support.deployments import SETTINGS, add_field, watches

pytestmark = pytest.mark.django_db(transaction=True)

SILENT_SECONDS = HEARTBEAT_SECONDS + 1
"""A connection that is silent for so long is closed by nginx here; by itself, after a minute."""
SOON = 10.0


def documented() -> str:
    """The `server` block of the document, for plain HTTP on a port of its own."""
    text = (django_settings.BASE_DIR / "docs" / "security.md").read_text()
    [block] = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert isinstance(block, str)
    return block


def block_for(server: Server) -> str:
    replaced = {
        "listen 443 ssl;": f"listen {HOST}:{{port}};\n    proxy_read_timeout {SILENT_SECONDS:.0f}s;",
        "server_name es.example.org;": "",
        "http://127.0.0.1:8000": server.url,
    }
    block = documented()
    for written, meant in replaced.items():
        assert block.count(written) == 1, written
        block = block.replace(written, meant)
    return block


@pytest.fixture
def served(node: Node, cluster: Elasticsearch) -> Iterator[tuple[Server, Nginx]]:
    try:
        nginx()
    except MissingPackage as missing:
        pytest.skip(str(missing))
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "date"}}})
    with Server(node.url, "--forwarded-allow-ips", HOST, ESASSISTANT_DRAIN_SECONDS=1, **SETTINGS) as server:
        wait_until(lambda: watches(server), 40)
        with Nginx(block_for(server)) as proxy:
            yield server, proxy


def subscribers(server: Server) -> int:
    return int(server.get("/api/performance").json()["feed"]["subscribers"])


async def test_events_pass_at_once(served: tuple[Server, Nginx], cluster: Elasticsearch) -> None:
    """Nothing is held back, and a silence longer than nginx waits for ends nothing; the server hears of a client that
    leaves nginx, and the client of nginx that the server ends.
    """
    server, proxy = served
    async with following(f"{proxy.url}/api/changes") as stream:
        assert stream.status == 200
        await asyncio.to_thread(add_field, cluster, "b")
        [event] = await stream.wait_for(1, SOON)
        assert event.data["added"] == ["b"]
        await asyncio.sleep(SILENT_SECONDS + 2)
        assert not stream.ended.done()
        assert len(stream.comments) >= 2
        await asyncio.to_thread(add_field, cluster, "c")
        await stream.wait_for(2, SOON)
    await asyncio.to_thread(wait_until, lambda: subscribers(server) == 0, SOON)
    async with following(f"{proxy.url}/api/changes", last_event_id=stream.events[0].id) as again:
        [event] = await again.wait_for(1, SOON)
        assert event.data["added"] == ["c"]
        await asyncio.to_thread(server.end)
        async with asyncio.timeout(SOON):
            await again.ended
        assert again.is_whole
