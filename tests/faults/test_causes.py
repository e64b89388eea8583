"""Case 43: what keeps us from Elasticsearch is told apart: each cause by its own message, with the remedy in it."""

import json
import logging
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trustme
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy, ProxyRequest, ProxyResponse
from dev.faults.tcp_proxy import Connection, ThreadedServer
from dev.ports import free_port
from dev.servers.service import manage
from esassistant.config.reader import HASH_HINT
from tests.support.calls import make_index
from tests.support.fixtures import Figure, OpenApp
from tests.support.running import BEARER, refreshed

API_KEY = "c2VjcmV0LWlkOnNlY3JldC1rZXk="
NO_HEADER = {"X-Elastic-Product": "", "Content-Type": "application/json"}
Made = AbstractContextManager[str]


class OneAnswer(ThreadedServer):
    """Reads what comes first and answers it with these bytes, whatever it was."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self._given = answer

    async def serve(self, connection: Connection) -> None:
        await connection.reader.read(65_536)
        if self._given:
            connection.writer.write(self._given)
            await connection.writer.drain()


@contextmanager
def unknown_name(_: Node) -> Iterator[str]:
    yield "http://no-such-host.invalid:9200"


@contextmanager
def refused(_: Node) -> Iterator[str]:
    yield f"http://127.0.0.1:{free_port()}"


@contextmanager
def one_answer(answer: bytes) -> Iterator[str]:
    with OneAnswer(answer) as server:
        yield f"http://{server.host}:{server.port}"


def closed(_: Node) -> Made:
    return one_answer(b"")


def not_http(_: Node) -> Made:
    return one_answer(b"SSH-2.0-OpenSSH_9.2p1\r\n")


def cut(_: Node) -> Made:
    head = b"HTTP/1.1 200 OK\r\nX-Elastic-Product: Elasticsearch\r\nContent-Type: application/json\r\n"
    return one_answer(head + b'Content-Length: 5000\r\n\r\n{"status":')


def cut_in_the_head(_: Node) -> Made:
    return one_answer(b"HTTP/1.1 200 OK\r\nX-Elastic-Pro")


def page_of_a_tls_port(_: Node) -> Made:
    page = b"Client sent an HTTP request to an HTTPS server.\n"
    return one_answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page))


@contextmanager
def secured(node: Node, scheme: str, name: str = "127.0.0.1", **issued: Any) -> Iterator[str]:
    """The node behind TLS, by a CA that nobody else knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca = trustme.CA()
    ca.issue_cert(name, **issued).configure_cert(context)
    with FaultProxy(node.url, ssl_context=context) as proxy:
        yield f"{scheme}://{proxy.host}:{proxy.port}"


def tls_port(node: Node) -> Made:
    return secured(node, "http")


def untrusted(node: Node) -> Made:
    return secured(node, "https")


@contextmanager
def plain_port(node: Node) -> Iterator[str]:
    yield node.url.replace("http:", "https:")


@contextmanager
def path_too_many(node: Node) -> Iterator[str]:
    yield f"{node.url}/es"


@contextmanager
def gateway(path: str, respond: Callable[[ProxyRequest], ProxyResponse]) -> Iterator[str]:
    with FaultProxy("http://127.0.0.1:9") as proxy:
        proxy.respond("", respond)
        yield f"{proxy.url}{path}"


def not_found(_: ProxyRequest) -> ProxyResponse:
    return ProxyResponse("404 page not found", 404, {"X-Elastic-Product": "", "Content-Type": "text/plain"})


def path_missing(_: Node) -> Made:
    return gateway("", not_found)


def path_wrong(_: Node) -> Made:
    return gateway("/elastic", not_found)


def product(tagline: str, **version: str) -> Callable[[Node], Made]:
    """Answers as OpenSearch does, or an Elasticsearch whose answers lack the header."""
    root = {"name": "n1", "cluster_name": "c", "cluster_uuid": "u", "version": version, "tagline": tagline}

    def respond(request: ProxyRequest) -> ProxyResponse:
        body: dict[str, Any] = root if request.target.partition("?")[0] == "/" else {"status": "green"}
        return ProxyResponse(json.dumps(body), 200, NO_HEADER)

    return lambda _: gateway("", respond)


OPENSEARCH = product("The OpenSearch Project: https://opensearch.org/", distribution="opensearch", number="2.19.1")
OLD = product("You Know, for Search", number="7.10.2", build_flavor="oss")
STRIPPED = product("You Know, for Search", number="9.1.0")
CAUSES: dict[str, tuple[Callable[[Node], Made], str]] = {
    "unknown name": (unknown_name, "the name of its host doesn't resolve. Correct the host in ELASTICSEARCH_URL"),
    "refused": (refused, "the connection was refused. Start Elasticsearch, or correct host and port"),
    "closed": (closed, "it closed the connection without an answer. Look at its log"),
    "cut": (cut, "the connection was closed amid the answer. Look at its log"),
    "cut in the head": (cut_in_the_head, "the connection was closed amid the answer. Look at its log"),
    "not http": (not_http, "what it answers is not HTTP. Correct host and port in ELASTICSEARCH_URL"),
    "TLS port": (tls_port, "this port expects TLS. Begin ELASTICSEARCH_URL with https://"),
    "plain port": (plain_port, "this port doesn't speak TLS. Begin ELASTICSEARCH_URL with http://"),
    "untrusted": (untrusted, "its certificate is not trusted. Name the CA that signed it in ELASTICSEARCH_CA_CERTS"),
    "path too many": (path_too_many, "there is a path too many in ELASTICSEARCH_URL. Remove it"),
    "path missing": (path_missing, "(status 404): a gateway, or a path is missing in the URL. Add it"),
    "path wrong": (path_wrong, "(status 404): a gateway, or the path in the URL is wrong. Correct it"),
    "OpenSearch": (OPENSEARCH, "is OpenSearch 2.19.1, which is not supported. Name an Elasticsearch cluster"),
    "old": (OLD, "is Elasticsearch 7.10.2, which is too old. Name a cluster of version 8.19 or later"),
    "header taken away": (STRIPPED, "is Elasticsearch 9.1.0 behind a gateway that takes the header"),
}


@pytest.mark.parametrize("cause", CAUSES)
async def test_case_43_causes_are_told_apart(
    node: Node,
    cluster: Elasticsearch,
    open_app: OpenApp,
    figure: Figure,
    caplog: pytest.LogCaptureFixture,
    cause: str,
) -> None:
    """Health and the log say the cause, the remedy, host and port; who asks for a mapping, a search or a refresh gets
    cause and remedy alone; nobody gets the key.
    """
    caplog.set_level(logging.INFO)
    make, words = CAUSES[cause]
    make_index(cluster, "known")
    with make(node) as url:
        at = urlsplit(url).netloc
        async with open_app(url, health={"ttl": 0.3, "timeout": 5.0}, api_key=API_KEY, max_retries=0) as http:
            health = await http.get("/api/health", headers=BEARER)
            mapping = await http.get("/api/mappings/known", headers=BEARER)
            searched = await http.post("/api/indices/known/search", json={}, headers=BEARER)
            failed = await refreshed(http)
    error = health.json()["services"]["elasticsearch"]["error"]
    assert words in error
    assert at in error
    assert not error.endswith("…")
    # A path too many is Elasticsearch's own 404 to a single name, which proves nothing.
    if cause != "path too many":
        assert (mapping.status_code, searched.status_code) == (503, 503)
        for answer in (mapping, searched):
            assert words in answer.json()["detail"]
        assert words in (failed.error or "")
        assert at in caplog.text
    told = [mapping.text, searched.text, failed.error or ""]
    assert [text for text in told if at in text] == []
    assert [text for text in (*told, health.text, caplog.text) if API_KEY in text] == []
    figure(43, f"{cause}: “…{words}”")


@pytest.mark.parametrize(
    ("issued", "words"),
    [
        ({"name": "es.example.org"}, "its certificate is for another host. Name a host in ELASTICSEARCH_URL"),
        ({"not_after": datetime(2020, 1, 2, tzinfo=UTC)}, "its certificate is not valid at this time. Renew it"),
    ],
    ids=["another host", "expired"],
)
async def test_case_43_certificates_of_a_trusted_ca(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure, tmp_path: Any, issued: Any, words: str
) -> None:
    """A certificate may be by the right CA and wrong in another way, which has another remedy."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(issued.pop("name", "127.0.0.1"), **issued).configure_cert(context)
    with FaultProxy(node.url, ssl_context=context) as proxy:
        async with open_app(f"https://{proxy.host}:{proxy.port}", ca_certs=str(tmp_path / "ca.pem")) as http:
            health = await http.get("/api/health", headers=BEARER)
    assert words in health.json()["services"]["elasticsearch"]["error"]
    figure(43, f"“…{words}”")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("setting", "scheme"), [("ELASTICSEARCH_URL", "https"), ("REDIS_URL", "redis"), ("DATABASE_URL", "postgres")]
)
def test_case_43_a_hash_in_a_password(figure: Figure, setting: str, scheme: str) -> None:
    """A `#` ends a URL: commands end, and say how to write it, without the password."""
    settings = {"elasticsearch_url": "http://127.0.0.1:9"} | {setting: f"{scheme}://user:first#second@host:1234/1"}
    if setting == "ELASTICSEARCH_URL":
        settings = {"elasticsearch_url": settings[setting]}
    ended = manage("check", **settings)  # type: ignore[arg-type]
    said = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert setting in said
    assert HASH_HINT in said
    assert "first" not in said
    assert "second" not in said
    figure(43, f"# in {setting}: “{HASH_HINT}”")


@pytest.mark.django_db(transaction=True)
def test_case_43_commands_say_the_first_cause(node: Node, cluster: Elasticsearch, figure: Figure) -> None:
    """With Redis down a refresh says why it was not published, not that Redis failed a moment ago; with the cluster
    down, why it could not be read.
    """
    make_index(cluster, "known")
    redis = manage("refresh_cache", elasticsearch_url=node.url, REDIS_URL=f"redis://:hidden@127.0.0.1:{free_port()}/0")
    away = manage("refresh_cache", "--force", elasticsearch_url=f"http://127.0.0.1:{free_port()}")
    said = redis.stdout.splitlines()[-1]
    assert (redis.returncode, away.returncode) == (1, 1)
    assert said.startswith("Redis could not be reached: the connection was refused. Start Redis, or correct host and")
    assert "hidden" not in redis.stdout + redis.stderr
    assert "Elasticsearch could not be reached: the connection was refused. Start Elasticsearch" in away.stdout
    figure(43, f"refresh_cache without Redis: “{said}”")


@pytest.mark.parametrize("people", [False, True], ids=["programs", "people"])
async def test_case_43_a_host_that_is_not_allowed(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure, *, people: bool
) -> None:
    """A Host header that isn't allowed is told so by name of the setting, and is not repeated."""
    accept = {"Accept": "text/html"} if people else {}
    async with open_app(node.url) as http:
        for path in ("/api/health", "/api/mappings/known", "/browse/", "/"):
            answer: httpx.Response = await http.get(path, headers={"Host": "evil.example", **accept})
            assert answer.status_code == 400, path
            assert "ALLOWED_HOSTS" in answer.text, path
            assert "evil" not in answer.text
    figure(43, f"other Host, {'a page' if people else 'problem+json'}: names ALLOWED_HOSTS")


async def test_case_43_names_of_another_kind(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """Remote clusters and date math are refused as what they are."""
    async with open_app(node.url) as http:
        for name, words in (("other:logs", "Remote clusters"), ("%3Clogs-%7Bnow%2Fd%7D%3E", "Date math")):
            for answer in (
                await http.get(f"/api/mappings/{name}", headers=BEARER),
                await http.post(f"/api/indices/{name}/search", json={}, headers=BEARER),
            ):
                assert answer.status_code == 400
                assert words in answer.json()["detail"]
    figure(43, "cluster:index and date math: each 400 by its name")
