"""The pages of mappings in a real browser: typing filters, trees open, findings stand at their places; by keyboard,
without JavaScript, on paper.
"""

from collections.abc import Iterator

import pytest
from elasticsearch import Elasticsearch
from selenium.webdriver.common.keys import Keys

from dev.elasticsearch.node import Node
from tests.support.browser import NARROW, WIDE, Browser, OpenBrowser
from tests.support.browsing import serious, serving

pytestmark = pytest.mark.django_db(transaction=True)

WIDE_FIELDS = 20_000
PAGES = (
    "/browse/?group=family",
    "/browse/?group=name&sort=changes",
    "/browse/?q=price",
    "/browse/?q=nothing-like-it",
    "/browse/log-*",
    "/browse/shop?field=customer.name",
    "/browse/wide?under=box",
    "/browse/nowhere",
    "/changes",
    "/compare?a=log-1&b=log-2",
    "/compare",
    "/validate?name=shop",
    "/describe?name=shop&q=customer",
    "/describe",
)


@pytest.fixture
def cluster_of_pages(cluster: Elasticsearch) -> Elasticsearch:
    """A few indices: a family of which one member differs, and one index with twenty thousand fields."""
    no_replicas = {"number_of_replicas": 0}
    shop = {"properties": {"price": {"type": "long"}, "customer": {"properties": {"name": {"type": "text"}}}}}
    cluster.indices.create(index="shop", settings=no_replicas, mappings={"dynamic": "strict", **shop})
    for number in range(1, 6):
        kind = "keyword" if number == 2 else "ip"
        mappings = {"properties": {"client": {"type": kind}, "took_ms": {"type": "long"}}}
        cluster.indices.create(index=f"log-{number}", settings=no_replicas, mappings=mappings)
    inner = {f"field_{number:05}": {"type": "long"} for number in range(WIDE_FIELDS - 2)}
    cluster.indices.create(
        index="wide",
        settings={**no_replicas, "index.mapping.total_fields.limit": WIDE_FIELDS},
        mappings={"properties": {"box": {"properties": inner}, "last": {"type": "ip"}}},
    )
    return cluster


@pytest.fixture
def pages(node: Node, cluster_of_pages: Elasticsearch, open_browser: OpenBrowser) -> Iterator[Browser]:
    """A window, logged in, on a server of this cluster."""
    with serving(node.url) as server, open_browser(server.url) as browser:
        browser.log_in()
        yield browser


def type_into(browser: Browser, selector: str, text: str) -> None:
    box = browser.find(selector)
    box.clear()
    box.send_keys(text)


def test_typing_filters_names(pages: Browser) -> None:
    """What is typed filters the list and is in the address; the box keeps the focus; nothing found suggests names."""
    pages.open("/browse/")
    pages.wait_for_text("3 families of 7 indices.", "#found")
    pages.driver.execute_script("window.unreloaded = true")
    type_into(pages, "#pattern", "log")
    pages.wait_for_text("1 family of 5 indices.", "#found")
    assert "log-2 differs" in pages.text("#listed")
    pages.wait(lambda: "pattern=log" in pages.driver.current_url)
    pages.find("#pattern").send_keys("x")
    pages.wait_for_text("Nothing matches", "#listed")
    pages.wait_for_text("Did you mean", "#listed")
    assert pages.driver.execute_script("return document.activeElement.id") == "pattern"
    assert pages.driver.execute_script("return window.unreloaded")


def test_the_search_of_the_header(pages: Browser) -> None:
    """A slash leads to the search, from anywhere; it finds names and fields, and leads to a field."""
    pages.open("/browse/shop")
    pages.find("body").send_keys("/")
    assert pages.driver.execute_script("return document.activeElement.id") == "site-search"
    pages.driver.switch_to.active_element.send_keys("duration" + Keys.ENTER)
    pages.wait_for_text("Search for “duration”")

    def is_prepared() -> bool:
        # What is near by meaning is prepared when it is asked for first, which may take longer than a page waits.
        if "Near by meaning" not in pages.text("main"):
            pages.driver.refresh()
        return "Near by meaning" in pages.text("main")

    pages.wait(is_prepared, "what is near by meaning", seconds=60)
    pages.click("a[href='/browse/log*?field=took_ms#field']")
    pages.wait_for_text("Field took_ms", "main")
    assert "5 indices: log-1" in pages.text(".definitions")


def test_a_tree_without_end(pages: Browser) -> None:
    """Of twenty thousand fields each can be reached: objects open when asked to, and more rows come at their end."""
    pages.open("/browse/wide")
    pages.wait_for_text("20,000 fields", "#fields-found")
    pages.click("#fields-listed summary")
    pages.wait_for_text("field_00000", "#fields-listed")
    assert "field_00300" not in pages.text("#fields-listed")
    pages.click(".more-fields a")
    pages.wait_for_text("field_00300", "#fields-listed")
    type_into(pages, "#q", "field_19997")
    pages.wait_for_text("1 of 20,000 fields", "#fields-found")
    pages.click("#fields-listed summary")
    pages.wait_for_text("Can be searched", "#fields-listed .details")
    assert "/browse/wide?field=box.field_19997#field" in pages.text("#fields-listed .details")
    assert any(button.is_displayed() for button in pages.driver.find_elements("css selector", ".details button.copy"))


def test_details_by_keyboard(pages: Browser) -> None:
    """A field opens in place by the keyboard alone, and has an address that shows it."""
    pages.open("/browse/shop")
    row = pages.driver.find_elements("css selector", "#fields-listed .one > summary")[-1]
    row.send_keys(Keys.ENTER)
    pages.wait_for_text("price", ".one[open] .details")
    pages.wait_for_text("can be aggregated", ".one[open] .details")
    link = pages.find(".one[open] .permalink").get_attribute("href")
    assert link is not None
    pages.driver.get(link)
    pages.wait_for_text("Field price", "main")


def test_a_search_with_its_findings(pages: Browser) -> None:
    """The findings of a search stand at their lines, in the form and beside the body; the session's token is sent."""
    pages.open("/validate?name=shop")
    type_into(pages, "#search-body", '{"query":\n {"term": {"prise": 3}}}')
    pages.click("main button[type=submit]")
    pages.wait_for_text("line 2, column 12")
    assert pages.find(".marked mark.error").text == '"prise": 3'
    assert "price" in pages.text(".placed .meant")
    assert pages.find("#search-body").get_attribute("value") == '{"query":\n {"term": {"prise": 3}}}'


def test_what_changed(pages: Browser, cluster_of_pages: Elasticsearch) -> None:
    """Changes of the last days by day, alike ones together, with the way to the index and to a comparison."""
    for number in (6, 7):
        mappings = {"properties": {"client": {"type": "ip"}, "took_ms": {"type": "long"}}}
        cluster_of_pages.indices.create(index=f"log-{number}", settings={"number_of_replicas": 0}, mappings=mappings)
    cluster_of_pages.indices.put_mapping(index="shop", properties={"gift_note": {"type": "text"}})

    def has_all() -> bool:
        pages.open("/changes")
        said = pages.text("main")
        return "gift_note" in said and "2 indices of log*" in said

    pages.wait(has_all, "the changes")
    pages.click("a[href='/browse/shop']")
    pages.wait_for_text("Added: gift_note", "#history ~ ol")


def test_without_javascript(node: Node, cluster_of_pages: Elasticsearch, open_browser: OpenBrowser) -> None:
    """Forms, links and pages do all of it: filter, open, read on, search, validate."""
    with serving(node.url) as server, open_browser(server.url, javascript=False) as browser:
        browser.log_in()
        browser.open("/browse/")
        browser.find("#pattern").send_keys("log" + Keys.ENTER)
        browser.wait(lambda: "pattern=log" in browser.driver.current_url)
        assert "1 family of 5 indices." in browser.find("#found").text
        browser.open("/browse/wide")
        browser.find("#fields-listed summary .path").click()
        browser.find("#fields-listed li li a").click()
        browser.wait(lambda: "under=box" in browser.driver.current_url)
        browser.find(".more-fields a").click()
        browser.wait(lambda: "after=box.field_00299" in browser.driver.current_url)
        assert "field_00300" in browser.find("#fields-listed").text
        browser.find("#fields-listed summary .path").click()
        browser.find("#fields-listed .details a").click()
        browser.wait(lambda: "field=box.field_00300" in browser.driver.current_url)
        assert "Can be searched" in browser.find(".about-field").text
        browser.open("/validate?name=shop")
        browser.find("#search-body").send_keys('{"query": {"term": {"prise": 3}}}')
        browser.find("main button[type=submit]").click()
        assert "line 1, column 21" in browser.find(".placed").text


def test_a_session_that_ended_is_said(node: Node, cluster_of_pages: Elasticsearch, open_browser: OpenBrowser) -> None:
    """Who types after the session has ended is told so, and where to log in: no login appears in the list."""
    details = {"ESASSISTANT_DETAILS": "authorized"}
    with serving(node.url, **details) as server, open_browser(server.url) as browser:
        browser.log_in()
        browser.open("/browse/")
        browser.driver.delete_all_cookies()
        type_into(browser, "#pattern", "log")
        browser.wait_for_text("Your session has ended.", "main")
        assert "3 families" in browser.text("#found")
        assert all("401" in said for said in browser.console_errors())


def test_on_paper(pages: Browser) -> None:
    """Paper has the fields and no forms."""
    pages.open("/browse/shop")
    pages.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert "customer" in pages.text("#fields-listed")
    assert not pages.find("#q").is_displayed()
    assert not pages.find(".subnav").is_displayed()


def test_names_have_room_on_a_telephone(pages: Browser) -> None:
    """A name beside the title of its column is on one line if it has room there."""
    pages.resize(NARROW)
    pages.open("/browse/shop?field=customer.name")
    height = "return document.querySelector('.definitions td.which').getBoundingClientRect().height"
    assert pages.driver.execute_script(height) < 30


def test_the_guide_on_a_telephone(pages: Browser) -> None:
    """Tables of the guide end where the screen does: the last column isn't cut off."""
    pages.resize(NARROW)
    pages.open("/docs/operations")
    ends = "return [...document.querySelectorAll('.guide td')].map((one) => one.getBoundingClientRect().right)"
    assert max(pages.driver.execute_script(ends)) <= NARROW
    label = "return getComputedStyle(document.querySelector('#cause-refused').closest('td'), '::before').content"
    assert pages.driver.execute_script(label) == '"Message"'


def test_notes_stand_at_the_end(node: Node, cluster_of_pages: Elasticsearch, open_browser: OpenBrowser) -> None:
    """Browsers without CSS and scripts don't begin with what is hidden; a script lifts it to where it is seen."""
    with serving(node.url) as server:
        source = server.get("/browse/").text
        assert source.index("</main>") < source.index("What you asked for")
        with open_browser(server.url) as browser:
            browser.open("/browse/")
            assert browser.find("#main > [data-lost]").get_attribute("hidden") == "true"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(pages: Browser, scheme: str) -> None:
    """axe-core finds nothing serious on any page, in light and dark, and no page is wider than a small screen."""
    found: dict[tuple[str, int], list[str]] = {}
    too_wide: list[tuple[str, int]] = []
    pages.prefer(scheme)
    for path in PAGES:
        for width in (WIDE, NARROW):
            pages.resize(width)
            pages.open(path)
            found[path, width] = serious(pages)
            shown = pages.driver.execute_script("return document.documentElement.scrollWidth")
            if shown > width:
                too_wide.append((path, shown))
    pages.open("/validate?name=shop")
    type_into(pages, "#search-body", '{"query": {"term": {"prise": 3}}, "size": "x"}')
    pages.click("main button[type=submit]")
    pages.wait_for_text("What was found")
    found["a search", WIDE] = serious(pages)
    pages.console_errors()  # (of /browse/nowhere, which is 404)
    assert {where: violations for where, violations in found.items() if violations} == {}
    assert too_wide == []
