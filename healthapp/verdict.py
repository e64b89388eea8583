"""How things are, in one sentence: for the first line of a status page. Pure."""

from dataclasses import dataclass

from esassistant.resource import Health
from esassistant.units import as_duration
from healthapp.monitor import HealthReport

NAMES = {
    "elasticsearch": "Elasticsearch",
    "mapping_cache": "the mapping cache",
    "process": "the event loop",
    "pools": "the connection pools",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`level` None: it can't be told yet."""

    level: Health | None
    sentence: str


@dataclass(frozen=True, slots=True)
class ServedMappings:
    """What of the mapping cache the verdict looks at."""

    warm: bool
    indices: int
    stale_indices: int
    oldest_age_seconds: float | None


def verdict(health: HealthReport | None, mappings: ServedMappings, now: float) -> Verdict:
    """What is served, then what is wrong and for how long. `now` is on the clock that `health` was made by."""
    if health is None:
        return Verdict(None, "Starting: the first health checks are still running.")
    wrong = "; ".join(
        f"{NAMES.get(name, name)}: {(service.error or service.status.value).rstrip('.')}{_since(health, name, now)}"
        for name, service in health.services.items()
        if service.status is not Health.HEALTHY and not (name == "mapping_cache" and mappings.warm)
    )
    served = _served(mappings)
    return Verdict(health.status, f"{served}: {wrong}." if wrong else f"{served}.")


def _served(mappings: ServedMappings) -> str:
    if not mappings.warm:
        return "No mappings yet"
    if not mappings.indices:
        return "The cluster has no indices, so there is nothing to serve"
    if mappings.stale_indices == mappings.indices:
        return f"Serving stale mappings, the oldest confirmed {as_duration(mappings.oldest_age_seconds or 0)} ago"
    if mappings.stale_indices:
        return f"Serving mappings, {mappings.stale_indices} of {mappings.indices} of them stale"
    return "Serving fresh mappings"


def _since(health: HealthReport, service: str, now: float) -> str:
    """For how long a service has been as it is, where its last transition is still known."""
    for transition in health.transitions:
        if transition.service == service:
            return f" (for {as_duration(now - transition.made_at)})"
    return ""
