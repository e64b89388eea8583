"""In somebody else's project, as `startproject` makes it: ours works below a prefix, and nothing of theirs changes."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.servers.process import wait_until
from tests.support.project import Project, Uvicorn

TOKEN = "a-token-of-the-embedded-service"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
MEGABYTE = b"x" * 1_000_000
THEIRS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("GET", "/", {}),
    ("GET", "/", {"headers": {"Accept-Encoding": "gzip", "Origin": "https://other.example.org"}}),
    ("GET", "/slow", {"headers": {"Authorization": "Bearer not-a-token-of-ours"}}),
    ("POST", "/api/upload", {"content": MEGABYTE, "headers": {"Content-Type": "text/plain", **KNOWN}}),
    ("GET", "/api/health", {}),
    ("GET", "/livez", {}),
    ("GET", "/static/esassistant/pages.css", {}),
    ("GET", "/missing?x=1", {"headers": {"Accept": "text/html"}}),
    ("GET", "/admin/login/", {}),
    ("POST", "/admin/login/", {"content": "username=ada&password=wrong"}),
)
"""Requests for what is the project's own."""


def seen(url: str) -> list[tuple[int, list[str], bytes]]:
    """What the project answers at its own addresses: status, headers and body, but for what differs each time."""
    with httpx.Client(base_url=url, timeout=30) as client:
        found = []
        for method, path, options in THEIRS:
            client.cookies.clear()
            answer = client.request(method, path, **options)
            headers = [
                f"{name}: {value}"
                for name, value in answer.headers.items()
                if name not in ("date", "expires", "set-cookie")
            ]
            is_made_anew = path == "/admin/login/" or answer.status_code == 404  # a CSRF token; a list of all addresses
            if is_made_anew:
                headers = [header for header in headers if not header.startswith("content-length")]
            found.append((answer.status_code, headers, b"" if is_made_anew else answer.content))
        return found


def tables(project: Project) -> dict[str, str]:
    with sqlite3.connect(project.folder / "db.sqlite3") as database:
        found = dict(database.execute("select name, sql from sqlite_master where type = 'table'"))
    database.close()
    return found


class Served:
    """The project before this service was embedded in it, and after."""

    def __init__(self, project: Project, before: list[Any], tables_before: dict[str, str], url: str) -> None:
        self.project = project
        self.before = before
        self.tables_before = tables_before
        self.url = url


@pytest.fixture(scope="module")
def served(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Elasticsearch(node.url, request_timeout=30) as client:
        client.indices.create(index="orders", mappings={"properties": {"total": {"type": "long"}}})
        client.index(index="orders", document={"total": 5}, refresh=True)
    project = Project(
        Path(tmp_path_factory.mktemp("project")),
        ELASTICSEARCH_URL=node.url,
        ESASSISTANT_API_TOKENS=TOKEN,
        ESASSISTANT_DRAIN_SECONDS="0",
        DJANGO_SUPERUSER_PASSWORD="a-long-password",
    )
    project.run("manage.py", "migrate")
    project.run("manage.py", "createsuperuser", "--noinput", "--username", "ada", "--email", "ada@example.org")
    with Uvicorn(project) as plain:
        before, tables_before = seen(plain.url), tables(project)
    project.embed("assistant/")
    project.run("manage.py", "migrate")
    with Uvicorn(project) as uvicorn:
        wait_until(lambda: httpx.get(f"{uvicorn.url}/assistant/readyz").status_code == 200, 60)
        yield Served(project, before, tables_before, uvicorn.url)
    with Elasticsearch(node.url, request_timeout=30) as client:
        client.indices.delete(index="orders")


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=30) as client:
        yield client


def test_it_takes_ten_lines(served: Served) -> None:
    """What the document says to add is short, and everything here runs on exactly that."""
    assert served.project.added_lines() <= 10


def test_nothing_of_theirs_changes(served: Served) -> None:
    """Status, headers and body of everything that is the project's own are what they were, uploads of a megabyte under
    /api/ and addresses that a server of our own would have among them.
    """
    for (method, path, _), was, now in zip(THEIRS, served.before, seen(served.url), strict=True):
        assert now == was, (method, path)


def test_a_hundred_requests_of_theirs_at_once(served: Served) -> None:
    """None of our gates is before them."""

    def ask(_: int) -> int:
        return httpx.get(f"{served.url}/slow", timeout=60).status_code

    with ThreadPoolExecutor(100) as threads:
        assert set(threads.map(ask, range(100))) == {200}


def test_their_database_and_tests(served: Served) -> None:
    """Their tables are as they were, ours beside them; no migration is due, and their tests pass, in a database that
    has ours too.
    """
    after = tables(served.project)
    assert {name: after[name] for name in served.tables_before} == served.tables_before
    assert all(name.startswith(("cacheapp_", "healthapp_")) for name in after.keys() - served.tables_before.keys())
    served.project.run("manage.py", "makemigrations", "--check", "--dry-run")
    assert "OK" in served.project.run("manage.py", "test", "shop").stderr
    assert served.project.run("manage.py", "check").stdout.startswith("System check identified no issues")


def test_what_is_ours_answers(http: httpx.Client) -> None:
    """API, probes and metrics answer below the prefix as on a server of our own: mappings from the hot path, searches,
    a refresh with its address.
    """
    assert http.get("/assistant/livez").text == "ok\n"
    assert http.get("/assistant/api/health").status_code == 200
    assert http.get("/assistant/api/mappings/orders").status_code == 401
    mapping = http.get("/assistant/api/mappings/orders", headers=KNOWN)
    assert mapping.json() == {"orders": {"mappings": {"properties": {"total": {"type": "long"}}}}}
    found = http.post("/assistant/api/indices/orders/search", json={"query": {"match_all": {}}}, headers=KNOWN)
    assert found.json()["hits"]["total"]["value"] == 1
    started = http.post("/assistant/api/cache/refresh", headers=KNOWN)
    assert started.headers["Location"].startswith("/assistant/api/cache/refresh/")
    assert http.get(started.headers["Location"], headers=KNOWN).status_code == 200
    performance = http.get("/assistant/api/performance", headers=KNOWN).json()
    routes = performance["http"]["routes"]
    assert {"/api/mappings/{name}", "/api/indices/{name}/search"} <= set(routes)
    assert not any("assistant" in route or route == "/slow" for route in routes)


def test_ours_has_its_limits(http: httpx.Client) -> None:
    """A megabyte is refused, a stranger is counted and gets an id, and problems lead to their page."""
    refused = http.post("/assistant/api/indices/orders/search", content=MEGABYTE, headers=KNOWN)
    assert (refused.status_code, "X-Request-ID" in refused.headers) == (413, True)
    missing = http.get("/assistant/api/mappings/nope", headers=KNOWN)
    assert (missing.status_code, "/assistant/problems/" in missing.json()["type"]) == (404, True)
    assert http.get(missing.json()["type"]).status_code == 200
    unknown = http.get("/assistant/api/nothing", headers=KNOWN).json()
    assert (unknown["status"], unknown["type"]) == (404, "/assistant/problems/not-found")


def test_its_description_has_the_prefix(http: httpx.Client) -> None:
    """Clients that are made of the description ask where this service is."""
    assert http.get("/assistant/api/openapi.json").json()["servers"] == [{"url": "/assistant"}]
    assert f"{str(http.base_url).rstrip('/')}/assistant/api/mappings/" in http.get("/assistant/api/docs").text


def test_its_pages(http: httpx.Client) -> None:
    """Pages lead to the project's login and back; every link and every file of a page is there."""
    asked = http.get("/assistant/browse/", headers={"Accept": "text/html"})
    assert (asked.status_code, asked.headers["Location"]) == (302, "/admin/login/?next=/assistant/browse/")
    form = http.get(asked.headers["Location"])
    token = form.text.partition('csrfmiddlewaretoken" value="')[2].partition('"')[0]
    sent = {
        "csrfmiddlewaretoken": token,
        "username": "ada",
        "password": "a-long-password",
        "next": "/assistant/browse/",
    }
    assert http.post(asked.headers["Location"], data=sent).headers["Location"] == "/assistant/browse/"
    for path in ("/assistant/", "/assistant/browse/", "/assistant/browse/orders", "/assistant/admin/status/"):
        page = http.get(path, headers={"Accept": "text/html"})
        assert page.status_code == 200, path
        for address in _addresses(page.text):
            # The admin's own files are the project's to serve, which uvicorn alone doesn't.
            if address.startswith("/assistant/") and address != "/assistant/admin/status/refresh":
                assert http.get(address, follow_redirects=True).status_code == 200, (path, address)
    assert "/assistant/static/esassistant/pages.css" in _addresses(http.get("/assistant/").text)


def _addresses(page: str) -> set[str]:
    parts = [part for name in (' href="', ' src="', ' hx-get="') for part in page.split(name)[1:]]
    return {address for part in parts if (address := part.partition('"')[0].partition("#")[0]).startswith("/")}
