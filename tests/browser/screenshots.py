"""Pictures of the pages in each state, for docs/: `python -m tests.browser.screenshots [FOLDER]`. Look at them.

With `--all FOLDER` of each page in each state, light and dark, wide and narrow, details unfolded: only to be looked at.
Those of incidents are taken by `tests.browser.incidents`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.packages import require, which
from dev.servers.process import wait_until
from dev.servers.redis import RedisServer
from dev.servers.service import ROOT, TOKEN, Server, manage
from tests.support.browser import NARROW, PASSWORD, WIDE, Browser, open_window
from tests.support.browsing import QUICK

FOLDER = ROOT / "docs" / "images"
LONGEST_PIXELS = {WIDE: 1600, NARROW: 1800}
PAGES = {
    "front": "/",
    "browse": "/browse/",
    "name": "/browse/orders",
    "status": "/admin/status/",
    "refresh": "/admin/status/refresh",
    "api": "/api/docs",
    "guide": "/docs/operations",
    "problems": "/problems/",
    "error": "/nothing-here",
    "log-out": "/logout",
    "admin": "/admin/",
    "admin-list": "/admin/cacheapp/passrecord/",
}
SETTINGS = {**QUICK, "MIN_REFRESH_INTERVAL": 60}


def pngquant() -> Path:
    """Where pngquant is. Installs it if it is missing and this may; else raises `MissingPackage` with the remedy."""
    return require(lambda: which("pngquant"), "pngquant", "pngquant is missing")


def make_staff(elasticsearch_url: str, settings: dict[str, Any]) -> None:
    """Make the database's tables, and `ada`, who may see everything."""
    os.environ["DJANGO_SUPERUSER_PASSWORD"] = PASSWORD
    for words in (
        ("migrate", "--verbosity", "0"),
        ("createsuperuser", "--noinput", "--username", "ada", "--email", "ada@example.org"),
    ):
        ended = manage(*words, elasticsearch_url=elasticsearch_url, **settings)
        assert ended.returncode == 0, ended.stderr


class Photographer:
    """Takes pictures of one server's pages, logged in as staff."""

    def __init__(self, folder: Path, browser: Browser) -> None:
        self._folder = folder
        self._browser = browser

    def picture(
        self,
        name: str,
        path: str,
        wanted: str,
        width: int = WIDE,
        scheme: str = "light",
        longest: int | None = None,
        unfold: str = "",
    ) -> None:
        """Of the page once it shows `wanted`, of its first `longest` pixels. `unfold`: the details to open, by a CSS
        selector.
        """
        self._browser.prefer(scheme)
        self._browser.resize(width)
        self._browser.open(path)
        deadline = time.monotonic() + 30
        while wanted not in self._browser.text() and time.monotonic() < deadline:
            time.sleep(1)
            self._browser.open(path)
        script = "document.querySelectorAll(arguments[0] || 'none').forEach((one) => { one.open = true })"
        self._browser.driver.execute_script(script, unfold)
        self.shoot(name, width, longest)
        shown = "as wanted" if wanted in self._browser.text() else f"WITHOUT {wanted!r}"
        sys.stdout.write(f"{name}.png: {path} at {width} px, {scheme}: {shown}\n")
        sys.stdout.flush()

    def shoot(self, name: str, width: int, longest: int | None = None) -> None:
        """Of the page that is open, of its first `longest` pixels."""
        height = self._browser.driver.execute_script("return document.documentElement.scrollHeight")
        self._browser.resize(width, min(height, longest or LONGEST_PIXELS[width]))
        file = self._folder / f"{name}.png"
        self._browser.driver.save_screenshot(str(file))
        # A palette of 256 colours at most: a third of the size, and nothing of it is seen.
        subprocess.run([pngquant(), "--strip", "--force", "--ext", ".png", file], check=True)

    def everything(self, state: str) -> None:
        """Of each page in a state, in all variants."""
        for name, path in PAGES.items():
            for width in (WIDE, NARROW):
                for scheme in ("light", "dark"):
                    self.picture(f"{name}-{state}-{width}-{scheme}", path, "", width, scheme, 6000, "details")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="of the pictures (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="each page in each state, in all variants")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="screenshots-")))
        node = stack.enter_context(Node(data / "node"))
        proxy = stack.enter_context(FaultProxy(node.url))
        redis = stack.enter_context(RedisServer())
        settings: dict[str, Any] = {
            **SETTINGS,
            "DATABASE_URL": f"sqlite:///{data / 'shots.sqlite3'}",
            "REDIS_URL": redis.url,
        }
        make_staff(proxy.url, settings)
        states(node, proxy, chosen.folder, settings, everything=chosen.all)
    return 0


def states(node: Node, proxy: FaultProxy, folder: Path, settings: dict[str, Any], *, everything: bool) -> None:
    def session(what: Callable[[Photographer, Server], None]) -> None:
        profile = Path(tempfile.mkdtemp(prefix="screenshots-profile-"))
        with Server(proxy.url, **settings) as server, open_window(server.url, profile) as browser:
            browser.log_in(create=False)
            what(Photographer(folder, browser), server)

    def one(name: str, wanted: str) -> Callable[[Photographer, Server], None]:
        def take(camera: Photographer, _: Server) -> None:
            if everything:
                camera.everything(name)
            else:
                camera.picture(f"status-{name}", "/admin/status/", wanted)

        return take

    proxy.refuse()
    session(one("warming-up", "No mappings can be answered yet"))
    proxy.accept()
    session(one("empty", "nothing to serve"))
    loaded = manage("load_samples", elasticsearch_url=node.url, **settings)
    assert loaded.returncode == 0, loaded.stderr

    def healthy_and_not(camera: Photographer, server: Server) -> None:
        wait_until(lambda: server.get("/api/health").json()["status"] == "healthy", 60)
        with Elasticsearch(node.url) as cluster:
            cluster.indices.put_mapping(index="orders", properties={"gift_note": {"type": "text"}})
        use(server, 400.0)  # for a few points in the charts
        if everything:
            camera.everything("healthy")
            return
        healthy_pictures(camera)
        with Elasticsearch(node.url) as cluster:
            cluster.indices.create(index="lonely", settings={"number_of_replicas": 1})
            camera.picture("status-degraded", "/admin/status/", "cluster status yellow")
            cluster.indices.delete(index="lonely")

    session(healthy_and_not)


def use(server: Server, seconds: float) -> None:
    """Ask for mappings and searches, now more and now less, for so long."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        for _ in range(3 + int(time.monotonic() / 60) % 5):
            server.get("/api/mappings/orders")
            server.http.post(
                "/api/indices/orders/search", json={"size": 1}, headers={"Authorization": f"Bearer {TOKEN}"}
            )
        time.sleep(2)


def healthy_pictures(camera: Photographer) -> None:
    fresh = "Serving fresh mappings."
    camera.picture("status-healthy", "/admin/status/", fresh)
    camera.picture("status-dark", "/admin/status/", fresh, scheme="dark")
    camera.picture("status-narrow", "/admin/status/", fresh, NARROW)
    camera.picture("front", "/", "Healthy")
    camera.picture("mappings", "/browse/", "orders")
    camera.picture("mapping", "/browse/orders", "gift_note")
    camera.picture("mapping-narrow-dark", "/browse/orders", "gift_note", NARROW, "dark")


if __name__ == "__main__":
    sys.exit(main())
