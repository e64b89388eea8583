"""TLS with a CA of one's own, an API key or a password: a proxy in front of the node asks for them, as a secured
cluster does.
"""

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import trustme
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy, ProxyRequest, ProxyResponse, TcpProxy
from dev.servers.service import TOKEN, manage
from tests.support.fixtures import OpenApp

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
WRONG_KEY = "d3Jvbmc6a2V5"
API_KEY = "cmlnaHQtaWQ6cmlnaHQta2V5"
PASSWORD = "right: pässword"  # a colon and beyond ASCII, as passwords are
ACCEPTED = {f"ApiKey {API_KEY}", f"Basic {base64.b64encode(f'reader:{PASSWORD}'.encode()).decode()}"}
KEY = {"api_key": API_KEY}
BASIC = {"username": "reader", "password": PASSWORD}

UNTRUSTED = "its certificate is not trusted. Name the CA that signed it in ELASTICSEARCH_CA_CERTS."
REFUSED = "Elasticsearch refused our credentials (401)"

STORM_SECONDS = 3.0
CALLERS = 4
COLD_NAMES = 10
# A failure is remembered for a second: one call per name and second. Beside those: the warm-up, the watch and the
# checks.
MOST_CALLS = COLD_NAMES * (STORM_SECONDS + 1) + 20


def demand_credentials(request: ProxyRequest) -> ProxyResponse | None:
    """401 in the words of Elasticsearch's security module, unless the credentials are right."""
    given = request.headers.get("authorization")
    if given in ACCEPTED:
        return None
    what = "unable to authenticate with provided credentials and anonymous access is not allowed for this request"
    challenges = ['Basic realm="security", charset="UTF-8"', 'Bearer realm="security"', "ApiKey"]
    cause = {
        "type": "security_exception",
        "reason": what if given else f"missing authentication credentials for REST request [{request.target}]",
        "header": {"WWW-Authenticate": challenges},
    }
    body = json.dumps({"error": {"root_cause": [cause], **cause}, "status": 401})
    return ProxyResponse(body, 401, {"WWW-Authenticate": ", ".join(challenges)})


@dataclass
class Authority:
    """A CA made on the fly; `ca_certs` is the file that one who trusts it names."""

    ca: trustme.CA
    ca_certs: str

    @classmethod
    def made_in(cls, folder: Path) -> Self:
        ca = trustme.CA()
        ca.cert_pem.write_to_path(folder / "ca.pem")
        return cls(ca, str(folder / "ca.pem"))

    def server_context(self, name: str = "127.0.0.1") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(name).configure_cert(context)
        return context


class SecuredNode:
    """The node behind TLS and credentials. Connections are counted before TLS: those that fail in it count too."""

    def __init__(self, node: Node, context: ssl.SSLContext) -> None:
        self._http = FaultProxy(node.url, ssl_context=context)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(self._http)
        self._http.respond("", demand_credentials)
        self._tcp = self._open.enter_context(TcpProxy(self._http.host, self._http.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def url(self) -> str:
        return f"https://{self._tcp.host}:{self._tcp.port}"

    def calls(self) -> int:
        """Requests, and connections that never came to one."""
        return max(self._http.count(), self._tcp.connections_total)

    def answered(self) -> set[int]:
        """The statuses that were answered."""
        return {exchange.status for exchange in self._http.requests if exchange.status is not None}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made_in(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made_in(tmp_path_factory.mktemp("other-ca"))


@pytest.fixture
def secured(node: Node, cluster: Elasticsearch, authority: Authority) -> Iterator[SecuredNode]:
    """With one index, `shop`."""
    cluster.indices.create(
        index="shop", mappings={"properties": {"a": {"type": "keyword"}}}, settings={"number_of_replicas": 0}
    )
    with SecuredNode(node, authority.server_context()) as running:
        yield running


async def demand_answers(http: httpx.AsyncClient, until: float) -> int:
    """Ask for cold names and for health, one after the other, until then; returns how often."""
    number = 0
    while time.monotonic() < until:
        await http.get(f"/api/mappings/cold-{number % COLD_NAMES}", headers=AUTHORIZED)
        await http.get("/api/health", headers=AUTHORIZED)
        number += 1
        await asyncio.sleep(0)
    return 2 * number


async def no_storm(http: httpx.AsyncClient, secured: SecuredNode) -> None:
    """Many ask, few calls reach the cluster."""
    until = time.monotonic() + STORM_SECONDS
    asked = sum(await asyncio.gather(*(demand_answers(http, until) for _ in range(CALLERS))))
    assert 0 < secured.calls() <= MOST_CALLS < asked


async def works(http: httpx.AsyncClient) -> None:
    """Mappings and health are those of the node."""
    mapping = await http.get("/api/mappings/shop", headers=AUTHORIZED)
    assert (mapping.status_code, set(mapping.json()["shop"]["mappings"]["properties"])) == (200, {"a"})
    health = await http.get("/api/health", headers=AUTHORIZED)
    service = health.json()["services"]["elasticsearch"]
    assert (health.status_code, service["status"], service["error"]) == (200, "healthy", None)


async def fails(http: httpx.AsyncClient, text: str) -> None:
    """Health and mappings are 503 and say so."""
    health = await http.get("/api/health", headers=AUTHORIZED)
    service = health.json()["services"]["elasticsearch"]
    assert (health.status_code, service["status"]) == (503, "unhealthy")
    assert text in service["error"]
    mapping = await http.get("/api/mappings/shop", headers=AUTHORIZED)
    assert mapping.status_code == 503
    assert text in mapping.json()["detail"]


@pytest.mark.parametrize("credentials", [KEY, BASIC], ids=["api-key", "basic"])
async def test_the_right_ca_and_credentials(
    secured: SecuredNode, authority: Authority, open_app: OpenApp, credentials: dict[str, str]
) -> None:
    """With the cluster's CA and the right key or password everything works, and nothing is ever refused."""
    async with open_app(secured.url, ca_certs=authority.ca_certs, **credentials) as http:
        await works(http)
    assert secured.answered() == {200}


async def test_certificates_unchecked(secured: SecuredNode, open_app: OpenApp) -> None:
    """ELASTICSEARCH_VERIFY_CERTS=false works without the CA."""
    async with open_app(secured.url, verify_certs=False, **KEY) as http:
        await works(http)


async def test_a_ca_that_is_not_ours(secured: SecuredNode, other_authority: Authority, open_app: OpenApp) -> None:
    """With the wrong CA health and mappings say what to check, the credentials never leave us, and the connections
    under load are bounded.
    """
    async with open_app(secured.url, ca_certs=other_authority.ca_certs, cache={"watch": True}, **KEY) as http:
        await fails(http, UNTRUSTED)
        await no_storm(http, secured)
        await fails(http, UNTRUSTED)
    assert secured.answered() == set()


async def test_the_system_does_not_know_our_ca(secured: SecuredNode, open_app: OpenApp) -> None:
    """Without ELASTICSEARCH_CA_CERTS it is the system's CAs that count: the error names the setting."""
    async with open_app(secured.url, **KEY) as http:
        await fails(http, UNTRUSTED)


async def test_a_certificate_of_another_host(
    node: Node, cluster: Elasticsearch, authority: Authority, open_app: OpenApp
) -> None:
    """A certificate by the right CA for another host is refused, and the error names ELASTICSEARCH_URL."""
    with SecuredNode(node, authority.server_context("es.example.org")) as elsewhere:
        async with open_app(elsewhere.url, ca_certs=authority.ca_certs, **KEY) as http:
            await fails(http, "ELASTICSEARCH_URL")
        assert elsewhere.answered() == set()


async def test_no_tls_where_it_is_expected(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """https to a port that speaks plain http fails like TLS, and the error names ELASTICSEARCH_URL."""
    async with open_app(node.url.replace("http:", "https:")) as http:
        await fails(http, "ELASTICSEARCH_URL")


@pytest.mark.parametrize(
    "credentials", [{"api_key": WRONG_KEY}, {**BASIC, "password": "wrong"}, {}], ids=["key", "password", "none"]
)
async def test_credentials_that_are_refused(
    secured: SecuredNode, authority: Authority, open_app: OpenApp, credentials: dict[str, str]
) -> None:
    """With a wrong key, a wrong password or neither, health and mappings say that the credentials were refused."""
    async with open_app(secured.url, ca_certs=authority.ca_certs, **credentials) as http:
        await fails(http, REFUSED)
    assert secured.answered() == {401}


async def test_a_wrong_key_is_no_storm(secured: SecuredNode, authority: Authority, open_app: OpenApp) -> None:
    """With a wrong key the calls under load are bounded, and the error stays the same."""
    async with open_app(secured.url, ca_certs=authority.ca_certs, cache={"watch": True}, api_key=WRONG_KEY) as http:
        await no_storm(http, secured)
        await fails(http, REFUSED)
    assert secured.answered() == {401}


SETTINGS: dict[str, Mapping[str, Any]] = {
    "api-key": {"ELASTICSEARCH_API_KEY": API_KEY},
    "basic": {"ELASTICSEARCH_USERNAME": "reader", "ELASTICSEARCH_PASSWORD": PASSWORD},
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("credentials", SETTINGS.values(), ids=SETTINGS)
def test_commands(secured: SecuredNode, authority: Authority, credentials: Mapping[str, Any]) -> None:
    """Commands take the same settings from the environment, those with a synchronous client of their own too."""
    settings = {**credentials, "ELASTICSEARCH_CA_CERTS": authority.ca_certs}
    for command in ("warm_cache", "load_samples"):
        ended = manage(command, elasticsearch_url=secured.url, **settings)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    assert 401 not in secured.answered()


@pytest.mark.django_db(transaction=True)
def test_commands_that_fail(secured: SecuredNode, authority: Authority, other_authority: Authority) -> None:
    """A command with the wrong CA or key ends with 1 and says why, without a traceback and without the key."""
    wrong_key: dict[str, Any] = {"ELASTICSEARCH_API_KEY": WRONG_KEY, "ELASTICSEARCH_CA_CERTS": authority.ca_certs}
    wrong_ca: dict[str, Any] = {"ELASTICSEARCH_API_KEY": API_KEY, "ELASTICSEARCH_CA_CERTS": other_authority.ca_certs}
    for settings, text in ((wrong_key, REFUSED), (wrong_ca, UNTRUSTED)):
        ended = manage("warm_cache", elasticsearch_url=secured.url, **settings)
        said = ended.stdout + ended.stderr
        assert (ended.returncode, text in said, "Traceback" in said) == (1, True, False), said
        assert settings["ELASTICSEARCH_API_KEY"] not in said
    ended = manage("warm_cache", elasticsearch_url=secured.url, ELASTICSEARCH_VERIFY_CERTS="false", **SETTINGS["basic"])
    assert ended.returncode == 0, ended.stderr
