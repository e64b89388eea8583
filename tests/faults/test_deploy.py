"""A server as docs/security.md sets it up for production."""

import http.client
import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from dev.servers.service import ROOT, TOKEN, Server, manage

CLOSED = "http://127.0.0.1:9"
PRODUCTION: dict[str, Any] = {
    "SECRET_KEY": "7Jx-only-for-tests-9fQ2mZ4vB8nL1cW6tR3yK5hD0sA_pE-uG",
    "ALLOWED_HOSTS": "es.example.org,127.0.0.1",
    "ESASSISTANT_HTTPS": "true",
}
FORWARDED = {"Host": "es.example.org", "X-Forwarded-Proto": "https"}


def test_the_deployment_check_is_clean() -> None:
    """With the settings that the document names, `check --deploy` finds nothing to say."""
    check = manage("check", "--deploy", "--fail-level", "WARNING", elasticsearch_url=CLOSED, **PRODUCTION)
    assert check.returncode == 0, check.stderr
    assert "security." not in check.stdout + check.stderr


def test_the_document_names_these_settings() -> None:
    """The settings that the check was clean with are those of the document."""
    text = (ROOT / "docs" / "security.md").read_text()
    block = text[text.index("## In production") :].split("```")[1]
    assert set(re.findall(r"^([A-Z_]+)=", block, re.MULTILINE)) == {*PRODUCTION, "ESASSISTANT_API_TOKENS"}


@pytest.mark.usefixtures("transactional_db")
def test_behind_a_proxy_with_https() -> None:
    """Plain HTTP is redirected, what a believed proxy got over HTTPS is served with HSTS and secure cookies; probes
    and metrics answer over either.
    """
    with Server(CLOSED, "--forwarded-allow-ips", "127.0.0.1", **PRODUCTION) as server:
        plain = server.get("/api/nothing", headers={"Host": "es.example.org"})
        assert (plain.status_code, plain.headers["Location"]) == (301, "https://es.example.org/api/nothing")
        secure = server.get("/api/nothing", headers=FORWARDED)
        assert (secure.status_code, secure.headers["Strict-Transport-Security"]) == (404, "max-age=3600")
        login = server.get("/admin/login/", headers=FORWARDED)
        assert "Secure" in login.headers["Set-Cookie"]
        assert "default-src 'self'" in login.headers["Content-Security-Policy"]
        assert [server.get(path).status_code for path in ("/livez", "/metrics")] == [200, 200]


@pytest.mark.usefixtures("transactional_db")
def test_a_stranger_is_no_proxy() -> None:
    """Without `--forwarded-allow-ips` nobody can claim to have come over HTTPS."""
    with Server(CLOSED, **PRODUCTION) as server:
        assert server.get("/api/nothing", headers=FORWARDED).status_code == 301


@pytest.mark.usefixtures("transactional_db")
def test_large_bodies_are_refused_by_the_server() -> None:
    """Over the wire: a body that declares 100 GB, or comes in chunks without end, gets 413 as a problem at once."""
    with Server(CLOSED) as server:
        address = urlsplit(server.url)
        assert address.hostname is not None
        head = {"Authorization": f"Bearer {TOKEN}"}
        declared = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
        declared.putrequest("POST", "/api/cache/refresh")
        declared.putheader("Content-Length", str(100 * 2**30))
        declared.endheaders()
        chunked = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
        chunked.putrequest("POST", "/api/cache/refresh")
        chunked.putheader("Transfer-Encoding", "chunked")
        chunked.endheaders(b"10001\r\n" + b"x" * 0x10001 + b"\r\n")
        for connection in (declared, chunked):
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Content-Type"]) == (413, "application/problem+json")
            assert answer.headers["Connection"] == "close"
            connection.close()
        served = server.http.post("/api/cache/refresh", content=b"x" * 65_536, headers=head)
        assert served.status_code != 413
