"""The kernel's declarations: three clients, each with connections and settings of its own."""

from dataclasses import replace
from typing import Any

import pytest

from esassistant.apps import declare
from esassistant.elasticsearch.client import CACHE_CONNECTIONS, HEALTH_CONNECTIONS
from esassistant.registry import Health, PingResult, Registry
from esassistant.registry import registry as process_registry
from tests.proxy import FaultProxy, ProxyResponse
from tests.unit.conftest import elasticsearch_config

NAMES = ("elasticsearch_cache", "elasticsearch_watch", "elasticsearch_health", "elasticsearch")
HEALTHY = ProxyResponse('{"status": "green", "number_of_nodes": 1, "unassigned_shards": 0}')


@pytest.fixture(autouse=True)
def configured(stub: FaultProxy, settings: Any) -> None:
    """Settings for the cluster, with a pool of 3 and 2 retries."""
    elasticsearch = elasticsearch_config(stub.url, pool_maxsize=3, max_retries=2)
    settings.ESASSISTANT = replace(settings.ESASSISTANT, elasticsearch=elasticsearch)
    stub.respond("", lambda _: HEALTHY)


async def test_clients_apart(own_registry: Registry, stub: FaultProxy) -> None:
    """The clients open without I/O, are reported apart, and one's calls take none of another's connections."""
    declare(own_registry)
    assert tuple(resource.name for resource in own_registry.declared()) == NAMES
    async with own_registry.open():
        limits = {name: own_registry.read(name).max_connections for name in NAMES}
        assert limits == dict(zip(NAMES, (CACHE_CONNECTIONS, 1, HEALTH_CONNECTIONS, 3), strict=True))
        assert stub.connections_total == 0
        await own_registry.get("elasticsearch").info()
        assert [own_registry.read(name).requests_total for name in NAMES] == [0, 0, 0, 1]
        assert (await own_registry.get("elasticsearch_cache").info()).body == HEALTHY.body.encode()  # type: ignore[union-attr]
        assert [own_registry.read(name).connections_created_total for name in NAMES] == [1, 0, 0, 1]


async def test_health_has_its_own_connections(own_registry: Registry) -> None:
    """The public client's ping is critical and goes over the health client: a full pool can't turn health red."""
    declare(own_registry)
    async with own_registry.open():
        [pinged] = [resource for resource in own_registry.declared() if resource.ping is not None]
        assert (pinged.name, pinged.critical) == ("elasticsearch", True)
        assert pinged.ping is not None
        assert await pinged.ping(own_registry.get("elasticsearch")) == PingResult(Health.HEALTHY)
        assert [own_registry.read(name).requests_total for name in NAMES] == [0, 0, 1, 0]


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


def test_the_process_has_them() -> None:
    """Django's start declares them in the registry of the process."""
    assert {resource.name for resource in process_registry.declared()} >= set(NAMES)
