"""Health checks: one for each resource that has a ping. They run at the same time, each with its own timeout."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from esassistant.clock import Clock, monotonic
from esassistant.errors import EsassistantError
from esassistant.masking import mask_text
from esassistant.registry import Registry, Resource
from esassistant.resource import Health, PingResult
from esassistant.units import as_seconds

logger = logging.getLogger(__name__)

MAX_ERROR_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Check:
    """One health check. `timeout` is in seconds. If the check fails, the whole service is unhealthy if `critical` is
    true, and otherwise only degraded.
    """

    name: str
    timeout: float
    critical: bool
    run: Callable[[], Awaitable[PingResult]]


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """The result of a check. `error`: why it isn't healthy, short and free of credentials; None when healthy. `facts`:
    a few numbers and words.
    """

    status: Health
    latency_ms: float
    critical: bool
    error: str | None
    facts: Mapping[str, bool | float | str | None] = field(default_factory=dict)


def checks_of(registry: Registry, timeout: float) -> tuple[Check, ...]:
    """Return a check for each declared resource that has a ping."""
    return tuple(
        Check(resource.name, timeout, resource.critical, _ping(registry, resource))
        for resource in registry.declared()
        if resource.ping is not None
    )


def _ping(registry: Registry, resource: Resource) -> Callable[[], Awaitable[PingResult]]:
    async def run() -> PingResult:
        assert resource.ping is not None
        return await resource.ping(registry.get(resource.name))

    return run


async def run_check(check: Check, clock: Clock = monotonic) -> ServiceReport:
    """Run one check. Everything that goes wrong in it becomes part of the report; only cancellation is raised."""
    started_at = clock()
    try:
        async with asyncio.timeout(check.timeout):
            result = _fit(await check.run())
    except TimeoutError:
        result = PingResult(Health.UNHEALTHY, f"no answer within {as_seconds(check.timeout)}")
    except EsassistantError as error:
        result = PingResult(Health.UNHEALTHY, scrub(error.operator_detail))
    except Exception as error:
        # A check that a user of this project wrote may raise anything, with any text. So only the type of the error is
        # shown.
        logger.warning("health check %s failed", check.name, exc_info=True)
        result = PingResult(Health.UNHEALTHY, f"the check failed ({type(error).__name__})")
    latency_ms = round((clock() - started_at) * 1000, 3)
    return ServiceReport(result.health, latency_ms, check.critical, result.detail, result.facts)


def _fit(result: PingResult) -> PingResult:
    """Return a result whose texts and facts can be shown.

    Raise an error (of any class) if `result` isn't a `PingResult`: a check that a user has written may return anything.
    """
    health = Health(result.health)
    detail = None if health is Health.HEALTHY else scrub(result.detail)
    facts = {name: _fit_fact(fact) for name, fact in result.facts.items()}
    return PingResult(health, detail, facts)


def _fit_fact(fact: object) -> bool | float | str | None:
    return fact if fact is None or isinstance(fact, bool | int | float) else scrub(str(fact))


async def run_checks(checks: Iterable[Check], clock: Clock = monotonic) -> dict[str, ServiceReport]:
    """Run all checks at the same time. This takes as long as the slowest."""
    listed = tuple(checks)
    reports = await asyncio.gather(*(run_check(check, clock) for check in listed))
    return {check.name: report for check, report in zip(listed, reports, strict=True)}


def overall(services: Iterable[ServiceReport]) -> Health:
    """Return unhealthy if a critical service is, else degraded if any service isn't healthy."""
    listed = tuple(services)
    if any(service.critical and service.status is Health.UNHEALTHY for service in listed):
        return Health.UNHEALTHY
    if any(service.status is not Health.HEALTHY for service in listed):
        return Health.DEGRADED
    return Health.HEALTHY


def scrub(text: str | None) -> str | None:
    """Return the text on one line, with secrets masked, and cut to `MAX_ERROR_CHARACTERS`."""
    if text is None:
        return None
    flat = mask_text(" ".join(text.split()))
    return flat if len(flat) <= MAX_ERROR_CHARACTERS else flat[: MAX_ERROR_CHARACTERS - 1] + "…"
