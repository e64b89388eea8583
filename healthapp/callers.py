"""What callers of the whole deployment got, as rows and numbers for the status page. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from esassistant.windows import WindowReport, added, median_seconds, quantile_seconds
from healthapp.evidence import callers_of
from healthapp.judge import Basis

ROUTE, POOL = "route ", "pool "
MOST_SHARE = 0.95
MAX_ROWS = 12


@dataclass(frozen=True, slots=True)
class Got:
    """What one sort of callers got in the last minute. `bad`: calls that were not answered, with the `refused` ones,
    for which no connection was free. `parts`: calls that were answered in part. `median_seconds`, `most_seconds`,
    `slowest_seconds`: the median, the 95th percentile and the longest of their durations. `usual_seconds`: None if it
    isn't known, or if the row has several kinds of calls.
    """

    name: str
    calls: int
    bad: int
    refused: int
    parts: int
    median_seconds: float | None
    most_seconds: float | None
    slowest_seconds: float | None
    usual_seconds: float | None = None

    @property
    def bad_percent(self) -> float | None:
        """The percentage of failed calls; None if there were no calls."""
        return 100.0 * self.bad / self.calls if self.calls else None


def together(basis: Basis) -> Got:
    """Return the row for all requests."""
    return _got("all requests", [window for kind, window in basis.kinds.items() if kind.startswith(ROUTE)])


def searches(basis: Basis) -> Got:
    """Return the row for the searches of all pools."""
    kinds = [kind for kind in basis.kinds if kind.startswith(POOL) and kind.endswith(" search")]
    return _got("searches", [basis.kinds[kind] for kind in kinds], _only(basis.usual_seconds, kinds))


def by_endpoint(basis: Basis) -> list[Got]:
    """Return a row for each sort of requests. Those with the most failed calls come first, then those with the most
    calls.
    """
    groups: dict[str, list[str]] = {}
    for kind in basis.kinds:
        if kind.startswith(ROUTE):
            groups.setdefault(callers_of(kind).removeprefix("requests to "), []).append(kind)
    rows = [
        _got(name, [basis.kinds[kind] for kind in kinds], _only(basis.usual_seconds, kinds))
        for name, kinds in groups.items()
    ]
    return _sorted(row for row in rows if row.calls)


def by_pool(basis: Basis) -> list[Got]:
    """Return a row for each kind of calls to Elasticsearch."""
    kinds = [kind for kind in basis.kinds if kind.startswith(POOL)]
    return _sorted(_got(_pool_and_sort(kind), [basis.kinds[kind]], basis.usual_seconds.get(kind)) for kind in kinds)


def _pool_and_sort(kind: str) -> str:
    pool, _, sort = kind.removeprefix(POOL).rpartition(" ")
    return f"{pool}: {'searches' if sort == 'search' else 'other calls'}"


def _sorted(rows: Iterable[Got]) -> list[Got]:
    return sorted(rows, key=lambda row: (-row.bad, -row.calls, row.name))[:MAX_ROWS]


def _only(usual: Mapping[str, float | None], kinds: list[str]) -> float | None:
    return usual.get(kinds[0]) if len(kinds) == 1 else None


def _got(name: str, windows: list[WindowReport], usual_seconds: float | None = None) -> Got:
    window = added(windows)
    return Got(
        name,
        window.calls,
        window.bad,
        window.refusals,
        window.parts,
        median_seconds(window.minute),
        quantile_seconds(window.minute, MOST_SHARE),
        window.slowest_seconds,
        usual_seconds,
    )
