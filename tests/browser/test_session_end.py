"""Case 62: the session of somebody who looks at the status page ends."""

from urllib.parse import urlsplit

import pytest
from django.contrib.sessions.models import Session

from dev.elasticsearch.node import Node
from dev.servers.process import wait_until
from dev.servers.service import Server
from tests.support.browser import PASSWORD, Browser, OpenBrowser
from tests.support.fixtures import Figure

pytestmark = pytest.mark.django_db(transaction=True)

ENDED = "Your session has ended."


def log_in_again(browser: Browser) -> str:
    """Log in at the login that is open; returns the path that this leads to."""
    browser.find("input[name=username]").send_keys("ada")
    browser.find("input[name=password]").send_keys(PASSWORD)
    browser.click("input[type=submit]")
    browser.wait(lambda: "/login/" not in browser.driver.current_url)
    return urlsplit(browser.driver.current_url).path


def test_case_62_the_session_ends(node: Node, open_browser: OpenBrowser, figure: Figure) -> None:
    """The open page says so, keeps what it showed, and its link leads to the login, which leads back to the page."""
    with Server(node.url) as server, open_browser(server.url) as browser:
        wait_until(lambda: server.get("/readyz").status_code == 200, 20)
        browser.log_in()
        browser.wait_for_text("Renewed every 5 seconds.")
        assert ENDED not in browser.text()
        Session.objects.all().delete()
        browser.wait_for_text(ENDED)
        assert "Connection pools and breakers" in browser.text("#live")
        assert browser.driver.find_elements("css selector", "#live input[name=password]") == []
        browser.click("[data-ended] a")
        # A browser writes each answer of 401 to its console.
        assert all("401" in said and "/admin/status/live" in said for said in browser.console_errors())
        led_to = log_in_again(browser)
        browser.wait_for_text("Renewed every 5 seconds.")
        assert ENDED not in browser.text()
        browser.open("/admin/status/live")
        assert urlsplit(browser.driver.current_url).path == "/admin/status/"
    assert led_to == "/admin/status/"
    figure(62, "said by the open page; the login leads back to it")


def test_case_62_without_javascript(node: Node, open_browser: OpenBrowser, figure: Figure) -> None:
    """Loading the page again leads to the login and back; so does its question whether to refresh."""
    with Server(node.url) as server, open_browser(server.url, javascript=False) as browser:
        wait_until(lambda: server.get("/readyz").status_code == 200, 20)
        browser.log_in()
        led_to = []
        for path in ("/admin/status/", "/admin/status/refresh"):
            Session.objects.all().delete()
            browser.open(path)
            led_to.append(log_in_again(browser))
    assert led_to == ["/admin/status/", "/admin/status/refresh"]
    figure(62, "without JavaScript: loading again leads to the login and back")
