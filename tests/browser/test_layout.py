"""What all pages share, in a real browser: theme, search, keyboard, times, errors, charts."""

import pytest
from elasticsearch import Elasticsearch
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from dev.elasticsearch.node import Node
from tests.support.browser import Browser, OpenBrowser
from tests.support.browsing import serving

pytestmark = pytest.mark.django_db(transaction=True)

GROUND = "return getComputedStyle(document.body).backgroundColor"
ACTIVE = "return document.activeElement.id || document.activeElement.textContent.trim()"


def press(browser: Browser, *keys: str) -> str:
    """Press keys one after the other; returns what has the focus then."""
    for key in keys:
        ActionChains(browser.driver).send_keys(key).perform()
    return str(browser.driver.execute_script(ACTIVE))


def test_the_theme_is_kept(node: Node, cluster: Elasticsearch, open_browser: OpenBrowser) -> None:
    """The switch turns light into dark, on pages and in the admin alike, until it is turned back."""
    with serving(node.url) as server, open_browser(server.url) as browser:
        browser.log_in()
        browser.prefer("light")
        browser.open("/")
        light = browser.driver.execute_script(GROUND)
        browser.click(".theme-toggle")
        dark = browser.driver.execute_script(GROUND)
        assert dark != light
        for path in ("/browse/", "/admin/", "/admin/status/", "/docs/operations"):
            browser.open(path)
            assert browser.driver.execute_script(GROUND) == dark, path
        browser.click(".theme-toggle")
        browser.open("/admin/auth/user/")
        assert browser.driver.execute_script(GROUND) == light


def test_the_header(node: Node, cluster: Elasticsearch, open_browser: OpenBrowser) -> None:
    """It says which cluster this is, how the service is, and who is logged in; logging out asks, and then says so no
    more.
    """
    name = str(cluster.info()["cluster_name"])
    version = str(cluster.info()["version"]["number"])
    with serving(node.url, ESASSISTANT_DETAILS="authorized") as server, open_browser(server.url) as browser:
        browser.open("/")
        assert name not in browser.text()
        browser.wait_for_text("Log in", ".top")
        browser.log_in()
        browser.open("/")
        browser.wait_for_text(f"{name} {version}", ".top")
        browser.wait_for_text("healthy", ".top")
        browser.wait_for_text("ada", ".top")
        browser.click(".top .user a")
        browser.click("main button[type=submit]")
        browser.wait_for_text("Log in again")
        browser.open("/")
        browser.wait_for_text("Log in", ".top")


def test_by_keyboard(node: Node, cluster: Elasticsearch, open_browser: OpenBrowser) -> None:
    """The content, the brand and the search are the first three stops of each page; / leads to the search from
    anywhere, but not from a field that is typed in; Escape leads out of it.
    """
    with serving(node.url) as server, open_browser(server.url) as browser:
        browser.log_in()
        for path in ("/", "/browse/", "/admin/status/", "/docs/operations"):
            browser.open(path)
            assert press(browser, Keys.TAB) == "Skip to the content"
            assert press(browser, Keys.TAB, Keys.TAB) == "site-search"
        browser.open("/")
        assert press(browser, "/") == "site-search"
        assert press(browser, "a", "/") == "site-search"
        assert browser.find("#site-search").get_attribute("value") == "a/"
        assert press(browser, Keys.ESCAPE) != "site-search"
        assert press(browser, "/") == "site-search"
        press(browser, "o", "r", "d", Keys.ENTER)
        browser.wait(lambda: browser.driver.current_url.endswith("/browse/?q=ord"))


def test_the_skip_link(node: Node, cluster: Elasticsearch, open_browser: OpenBrowser) -> None:
    """It leads behind the header."""
    with serving(node.url) as server, open_browser(server.url) as browser:
        browser.open("/")
        assert press(browser, Keys.TAB, Keys.ENTER) == "main"


def test_times(node: Node, cluster: Elasticsearch, open_browser: OpenBrowser) -> None:
    """A moment counts on, and is told in the reader's time beside UTC where that is another."""
    with serving(node.url) as server, open_browser(server.url) as browser:
        browser.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kolkata"})
        browser.open("/")
        told = "return [...document.querySelectorAll('time.moment')].map((one) => [one.textContent, one.dateTime])"
        [[text, utc]] = browser.driver.execute_script(told)
        hour, minute = int(utc[11:13]), int(utc[14:16])
        local = f"{(hour + 5 + (minute + 30) // 60) % 24:02}:{(minute + 30) % 60:02}"
        assert f"{local}:{utc[17:19]} ({utc[11:19]} UTC)" in text
        browser.wait_for_text("s ago", "time.moment")


def test_error_pages(node: Node, cluster: Elasticsearch, open_browser: OpenBrowser) -> None:
    """In production a page that isn't there, and a form without its token, are pages in the layout with the id of the
    request.
    """
    with serving(node.url) as server, open_browser(server.url) as browser:
        browser.open("/nothing-here")
        for part in ("There is nothing at this address.", "Status 404, request"):
            browser.wait_for_text(part, "main")
        assert browser.find("#site-search").is_displayed()
        assert all("404" in said for said in browser.console_errors())
        script = "document.body.innerHTML = '<form method=post action=/admin/login/><button>send</button></form>'"
        browser.driver.execute_script(script)
        browser.click("button")
        browser.wait_for_text("Load the page again", "main")
        browser.wait_for_text("Status 403, request", "main")
        assert all("403" in said for said in browser.console_errors())


def test_charts(node: Node, cluster: Elasticsearch, open_browser: OpenBrowser) -> None:
    """A chart says what was at the minute that is pointed at, by pointer and by arrow keys, and goes on saying it when
    the page is renewed.
    """
    with serving(node.url) as server, open_browser(server.url) as browser:
        browser.log_in()
        chart = "#chart-requests"
        browser.find(f"{chart} svg")
        slots = browser.driver.find_elements("css selector", f"{chart} .slot")
        assert len(slots) == 60
        ActionChains(browser.driver).move_to_element(slots[30]).perform()
        browser.wait_for_text("no data", f"{chart} .at")
        browser.driver.execute_script(f"document.querySelector('{chart} svg').focus()")
        press(browser, Keys.ESCAPE)
        assert browser.text(f"{chart} .at") == ""
        press(browser, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
        said = browser.text(f"{chart} .at")
        assert "UTC:" in said
        browser.driver.execute_script(f"document.querySelector('{chart}').dataset.old = 'yes'")
        browser.wait(lambda: not browser.find(chart).get_attribute("data-old"))
        assert browser.text(f"{chart} .at")[5:9] == said[5:9]


def test_what_is_folded_stays_so(node: Node, cluster: Elasticsearch, open_browser: OpenBrowser) -> None:
    """Details that somebody opened are open after the page was renewed."""
    with serving(node.url) as server, open_browser(server.url) as browser:
        browser.log_in()
        browser.click("#open-pools")
        browser.driver.execute_script("document.querySelector('#part-pools').dataset.old = 'yes'")
        browser.wait(lambda: not browser.find("#part-pools").get_attribute("data-old"))
        assert "In use / max" in browser.text("#part-pools")


def test_what_to_do_leads_to_the_guide(node: Node, cluster: Elasticsearch, open_browser: OpenBrowser) -> None:
    """From a verdict that isn't healthy one click leads to its section of the guide."""
    with serving(node.url) as server, open_browser(server.url) as browser:
        cluster.indices.create(index="lonely", settings={"number_of_replicas": 1})
        browser.log_in()
        browser.wait_for_text("cluster status yellow", ".verdict")
        browser.click("#next-step")
        browser.wait(lambda: browser.driver.current_url.endswith("/docs/operations#verdict-cluster-yellow"))
        browser.wait_for_text("Elasticsearch is not quite well since", "main")
        assert (
            browser.driver.execute_script("return document.querySelector(':target').textContent")
            == "verdict-cluster-yellow"
        )


def test_on_paper(node: Node, cluster: Elasticsearch, open_browser: OpenBrowser) -> None:
    """Printed, a page has what is folded on the screen, in light colours, and neither navigation nor buttons."""
    with serving(node.url) as server, open_browser(server.url) as browser:
        browser.log_in()
        browser.prefer("dark")
        browser.open("/admin/status/?paused=1")
        is_shown = "return document.querySelector(arguments[0]).checkVisibility()"
        assert not browser.driver.execute_script(is_shown, "#part-pools .inside")
        dark = browser.driver.execute_script(GROUND)
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
        for shown in ("#part-pools .inside", ".verdict"):
            assert browser.driver.execute_script(is_shown, shown), shown
        for gone in (".top nav", "#site-search", "#refresh-now"):
            assert not browser.driver.execute_script(is_shown, gone), gone
        assert browser.driver.execute_script(GROUND) != dark
