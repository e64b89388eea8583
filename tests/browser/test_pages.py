"""What people see, in a real browser: the status page through an outage and back, refreshing, a new field, no
JavaScript.
"""

import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from tests.support.browser import NARROW, WIDE, OpenBrowser
from tests.support.browsing import serious, serving

pytestmark = pytest.mark.django_db(transaction=True)

MISSING = "/nothing-here"
"""A browser writes each answer of 404 to its console."""
PAGES = (
    "/",
    "/browse/",
    "/browse/shop",
    "/browse/?group=mapping",
    "/admin/status/",
    "/admin/status/refresh",
    "/admin/",
    "/admin/auth/user/",
    "/docs/operations",
    "/api/docs",
    "/problems/",
    "/logout",
    MISSING,
)


@pytest.fixture
def shop(cluster: Elasticsearch) -> Elasticsearch:
    """A cluster with two indices behind one alias."""
    for name, kind in (("shop", "keyword"), ("shop-old", "long")):
        cluster.indices.create(
            index=name,
            settings={"number_of_replicas": 0},
            mappings={"properties": {"price": {"type": kind}, "customer": {"properties": {"name": {"type": "text"}}}}},
            aliases={"shops": {}},
        )
    return cluster


def test_an_outage_and_its_end(node: Node, shop: Elasticsearch, open_browser: OpenBrowser) -> None:
    """The status page turns from healthy to what is wrong while the cluster is away, and back, without being
    reloaded.
    """
    with FaultProxy(node.url) as proxy, serving(proxy.url) as server, open_browser(server.url) as browser:
        browser.log_in()
        browser.wait_for_text("Healthy", ".verdict")
        browser.wait_for_text("Serving fresh mappings", ".verdict")
        browser.click("#open-transitions")
        browser.driver.execute_script("window.unreloaded = true")
        proxy.refuse()
        browser.wait_for_text("Unhealthy", ".verdict")
        browser.wait_for_text("could not be reached", ".verdict")
        assert " since " in browser.text(".verdict")
        browser.wait_for_text("unhealthy", "#part-transitions table")
        proxy.accept()
        browser.wait_for_text("Healthy", ".verdict", seconds=40)
        assert browser.driver.execute_script("return window.unreloaded")


def test_refreshing(node: Node, shop: Elasticsearch, open_browser: OpenBrowser) -> None:
    """Staff refresh after a question, read what came of it, and are told when the next one is possible."""
    with serving(node.url, MIN_REFRESH_INTERVAL=60) as server, open_browser(server.url) as browser:
        browser.log_in()
        browser.click("#refresh-now")
        browser.wait_for_text("Refresh all mappings?")
        browser.click("main button[type=submit]")
        browser.wait_for_text("The refresh has begun.")
        browser.click("#open-cache")
        browser.wait_for_text("(admin)", "#live")
        browser.wait_for_text("Refresh again in", "#live")
        browser.open("/admin/status/refresh")
        browser.click("main button[type=submit]")
        browser.wait_for_text("The next one is possible in")


def test_a_new_field_appears_by_itself(node: Node, shop: Elasticsearch, open_browser: OpenBrowser) -> None:
    """A field that is added in the cluster shows among the recent changes of the open page, and in the browser of
    mappings.
    """
    with serving(node.url) as server, open_browser(server.url) as browser:
        browser.log_in()
        browser.click("#open-history")
        browser.wait_for_text("None yet.", "#recent-changes")
        shop.indices.put_mapping(index="shop", properties={"gift_note": {"type": "text"}})
        browser.wait_for_text("1 field added", "#recent-changes")
        browser.open("/browse/shop")
        browser.wait_for_text("gift_note")


def test_paused(node: Node, shop: Elasticsearch, open_browser: OpenBrowser) -> None:
    """A paused page stays as it is; it says so, and goes on when told to."""
    with serving(node.url) as server, open_browser(server.url) as browser:
        browser.log_in()
        browser.click("a[href='?paused=1']")
        browser.wait_for_text("Paused at")
        assert browser.find("#live").get_attribute("hx-get") is None
        browser.click("a.button[href='/admin/status/']")
        browser.wait_for_text("Renewed every 5 seconds.")


def test_without_javascript(node: Node, shop: Elasticsearch, open_browser: OpenBrowser) -> None:
    """Everything is there and works without JavaScript: status, charts, refreshing, mappings."""
    with serving(node.url) as server, open_browser(server.url, javascript=False) as browser:
        browser.log_in()
        page = browser.driver.page_source
        for part in ("Serving fresh mappings", "<svg", "Connection pools and breakers", "Load again"):
            assert part in page
        browser.click("#refresh-now")
        browser.click("main button[type=submit]")
        browser.wait_for_text("The refresh has begun.")
        browser.open("/browse/shop?q=price")
        assert "price" in browser.find("main").text
        assert not any(button.is_displayed() for button in browser.driver.find_elements("css selector", "button.copy"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(node: Node, shop: Elasticsearch, open_browser: OpenBrowser, scheme: str) -> None:
    """axe-core finds nothing serious on any page, in light and dark, and no page is wider than a small screen."""
    found = {}
    with serving(node.url) as server, open_browser(server.url) as browser:
        browser.log_in()
        browser.prefer(scheme)
        for path in PAGES:
            for width in (WIDE, NARROW):
                browser.resize(width)
                browser.open(path)
                browser.driver.execute_script(
                    "document.querySelectorAll('details').forEach((one) => { one.open = true })"
                )
                found[path, width] = serious(browser)
                assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= width, path
        assert all(f"{MISSING} " in said for said in browser.console_errors())
    assert {where: violations for where, violations in found.items() if violations} == {}
