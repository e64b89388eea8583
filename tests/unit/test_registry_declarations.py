"""What may be declared beside a resource: metrics and rules about its report, and checks of something else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from esassistant.errors import UnknownResource
from esassistant.metrics import Kind, Metric
from esassistant.registry import Registry
from esassistant.resource import Health, PingResult

METRIC = Metric(Kind.GAUGE, "size", "Its size.", "size")


@asynccontextmanager
async def client(_: Registry) -> AsyncIterator[str]:
    yield "live client"


@pytest.mark.parametrize("about", [{"metrics": (METRIC,)}, {"rules": (lambda _: (),)}])
def test_metrics_and_rules_are_about_a_report(own_registry: Registry, about: dict[str, Any]) -> None:
    """Metrics and rules without a report that they could be about are a mistake, told at the declaration."""
    with pytest.raises(ValueError, match="'client' has metrics, rules or a panel, but no stats"):
        own_registry.register("client", client, **about)
    assert own_registry.declared() == ()
    own_registry.register("client", client, stats=str, **about)
    [declared] = own_registry.declared()
    assert (declared.metrics, declared.rules) == (about.get("metrics", ()), about.get("rules", ()))


async def test_checks(own_registry: Registry) -> None:
    """A check is a resource with a ping and nothing else, whose `run` may use what it needs; its name is its own."""

    async def run() -> PingResult:
        return PingResult(Health.DEGRADED, own_registry.get("client"))

    own_registry.check("quota", run, needs=("client",), critical=True)
    own_registry.register("client", client)
    [quota, _] = own_registry.declared()
    assert (quota.name, quota.needs, quota.critical, quota.stats) == ("quota", ("client",), True, None)
    assert quota.ping is not None
    async with own_registry.open(only=["quota"]):
        assert await quota.ping(own_registry.get("quota")) == PingResult(Health.DEGRADED, "live client")
        with pytest.raises(UnknownResource, match="gives no report"):
            own_registry.read("quota")
    with pytest.raises(ValueError, match="'quota' is already registered"):
        own_registry.check("quota", run)


async def test_checks_are_seldom_critical(own_registry: Registry) -> None:
    """Without a word a check needs nothing, and its failure is no outage."""

    async def run() -> PingResult:
        return PingResult(Health.HEALTHY)

    own_registry.check("quota", run)
    [quota] = own_registry.declared()
    assert (quota.needs, quota.critical) == ((), False)
