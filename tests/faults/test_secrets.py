"""Case 27: secrets are planted in every setting that takes one, and looked for in everything that comes out."""

import base64
import html
import json
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.service import Server, manage
from esassistant.elasticsearch.client import new_client
from esassistant.registry import registry
from tests.support.clients import pools
from tests.support.fixtures import Figure, OpenApp
from tests.support.receiver import entry

PASSWORD = "planted-p@ss/w:rd"
URL_PASSWORD = "planted-url-p@ss"
DATABASE_PASSWORD = "planted-database-password"
API_KEY = base64.b64encode(b"planted-id:planted-key").decode()
TOKENS = ("planted-token-one-01", "planted-token-two-02")
SECRET_KEY = "planted-secret-key-<&'>-long-enough-to-be-accepted-0123456789"
STAFF_PASSWORD = "planted-staff-password"
WEBHOOK_SECRET = f"whsec_{base64.b64encode(b'planted-secret-of-webhooks-0123').decode()}"
GUESSED = "guessed-token-guessed"
"""Sent by a caller; nobody's secret yet, but often nearly one."""

SECRETS = (PASSWORD, URL_PASSWORD, DATABASE_PASSWORD, API_KEY, *TOKENS, SECRET_KEY, WEBHOOK_SECRET, GUESSED)
FORMS = {
    form
    for secret in SECRETS
    for form in (
        secret,
        quote(secret, safe=""),
        html.escape(secret),
        repr(secret)[1:-1],
        base64.b64encode(f"elastic:{secret}".encode()).decode(),
        json.dumps(secret)[1:-1],
    )
} | {"planted"}

PATHS = (
    "/livez",
    "/readyz?verbose",
    "/api/health",
    "/api/performance",
    "/api/cache/stats",
    "/api/mappings/nowhere",
    "/api/mappings/cold",
    "/api/broken",
    "/broken",
    "/api/nothing-here",
    "/nothing-here",
    "/metrics",
    "/api/indices",
    "/api/openapi.json",
    "/admin/",
    "/admin/status/",
)

CREDENTIALS: dict[str, dict[str, str]] = {
    "API key": {"ELASTICSEARCH_API_KEY": API_KEY},
    "user and password": {"ELASTICSEARCH_USERNAME": "elastic", "ELASTICSEARCH_PASSWORD": PASSWORD},
    "in the URL": {},
}


def found(texts: Iterable[str]) -> list[str]:
    """Each occurrence of a secret, with what stands around it."""
    return [
        text[max(0, at - 80) : at + len(form) + 40]
        for text in texts
        for form in FORMS
        for at in (text.find(form),)
        if at >= 0
    ]


def secret_settings(kind: str, log: Path) -> dict[str, Any]:
    targets = log.with_name("webhooks.toml")
    url = "https://127.0.0.1:9/planted-path?planted-query"
    targets.write_text(entry(url, secret=json.dumps(WEBHOOK_SECRET)))
    return {
        "ESASSISTANT_WEBHOOKS": targets,
        "DJANGO_SETTINGS_MODULE": "tests.support.loud_settings",
        "LOUD_LOG": str(log),
        "SECRET_KEY": SECRET_KEY,
        "ESASSISTANT_API_TOKENS": ",".join(TOKENS),
        "HEALTH_CACHE_TTL": "1",
        "HEALTH_TIMEOUT": "1",
        "ELASTICSEARCH_MAX_RETRIES": "1",
        "LOUD_DATABASE_PASSWORD": DATABASE_PASSWORD,
        **CREDENTIALS[kind],
    }


def url_of(proxy: FaultProxy, kind: str) -> str:
    return proxy.url.replace("//", f"//elastic:{quote(URL_PASSWORD, safe='')}@") if kind == "in the URL" else proxy.url


class Doorkeeper:
    """Lets callers in or not, as told; and keeps what credentials it saw."""

    def __init__(self) -> None:
        self.open = True
        self.seen: set[str] = set()

    def __call__(self, headers: Mapping[str, str]) -> bool:
        self.seen.add(headers.get("authorization", ""))
        return self.open


def log_in(server: Server) -> None:
    """As staff, over HTTP: the status page and the admin are looked at too."""
    User.objects.create_superuser("staff", password=STAFF_PASSWORD)
    server.get("/admin/login/")
    form = {"username": "staff", "password": STAFF_PASSWORD, "csrfmiddlewaretoken": server.http.cookies["csrftoken"]}
    assert server.http.post("/admin/login/", data=form).status_code == 302


def everything_answered(server: Server) -> Iterator[str]:
    """What the server says to every kind of caller: heads and bodies. Cookies are meant for their owner."""
    for path in PATHS:
        for accept in ("text/html", "application/json", "*/*"):
            for authorization in (f"Bearer {TOKENS[0]}", f"Bearer {GUESSED}"):
                answer = server.get(path, headers={"Accept": accept, "Authorization": authorization})
                yield f"{path} {answer.status_code} {answer.headers} {answer.text}"
    refreshed = server.http.post("/api/cache/refresh?wait=true", headers={"Authorization": f"Bearer {TOKENS[1]}"})
    yield f"{refreshed.headers} {refreshed.text}"


@pytest.mark.parametrize("debug", [pytest.param(False, marks=pytest.mark.minutes), True])
@pytest.mark.parametrize("kind", CREDENTIALS)
@pytest.mark.usefixtures("transactional_db")
def test_case_27_a_server_tells_no_secret(
    node: Node, cluster: Elasticsearch, tmp_path: Path, figure: Figure, kind: str, *, debug: bool
) -> None:
    """A server with every log at DEBUG, on a cluster that answers, refuses its credentials, fails and is gone: no
    secret in any answer or error page, and none in its log.
    """
    cluster.indices.create(index="cold")
    doorkeeper = Doorkeeper()
    answers: list[str] = []
    with FaultProxy(node.url, authorize=doorkeeper) as proxy:
        planted = secret_settings(kind, tmp_path / "log") | {"DEBUG": str(debug), "ALLOWED_HOSTS": "127.0.0.1"}
        with Server(url_of(proxy, kind), **planted) as server:
            log_in(server)
            answers += everything_answered(server)
            doorkeeper.open = False
            wait_until(lambda: server.get("/api/health").status_code == 503, 10)
            answers += everything_answered(server)
            doorkeeper.open = True
            with proxy.fault(status=500):
                answers += everything_answered(server)
            with proxy.fault(cut=True):
                wait_until(lambda: server.get("/api/health").status_code == 503, 10)
                answers += everything_answered(server)
            server.end()
            log = server.output() + (tmp_path / "log").read_text()
    assert any(doorkeeper.seen), "credentials were sent, so there was something to leak"
    assert len(log) > 1000
    assert "ValueError" in log, "the broken view was logged, with its traceback"
    assert found(answers) == []
    assert found(log.splitlines()) == []
    for_programs = [answer for answer in answers if not debug or "application/problem+json" in answer]
    assert [answer for answer in for_programs if "Traceback" in answer or "ValueError" in answer] == []
    # Who guesses a token is refused before any view is asked.
    for status in (500, 401):
        assert len([answer for answer in for_programs if answer.startswith(f"/api/broken {status}")]) == 4 * 3
    figure(27, f"{kind}, DEBUG={debug}: {len(answers)} answers, {len(log.splitlines())} lines of log, 0 hits")


@pytest.mark.usefixtures("transactional_db")
def test_case_27_commands_tell_no_secret(tmp_path: Path, figure: Figure) -> None:
    """Commands with bad settings, an unreachable database or an unreachable cluster name what is wrong, not the
    secret.
    """
    secrets = secret_settings("user and password", tmp_path / "log")
    closed = f"http://elastic:{quote(URL_PASSWORD, safe='')}@127.0.0.1:9"
    both = {"ELASTICSEARCH_USERNAME": "elastic"}
    outputs = [
        manage("check", elasticsearch_url=closed, **secrets),
        manage("check", elasticsearch_url="http://127.0.0.1:9", **secrets | {"ELASTICSEARCH_API_KEY": API_KEY}),
        manage("check", elasticsearch_url=f"ftp://x:{URL_PASSWORD}@y", **secrets | both),
        manage("check", elasticsearch_url=f"http://x:{URL_PASSWORD}@y:port", **secrets),
        manage("check", elasticsearch_url=closed, **secrets | {"DATABASE_URL": f"nothing://u:{URL_PASSWORD}@db/x"}),
        manage(
            "check", elasticsearch_url="http://127.0.0.1:9", **secrets | {"ESASSISTANT_API_TOKENS": "planted-short"}
        ),
        manage("check", elasticsearch_url=closed, **secrets | {"DATABASE_URL": f"sqlite://u:{DATABASE_PASSWORD}@/x"}),
        manage(
            "migrate",
            elasticsearch_url=closed,
            **secrets | {"DATABASE_URL": f"postgres://u:{DATABASE_PASSWORD}@127.0.0.1:9/x"},
        ),
        manage("refresh_cache", elasticsearch_url="http://127.0.0.1:9", **secrets),
        manage("warm_cache", elasticsearch_url="http://127.0.0.1:9", **secrets),
        manage("config", elasticsearch_url="http://127.0.0.1:9", **secrets),
        manage("diffsettings", "--all", elasticsearch_url="http://127.0.0.1:9", DEBUG="true"),
    ]
    assert found(output.stdout + output.stderr for output in outputs) == []
    assert [output.returncode != 0 for output in outputs[1:7]] == [True] * 6
    figure(27, f"{len(outputs)} commands, 0 hits")


async def test_case_27_objects_tell_no_secret(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """`repr` of the configuration, of clients and of every resource, tracebacks of failed calls and the reports of the
    registry hold no secret.
    """
    cluster.indices.create(index="cold")
    async with open_app(node.url, username="elastic", password=PASSWORD) as http:
        config = settings.ESASSISTANT
        texts = [repr(config), str(config), repr(replace(config.elasticsearch, api_key=API_KEY)), repr(registry)]
        for resource in registry.declared():
            value = registry.get(resource.name)
            texts += [repr(resource), repr(value), repr(getattr(value, "transport", None))]
            texts += [repr(registry.read(resource.name))] if resource.stats else []
        for path in ("/api/performance", "/api/health", "/api/cache/stats"):
            texts.append((await http.get(path)).text)
        client = new_client(
            replace(config.elasticsearch, urls=("http://127.0.0.1:9",), api_key=API_KEY),
            pools(),
            request_timeout=1,
            max_retries=0,
        )
        try:
            await client.info()
        except Exception as error:  # noqa: BLE001  (whatever it is, its traceback is looked at)
            texts += traceback.format_exception(error)
        await client.close()
    assert found(texts) == []
    figure(27, f"{len(texts)} texts of objects and tracebacks, 0 hits")
