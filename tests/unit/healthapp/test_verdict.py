"""The verdict: one true sentence for every state."""

from datetime import UTC, datetime, timedelta

import pytest

from esassistant.resource import Health
from healthapp.checks import ServiceReport
from healthapp.monitor import HealthReport, Transition
from healthapp.verdict import ServedMappings, verdict

NOW = 1000.0
CHECKED_AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
FRESH = ServedMappings(True, 9, 0, 3.0)
STALE = ServedMappings(True, 9, 9, 400.0)
SOME_STALE = ServedMappings(True, 9, 2, 400.0)
NONE_YET = ServedMappings(False, 0, 0, None)
EMPTY = ServedMappings(True, 0, 0, None)


def report(status: Health, since: float | None = None, **services: str | None) -> HealthReport:
    """Services with what is wrong with them, None: healthy; the transitions are `since` seconds old."""
    bad = Health.UNHEALTHY if status is Health.UNHEALTHY else Health.DEGRADED
    found = {
        name: ServiceReport(Health.HEALTHY if error is None else bad, 1.0, name == "elasticsearch", error)
        for name, error in services.items()
    }
    # The wall clock was set an hour forward meanwhile: nothing goes by it.
    at = CHECKED_AT - timedelta(hours=1)
    transitions = () if since is None else tuple(Transition(NOW - since, at, name, None, bad, "x") for name in services)
    return HealthReport(status, CHECKED_AT, 1.0, 30.0, found, 0.0, transitions)


AWAY = "Elasticsearch could not be reached."
REASON = AWAY.rstrip(".")


@pytest.mark.parametrize(
    ("health", "mappings", "sentence"),
    [
        (report(Health.HEALTHY, elasticsearch=None), FRESH, "Serving fresh mappings."),
        (
            report(Health.HEALTHY, elasticsearch=None),
            EMPTY,
            "The cluster has no indices, so there is nothing to serve.",
        ),
        (
            report(Health.UNHEALTHY, 42, elasticsearch=AWAY),
            STALE,
            f"Serving stale mappings, the oldest confirmed 6 min 40 s ago: Elasticsearch: {REASON} (for 42 s).",
        ),
        (report(Health.UNHEALTHY, elasticsearch=AWAY), FRESH, f"Serving fresh mappings: Elasticsearch: {REASON}."),
        (
            report(Health.DEGRADED, 60, mapping_cache="2 of 9 mappings are stale", store="The store is down."),
            SOME_STALE,
            "Serving mappings, 2 of 9 of them stale: store: The store is down (for 1 min).",
        ),
        (
            report(Health.DEGRADED, mapping_cache="no mappings yet: the first pass has not ended"),
            NONE_YET,
            "No mappings yet: the mapping cache: no mappings yet: the first pass has not ended.",
        ),
        (
            report(Health.DEGRADED, pools="pool default is full"),
            FRESH,
            "Serving fresh mappings: the connection pools: pool default is full.",
        ),
    ],
)
def test_sentences(health: HealthReport, mappings: ServedMappings, sentence: str) -> None:
    """What is served comes first, then what is wrong and for how long."""
    found = verdict(health, mappings, NOW)
    assert (found.level, found.sentence) == (health.status, sentence)


def test_before_the_first_report() -> None:
    """As long as nothing was checked nothing is claimed."""
    found = verdict(None, FRESH, NOW)
    assert (found.level, found.sentence) == (None, "Starting: the first health checks are still running.")
