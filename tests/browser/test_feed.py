"""The change feed as a browser's own `EventSource` reads it."""

import json
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.ports import free_port
from dev.servers.process import wait_until
from dev.servers.service import Server
from tests.support.browser import Browser, OpenBrowser
from tests.support.deployments import SETTINGS, add_field, watches

pytestmark = pytest.mark.django_db(transaction=True)

FOLLOW = """
    window.got = [];
    window.source = new EventSource('/api/changes?pattern=shop');
    window.source.onmessage = (event) => window.got.push([event.lastEventId, event.data]);
"""


def got(browser: Browser) -> list[dict[str, Any]]:
    found: list[tuple[str, str]] = browser.driver.execute_script("return window.got")
    events = [json.loads(data) for _, data in found]
    assert [ident.partition("-")[0] for ident, _ in found] == [str(event["id"]) for event in events]
    return events


def test_a_browser_follows(node: Node, cluster: Elasticsearch, open_browser: OpenBrowser) -> None:
    """It gets a change as an event. When the server has gone and come back it reconnects by itself, and gets what
    happened meanwhile, once.
    """
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "date"}}})
    port = str(free_port())
    with Server(node.url, "--port", port, **SETTINGS) as server:
        wait_until(lambda: watches(server), 30)
        with open_browser(server.url) as browser:
            browser.open("/")
            browser.driver.execute_script(FOLLOW)
            browser.wait(lambda: browser.driver.execute_script("return window.source.readyState") == 1)
            server.end()
            add_field(cluster, "b")
            with Server(node.url, "--port", port, **SETTINGS) as again:
                wait_until(lambda: watches(again), 30)
                browser.wait(lambda: [event["kind"] for event in got(browser)] == ["changed"])
                add_field(cluster, "c")
                browser.wait(lambda: len(got(browser)) == 2)
                assert got(browser)[1]["added"] == ["c"]
                browser.driver.execute_script("window.source.close()")
            # While there was no server, the browser wrote that to its console.
            assert all("ERR_" in said for said in browser.console_errors())
