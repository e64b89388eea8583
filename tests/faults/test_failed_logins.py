"""Case 55: who guesses passwords is refused or slowed, whichever process he asks, and the operator still gets in."""

import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from django.contrib.auth.hashers import MD5PasswordHasher, make_password
from django.contrib.auth.models import User

from dev.servers.redis import RedisServer
from dev.servers.service import TOKEN, Server
from esassistant.units import as_duration
from tests.support.fixtures import Figure

pytestmark = pytest.mark.django_db(transaction=True)

NOWHERE = "http://127.0.0.1:9"
"""No cluster: none of this concerns it."""
SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.support.quick_passwords", "ESASSISTANT_DETAILS": "authorized"}
BELIEVED = ("--forwarded-allow-ips", "127.0.0.1")
PASSWORD = "right-of-the-operator"
TRIES = 150
AT_ONCE = 16
"""As many as the gate of one process lets wait."""
CSRF = "a" * 32
NO_TLS = ssl.create_default_context()
"""Made once: that takes longer than a login."""


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Two workers that share by the database, behind a proxy that is believed."""
    request.getfixturevalue("django_db_setup")
    with Server(NOWHERE, "--workers", "2", *BELIEVED, **SETTINGS) as server:
        yield server


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as redis:
        yield redis


@pytest.fixture(autouse=True)
def operator() -> None:
    password = make_password(PASSWORD, hasher=MD5PasswordHasher())
    User.objects.create(username="operator", password=password, is_staff=True)


def log_in(
    server: Server,
    name: str,
    forwarded: str = "",
    password: str = "wrong",  # noqa: S107
    *,
    source: str = "127.0.0.1",
) -> httpx.Response:
    """Post the form of the login on a connection of its own, so that any worker may answer.

    Args:
        forwarded: the client's address as a proxy says it; empty: there is no proxy.
        source: the address that the connection comes from.
    """
    headers = {"Cookie": f"csrftoken={CSRF}", "Accept": "text/html"}
    if forwarded:
        headers["X-Forwarded-For"] = forwarded
    form = {"username": name, "password": password, "csrfmiddlewaretoken": CSRF}
    with httpx.Client(transport=httpx.HTTPTransport(local_address=source, verify=NO_TLS), timeout=30) as client:
        while True:
            answer = client.post(f"{server.url}/admin/login/", data=form, headers=headers | {"Connection": "close"})
            if answer.status_code != 503:
                return answer
            time.sleep(float(answer.headers["Retry-After"]))  # on a busy machine the gate is: then nothing counts


def performance(server: Server) -> dict[str, Any]:
    report: dict[str, Any] = server.get("/api/performance", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    return report


def statuses(try_once: Callable[[int], httpx.Response], tries: int = TRIES) -> tuple[Counter[int], list[Any]]:
    """Many tries, several at once: how many had which status, and all answers."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(try_once, range(tries)))
    return Counter(answer.status_code for answer in answers), answers


def totals(server: Server, workers: int = 2) -> Counter[str]:
    """What all workers have counted, each asked itself."""
    found: dict[int, dict[str, Any]] = {}
    while len(found) < workers:
        headers = {"Authorization": f"Bearer {TOKEN}", "Connection": "close"}
        report = server.get("/api/performance", headers=headers).json()
        found[report["process"]["pid"]] = report["logins"]
    return Counter(
        {name: sum(one[name] for one in found.values()) for name in ("failed_total", "refused_total", "slowed_total")}
    )


def test_case_55_one_name_from_one_address(server: Server, figure: Figure) -> None:
    """Of 150 wrong passwords five are checked by all workers together, the others get 429 with the time to wait, on a
    page in the login's look; so does then the right password. From another address the operator gets in.
    """
    before, said = totals(server), len(server.output())
    counts, answers = statuses(lambda _: log_in(server, "operator", "203.0.113.1"))
    assert counts == {200: 5, 429: 145}
    refused = next(answer for answer in answers if answer.status_code == 429)
    seconds = int(refused.headers["Retry-After"])
    assert 800 < seconds <= 900
    assert f"Try again in {as_duration(seconds)}." in refused.text
    assert "admin/css/login" in refused.text
    assert refused.headers["Cache-Control"] == "no-store"
    assert "default-src 'self'" in refused.headers["Content-Security-Policy"]
    assert log_in(server, "operator", "203.0.113.1", PASSWORD).status_code == 429
    assert log_in(server, "operator", "203.0.113.2", PASSWORD).status_code == 302
    output = server.output()[said:]
    assert "operator" not in output
    assert totals(server) - before == {"failed_total": 5, "refused_total": 146}
    figure(55, f"one name, one address, two workers: {counts[200]} of {TRIES} checked, then 429 for {seconds} s")


def test_case_55_many_names_from_one_address(server: Server, figure: Figure) -> None:
    """Twenty are checked, whatever the names; an IPv6 address counts with all of its /64."""
    counts, _ = statuses(lambda i: log_in(server, f"name-{i}", f"2001:db8::{i + 1:x}"))
    assert counts == {200: 20, 429: 130}
    assert log_in(server, "operator", "2001:db8::ffff", PASSWORD).status_code == 429
    assert log_in(server, "operator", "2001:db8:0:1::1", PASSWORD).status_code == 302
    figure(55, f"{TRIES} names from one /64: {counts[200]} checked")


def test_case_55_one_name_from_many_addresses(server: Server, figure: Figure) -> None:
    """All are checked, those after the hundredth after a second; so is the operator, who gets in. The log has some
    lines, not one for each.
    """
    before, said = totals(server), len(server.output())
    counts, _ = statuses(lambda i: log_in(server, "operator", f"198.51.100.{i}"))
    assert counts == {200: TRIES}
    started_at = time.monotonic()
    assert log_in(server, "operator", "192.0.2.1", PASSWORD).status_code == 302
    waited = time.monotonic() - started_at
    assert waited >= 1.0
    grown = totals(server) - before
    assert (grown["failed_total"], grown["refused_total"]) == (TRIES, 0)
    assert grown["slowed_total"] >= TRIES - 100 + 1
    assert len(server.output()) - said < 10_000
    figure(55, f"one name, {TRIES} addresses: all checked, {TRIES - 100} slowed; the operator in after {waited:.1f} s")


def test_case_55_two_servers(redis: RedisServer, figure: Figure) -> None:
    """Servers that share a Redis count together, and a success at one is one at both. Redis holds few keys, and no name
    in the clear; while it is away each process counts for itself.

    One has a proxy before it that isn't believed: who comes by it is slowed and not refused, so that the operator gets
    in; the log says once that there is one, and the advice how to name it.
    """
    with (
        Server(NOWHERE, *BELIEVED, REDIS_URL=redis.url, **SETTINGS) as one,
        Server(NOWHERE, REDIS_URL=redis.url, **SETTINGS) as other,
    ):
        attempt = next(attempt for attempt in range(2, 8) if counted_together(one, other, f"127.0.0.{attempt}"))
        assert one.output().count("failed login from 127.0.0.2: ") == 5
        keys = redis.command("KEYS", "*failed-logins*")
        assert 1 <= len(keys) <= 3 * attempt
        assert all(b"operator" not in redis.command("GET", key) for key in keys)
        behind_a_proxy(other, figure)
        redis.stop()
        own = Counter(log_in(server, "operator", "", source="127.0.0.9").status_code for server in (one, other) * 6)
        assert own == {200: 10, 429: 2}
    figure(55, "two servers, one Redis: 5 checked by both together; while it is away 5 by each")


def counted_together(one: Server, other: Server, source: str) -> bool:
    """Whether it is so, for an address of its own; False: on a busy machine Redis didn't answer a server in time."""
    before = [performance(server)["logins"]["unshared_total"] for server in (one, other)]
    seen = [log_in(server, "operator", source=source).status_code for server in (one, other, one, other)]
    seen.append(log_in(other, "operator", password=PASSWORD, source=source).status_code)
    seen += [log_in(server, "operator", source=source).status_code for server in (one, other, one, other, one)]
    seen += [log_in(server, "operator", source=source).status_code for server in (other, one)]
    if [performance(server)["logins"]["unshared_total"] for server in (one, other)] != before:
        return False
    assert seen == [*[200] * 4, 302, *[200] * 5, 429, 429]
    return True


def behind_a_proxy(server: Server, figure: Figure) -> None:
    before = performance(server)["logins"]
    counts, _ = statuses(lambda i: log_in(server, f"name-{i}", f"198.51.100.{i}"), 36)
    assert counts == {200: 36}
    assert log_in(server, "operator", "192.0.2.1", PASSWORD).status_code == 302
    assert server.output().count("which is not believed") == 1
    report = performance(server)
    grown = {name: report["logins"][name] - before[name] for name in ("failed_total", "refused_total", "slowed_total")}
    assert grown["failed_total"] == 36
    assert grown["refused_total"] == 0
    assert grown["slowed_total"] > 0
    assert report["logins"]["proxy"] == "127.0.0.1"
    advice = next(one for one in report["recommendations"] if one["metric"] == "logins.proxy")
    assert "--forwarded-allow-ips 127.0.0.1" in advice["why"]
    figure(55, f"by a proxy that isn't believed: none of 36 refused, {grown['slowed_total']} slowed, said once")


def test_case_55_what_is_no_failed_login(server: Server, figure: Figure) -> None:
    """A form without its CSRF token or without a password counts for nothing, however often it is posted: no page of
    somebody else's makes the operator's browser lock him out.
    """
    before = totals(server)
    forged = {"username": "operator", "password": "wrong"}
    address = {"X-Forwarded-For": "203.0.113.5"}
    for _ in range(8):
        assert server.http.post("/admin/login/", data=forged, headers=address).status_code == 403
        assert log_in(server, "operator", "203.0.113.5", "").status_code == 200
    assert log_in(server, "operator", "203.0.113.5", PASSWORD).status_code == 302
    assert totals(server) == before
    figure(55, "8 forms without CSRF token: nothing counted")
