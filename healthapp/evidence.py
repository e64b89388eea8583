"""What the verdict rests on: what each process tells of its callers' calls, and the sum of it. Pure."""

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
"""Routes whose 503 says how the service is, and is what was asked for; and strangers, who find no route."""
YOUNG_SECONDS = 15.0
"""What another process told longer ago counts no more."""


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A breaker that keeps calls of a pool from the cluster, why, and for how long it has."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Told:
    """What one process tells: the windows of its callers' calls, by kind; its pings; its open breakers, by pool; and
    for how long each trouble of its verdict has lasted, by what the trouble is called.
    """

    kinds: Mapping[str, WindowReport] = field(default_factory=dict)
    ping: WindowReport | None = None
    breakers: Mapping[str, OpenBreaker] = field(default_factory=dict)
    lasting: Mapping[str, float] = field(default_factory=dict)

    def older_by(self, seconds: float) -> "Told":
        """The same, heard of so many seconds after it was told."""
        return Told(
            {kind: window.older_by(seconds) for kind, window in self.kinds.items()},
            None if self.ping is None else self.ping.older_by(seconds),
            {pool: OpenBreaker(found.reason, found.seconds + seconds) for pool, found in self.breakers.items()},
            {name: lasted + seconds for name, lasted in self.lasting.items()},
        )


@dataclass(frozen=True, slots=True)
class ServedMappings:
    """What of the mapping cache the verdict looks at."""

    warm: bool
    indices: int
    stale_indices: int
    oldest_age_seconds: float | None


@dataclass(frozen=True, slots=True)
class Service:
    """A check's latest result, and since when it has been like that."""

    report: ServiceReport
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Unwritable:
    """Why the store takes no writes, as callers may know it and as operators do, and since when."""

    error: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the verdict looks at. `usual`: what each kind usually takes, in seconds; None or missing: not known.
    `changed`: when what is usual became so by an hour of slowness, and what was before, by kind. `services` None: no
    check has ended yet.
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


def read_told(report: Mapping[str, Any]) -> Told | None:
    """What another process told, from its report as JSON; None: it tells nothing that is understood, as version 1."""
    verdict = report.get("verdict")
    try:
        return msgspec.convert(verdict["told"], Told, str_keys=True) if isinstance(verdict, Mapping) else None
    except (msgspec.ValidationError, KeyError):
        return None


def kinds_of(
    routes: Mapping[str, WindowReport], pools: Mapping[str, Mapping[str, WindowReport]]
) -> dict[str, WindowReport]:
    """The windows of all kinds of calls by their names: pools first, which know more of what went wrong."""
    found = {f"pool {pool} {sort}": window for pool, sorts in pools.items() for sort, window in sorts.items()}
    return found | {f"route {route}": window for route, window in routes.items() if route not in NOT_CALLERS}


def together(told: Iterable[Told]) -> Told:
    """What several processes tell, as if they were one; of breakers the one that is open the longest, of troubles how
    long they have lasted at the most.
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
"""Those of `callers_of` whose calls Elasticsearch answers; all else is answered from memory."""


def callers_of(kind: str) -> str:
    """Who a kind of call is for, in words that people use."""
    source, _, rest = kind.partition(" ")
    if source == "pool":
        return SEARCHES if rest.endswith(" search") else OTHER_CALLS
    if rest == SEARCH_ROUTE:
        return SEARCHES
    return "mappings" if rest.startswith("/api/mappings/") else f"requests to {rest}"
