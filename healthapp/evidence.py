"""The evidence for the verdict: what each process reports about its callers' calls, and the sum over all processes.
Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from esassistant.http.statistics import UNMATCHED
from esassistant.windows import WindowReport, added
from healthapp.checks import ServiceReport

PING = "ping"
SEARCH_ROUTE = "/api/indices/{name}/search"
NOT_CALLERS = frozenset({"/livez", "/readyz", "/api/health", UNMATCHED})
"""Routes that say nothing about callers: those whose 503 is itself the answer about health, and requests of strangers
that match no route.
"""
YOUNG_SECONDS = 15.0
"""Reports of other processes that are older don't count."""


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A breaker that refuses the calls of a pool: why, and for how many seconds already."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Told:
    """What one process reports: the windows of its callers' calls by kind (`kinds`), its pings (`ping`), its open
    breakers by pool (`breakers`), and for how many seconds each trouble of its verdict has lasted, by the name of the
    trouble (`lasting`).
    """

    kinds: Mapping[str, WindowReport] = field(default_factory=dict)
    ping: WindowReport | None = None
    breakers: Mapping[str, OpenBreaker] = field(default_factory=dict)
    lasting: Mapping[str, float] = field(default_factory=dict)

    def older_by(self, seconds: float) -> "Told":
        """Return the same report with all ages increased by `seconds`."""
        return Told(
            {kind: window.older_by(seconds) for kind, window in self.kinds.items()},
            None if self.ping is None else self.ping.older_by(seconds),
            {pool: OpenBreaker(found.reason, found.seconds + seconds) for pool, found in self.breakers.items()},
            {name: lasted + seconds for name, lasted in self.lasting.items()},
        )


@dataclass(frozen=True, slots=True)
class ServedMappings:
    """What the verdict needs to know about the mapping cache."""

    warm: bool
    indices: int
    stale_indices: int
    oldest_age_seconds: float | None


@dataclass(frozen=True, slots=True)
class Service:
    """The latest result of a check, and since when the check has had this status."""

    report: ServiceReport
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Unwritable:
    """Why the store accepts no writes, for operators, and since when."""

    error: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the verdict is based on.

    Attributes:
        usual: What calls of each kind usually take, in seconds; None or missing if it isn't known.
        changed: By kind: when an hour of slow calls became usual, and what was usual before.
        over: For findings that ended within the last minute, by name: how many seconds ago.
        services: None if no check has ended yet.
    """

    processes: int
    kinds: Mapping[str, WindowReport]
    ping: WindowReport
    breakers: Mapping[str, OpenBreaker]
    services: Mapping[str, Service] | None
    mappings: ServedMappings
    unwritable: Unwritable | None = None
    usual: Mapping[str, float | None] = field(default_factory=dict)
    changed: Mapping[str, tuple[datetime, float | None]] = field(default_factory=dict)
    over: Mapping[str, float] = field(default_factory=dict)


def read_told(report: Mapping[str, Any]) -> Told | None:
    """Read what another process reported, from its report as JSON. Return None if nothing can be understood, as with
    version 1.
    """
    verdict = report.get("verdict")
    try:
        return msgspec.convert(verdict["told"], Told, str_keys=True) if isinstance(verdict, Mapping) else None
    except (msgspec.ValidationError, KeyError):
        return None


def kinds_of(
    routes: Mapping[str, WindowReport], pools: Mapping[str, Mapping[str, WindowReport]]
) -> dict[str, WindowReport]:
    """Return the windows of all kinds of calls by their names. Pools come first, as they know more about what went
    wrong.
    """
    found = {f"pool {pool} {sort}": window for pool, sorts in pools.items() for sort, window in sorts.items()}
    return found | {f"route {route}": window for route, window in routes.items() if route not in NOT_CALLERS}


def together(told: Iterable[Told]) -> Told:
    """Return what several processes reported, as if they were one. Of several open breakers of a pool the longest open
    one counts, and of several durations of a trouble the longest.
    """
    parts = tuple(told)
    kinds: dict[str, list[WindowReport]] = {}
    breakers: dict[str, OpenBreaker] = {}
    lasting: dict[str, float] = {}
    for part in parts:
        for kind, window in part.kinds.items():
            kinds.setdefault(kind, []).append(window)
        for pool, found in part.breakers.items():
            if pool not in breakers or found.seconds > breakers[pool].seconds:
                breakers[pool] = found
        for name, seconds in part.lasting.items():
            lasting[name] = max(seconds, lasting.get(name, 0.0))
    pings = [part.ping for part in parts if part.ping is not None]
    return Told({kind: added(windows) for kind, windows in kinds.items()}, added(pings), breakers, lasting)


SEARCHES = "searches"
OTHER_CALLS = "other calls to Elasticsearch"
ASKERS = frozenset({SEARCHES, OTHER_CALLS})
"""Those results of `callers_of` whose calls Elasticsearch answers; all others are answered from memory."""


def callers_of(kind: str) -> str:
    """Return the name for people of a kind of call, such as `searches`."""
    source, _, rest = kind.partition(" ")
    if source == "pool":
        return SEARCHES if rest.endswith(" search") else OTHER_CALLS
    if rest == SEARCH_ROUTE:
        return SEARCHES
    return "mappings" if rest.startswith("/api/mappings/") else f"requests to {rest}"
