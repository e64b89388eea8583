"""A quick server for tests with a browser, and the findings of axe-core about its pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_core_python.base import AXE_SCRIPT

from dev.servers.process import wait_until
from dev.servers.service import Server
from tests.support.browser import Browser

QUICK = {"HEALTH_CACHE_TTL": 1, "HEALTH_TIMEOUT": 1, "MAPPING_CACHE_WATCH": "true"}


@contextmanager
def serving(url: str, **settings: Any) -> Iterator[Server]:
    with Server(url, **{**QUICK, **settings}) as server:
        wait_until(lambda: server.get("/readyz").status_code == 200, 20)
        wait_until(lambda: server.get("/api/health").json()["status"] == "healthy", 20)
        yield server


def serious(browser: Browser) -> list[str]:
    """Return what axe-core finds that is serious or critical: the rule and the element."""
    browser.driver.execute_script(AXE_SCRIPT)
    result = browser.driver.execute_async_script(
        "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(done, (e) => done(String(e)))"
    )
    assert isinstance(result, dict), result
    return [
        f"{violation['id']}: {node['html'][:120]} ({node['any'][0]['message'] if node['any'] else ''})"
        for violation in result["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
