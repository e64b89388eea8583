"""The kernel's declarations: what tells of requests, and four clients, each with connections and settings of its
own.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from elasticsearch import ApiError

import esassistant
from dev.faults.proxy import FaultProxy, ProxyResponse
from esassistant import apps
from esassistant.apps import CACHE_CONNECTIONS, HEALTH_CONNECTIONS, WATCH_CONNECTIONS, EsassistantConfig, declare
from esassistant.clock import now_utc
from esassistant.config.pools import PoolRule
from esassistant.elasticsearch.errors import AnswerTooLarge, BreakerOpen
from esassistant.elasticsearch.node import EXTRAS
from esassistant.elasticsearch.stats import PoolReport
from esassistant.http.access_log import AccessLog, LogLine
from esassistant.http.tokens_file import NO_FILE, TOKENS_FILE, TOKENS_FILE_REPORT
from esassistant.registry import Registry
from esassistant.registry import registry as process_registry
from esassistant.resource import Health
from tests.support.clients import elasticsearch_config

CLIENTS = ("elasticsearch_cache", "elasticsearch_watch", "elasticsearch_health", "elasticsearch")
HEALTHY = ProxyResponse('{"status": "green", "number_of_nodes": 1, "unassigned_shards": 0}')


@pytest.fixture(autouse=True)
def configured(stub: FaultProxy, settings: Any) -> None:
    """Settings for the cluster, with a pool of 3 for logs and one of 2 for the rest, and 2 retries."""
    rules = (PoolRule("logs", ("logs-*",), 3), PoolRule("default", ("*",), 2))
    elasticsearch = elasticsearch_config(stub.url, pools=rules, pool_overflow=4, max_retries=2)
    settings.ESASSISTANT = replace(settings.ESASSISTANT, elasticsearch=elasticsearch)
    stub.respond("", lambda _: HEALTHY)


def reports(registry: Registry) -> dict[str, PoolReport]:
    """All pools of all clients, by name."""
    return {pool: report for name in CLIENTS for pool, report in registry.read(name).items()}


def requests(registry: Registry) -> dict[str, int]:
    """How many requests each pool made that made any."""
    return {pool: report.requests_total for pool, report in reports(registry).items() if report.requests_total}


async def test_clients_apart(own_registry: Registry, stub: FaultProxy) -> None:
    """The clients open without I/O, are reported apart, and one's calls take none of another's connections."""
    declare(own_registry)
    assert tuple(resource.name for resource in own_registry.declared()) == (
        *("http", "connections", "streams", "logins", "log", "access_log", "tokens_file", "elasticsearch_pings"),
        *("cluster_identity", *CLIENTS, "pools"),
    )
    async with own_registry.open():
        limits = {pool: report.max_connections for pool, report in reports(own_registry).items()}
        expected = {
            "cache": CACHE_CONNECTIONS,
            "watch": WATCH_CONNECTIONS,
            "health": HEALTH_CONNECTIONS,
            "logs": 3,
            "default": 2,
        }
        assert limits == expected
        assert stub.connections_total == 0
        await own_registry.get("elasticsearch").info()
        assert requests(own_registry) == {"default": 1}
        answer = await own_registry.get("elasticsearch_cache").info()
        assert answer.body == HEALTHY.body.encode()  # type: ignore[union-attr]
        assert requests(own_registry) == {"cache": 1, "default": 1}
        await own_registry.get("elasticsearch").count(index="logs-1")
        assert requests(own_registry) == {"cache": 1, "logs": 1, "default": 1}
        created = {pool: report.connections_created_total for pool, report in reports(own_registry).items()}
        # The public client's pools bound what is in use; its idle connections they share.
        assert created == {"cache": 1, "watch": 0, "health": 0, "logs": 0, "default": 1}


async def test_limits_as_set(own_registry: Registry) -> None:
    """The public client's pools overflow or wait as set; ours always wait. Only health and watch have no breaker."""
    declare(own_registry)
    async with own_registry.open():
        limits = {pool: (report.blocks, report.max_overflow) for pool, report in reports(own_registry).items()}
        ours = (True, 0)
        assert limits == {"cache": ours, "watch": ours, "health": ours, "logs": (False, 4), "default": (False, 4)}
        with_breaker = {pool for pool, report in reports(own_registry).items() if report.breaker is not None}
        assert with_breaker == {"cache", "logs", "default"}


@pytest.mark.parametrize(
    ("name", "max_bytes"),
    [
        ("elasticsearch", 5_000_000),
        ("elasticsearch_cache", 64_000_000),
        ("elasticsearch_watch", 64_000_000),
        ("elasticsearch_health", 1_000_000),
    ],
)
async def test_bounds_of_answers(
    own_registry: Registry, stub: FaultProxy, settings: Any, name: str, max_bytes: int
) -> None:
    """Each client reads as much as its answers may need and no more: searches as set, mappings in proportion to what
    may be kept.
    """
    config = settings.ESASSISTANT
    cache = replace(config.mapping_cache, max_bytes=1_000_000)
    settings.ESASSISTANT = replace(config, search_max_bytes=5_000_000, mapping_cache=cache)
    declare(own_registry)
    stub.stop_responding()
    stub.respond("", lambda _: ProxyResponse(b'"%b"' % (b"x" * (max_bytes - 1))))
    async with own_registry.open():
        with pytest.raises(AnswerTooLarge, match=f"more than {max_bytes // 1_000_000} MB"):
            await own_registry.get(name).info()


async def test_mappings_have_as_much_room_as_may_be_kept(own_registry: Registry, settings: Any) -> None:
    """Where more may be kept than is read at least, as much may be read."""
    cache = replace(settings.ESASSISTANT.mapping_cache, max_bytes=100_000_000)
    settings.ESASSISTANT = replace(settings.ESASSISTANT, mapping_cache=cache)
    declare(own_registry)
    async with own_registry.open():
        (node,) = own_registry.get("elasticsearch_cache").transport.node_pool.all()
        assert node.config._extras[EXTRAS].max_answer_bytes == 100_000_000


@pytest.mark.parametrize("name", ["elasticsearch", "elasticsearch_cache"])
async def test_transitions_are_announced(own_registry: Registry, stub: FaultProxy, name: str) -> None:
    """A breaker that opens is announced under its client's name, so that health is checked at once."""
    declare(own_registry)
    async with own_registry.open():
        heard: list[str] = []
        own_registry.listen(heard.append)
        client = own_registry.get(name)
        with stub.fault(status=503, headers={"X-Elastic-Product": "Elasticsearch"}):
            while not heard:
                with pytest.raises((ApiError, BreakerOpen)):
                    await client.indices.refresh()
        with pytest.raises(BreakerOpen):
            await client.info()
        assert heard == [name]
        assert stub.count(path="_refresh") == 20


async def test_health_has_its_own_connections(own_registry: Registry) -> None:
    """The public client's ping is critical and goes over the health client: a full pool can't turn health red."""
    declare(own_registry)
    async with own_registry.open():
        pinged, pools_check = (resource for resource in own_registry.declared() if resource.ping is not None)
        assert (pinged.name, pinged.critical) == ("elasticsearch", True)
        assert (pools_check.name, pools_check.critical) == ("pools", False)
        assert pinged.ping is not None
        assert (await pinged.ping(own_registry.get("elasticsearch"))).health is Health.HEALTHY
        assert pools_check.ping is not None
        assert (await pools_check.ping(None)).health is Health.HEALTHY
        assert requests(own_registry) == {"health": 1}


@pytest.mark.parametrize(
    ("name", "attempts"), [("elasticsearch", 3), ("elasticsearch_cache", 3), ("elasticsearch_health", 1)]
)
async def test_probes_are_not_retried(own_registry: Registry, stub: FaultProxy, name: str, attempts: int) -> None:
    """Calls of the public client and of the cache are tried again as set, those of the health check never."""
    declare(own_registry)
    async with own_registry.open():
        client = own_registry.get(name)
        with stub.fault(status=503, headers={"Retry-After": "0"}), pytest.raises(Exception, match="503"):
            await client.info()
    assert stub.count() == attempts


async def test_the_access_log_is_written_while_open(
    own_registry: Registry, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is wanted, a task of its own writes it, and what waits at the end is written too; else there is none."""
    reading, writing = os.pipe()
    log = AccessLog(writing)
    monkeypatch.setattr(apps, "access_log", log)
    declare(own_registry)
    async with own_registry.open(only=["access_log"]):
        assert own_registry.get("access_log") is None
        assert own_registry.read("access_log") is None
    settings.ESASSISTANT = replace(settings.ESASSISTANT, access_log=True)
    line = LogLine(now_utc(), "id", None, "GET", "/x", None, "hot", 200, 0.1, 2, None)
    async with own_registry.open(only=["access_log"]):
        assert [task.owner for task in own_registry.tasks()] == ["access_log"]
        log.write(line)
    assert b'"path":"/x"' in os.read(reading, 4096)
    assert log.report().written_lines_total == 1
    os.close(reading)
    os.close(writing)


async def test_the_file_of_tokens_is_followed_while_open(own_registry: Registry, settings: Any, tmp_path: Path) -> None:
    """Where there is one, a task of its own looks at it, and health says whether it can be used; else nothing is said
    of it.
    """
    declare(own_registry)
    async with own_registry.open(only=["tokens_file"]):
        assert own_registry.get(TOKENS_FILE) is None
        assert own_registry.read(TOKENS_FILE_REPORT) == NO_FILE
    assert "tokens_file" not in {resource.name for resource in own_registry.declared() if resource.ping}
    settings.ESASSISTANT = replace(settings.ESASSISTANT, tokens_file=str(tmp_path / "tokens.toml"))
    with_file = Registry()
    declare(with_file)
    async with with_file.open(only=["tokens_file"]):
        assert [task.owner for task in with_file.tasks()] == ["tokens_file"]
        file = with_file.get(TOKENS_FILE)
        assert file is not None
        await file.look()
        assert not with_file.read(TOKENS_FILE_REPORT).readable
    [ping] = [resource.ping for resource in with_file.declared() if resource.name == "tokens_file"]
    assert ping is not None
    assert [(await ping(one)).health for one in (None, file)] == [Health.HEALTHY, Health.DEGRADED]


def test_the_process_has_them() -> None:
    """Django's start declares them in the registry of the process."""
    assert {resource.name for resource in process_registry.declared()} >= set(CLIENTS)


def test_settings_that_lack_ours() -> None:
    """A project that embeds this service is told which lines of settings.py it lacks."""
    config = EsassistantConfig("esassistant", esassistant)
    with override_settings():
        del django_settings.ESASSISTANT
        with pytest.raises(ImproperlyConfigured, match=r"The settings lack ESASSISTANT\. In settings\.py: from"):
            config.ready()
