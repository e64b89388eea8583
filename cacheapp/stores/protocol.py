"""The store protocol: how processes share mappings.

One instance reads the cluster and publishes; all others take over what it published. Two backends implement the
protocol (cacheapp/stores/). Ages travel as seconds, measured by the store's clock at the moment of reading, so
instances need no common wall clock.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from cacheapp.state.published import Loaded, StoredState
from esassistant.resource import Handle
from esassistant.shared_values import SharedValues


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do one thing until `ttl_seconds` after it was granted. A later grant of the same name has a larger
    `token`.
    """

    name: str
    token: int
    ttl_seconds: float


@dataclass(frozen=True, slots=True)
class StoredReport:
    """The latest report of one instance about itself, as JSON, and how long ago it was written."""

    age_seconds: float
    report: bytes


MAX_REPORT_BYTES = 256 * 1024
MAX_INSTANCES = 256


def check_report(report: bytes) -> None:
    """Raise `ValueError` if a report is too large to be kept."""
    if len(report) > MAX_REPORT_BYTES:
        raise ValueError(f"a report has at most {MAX_REPORT_BYTES} bytes, not {len(report)}")


class Store(SharedValues, Protocol):
    """A store. Every method raises `StoreUnavailable` when the store can't be reached in time."""

    async def generation(self) -> int:
        """Return the number of the newest published state; 0 if nothing was ever published."""
        ...

    async def load(self, known_hashes: Collection[str]) -> Loaded | None:
        """Return the newest published state, without the bodies of `known_hashes`; None if nothing was ever
        published.
        """
        ...

    async def publish(self, state: StoredState, lease: Lease) -> int:
        """Replace the shared state in one step and return its generation. Raises `StaleToken` if another process has
        had the lease since.
        """
        ...

    async def lease(self, name: str, holder: str, ttl_seconds: float) -> Lease | float:
        """Take the lease, or renew it if `holder` has it. If another has it, return the seconds until its lease
        ends.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Give the lease back early. Does nothing if another process has had the lease since."""
        ...

    async def wait_for_change(self, longest_seconds: float) -> None:
        """Return when another process may have published, at the latest after `longest_seconds`. Never raises
        `StoreUnavailable`. One task waits at a time.
        """
        ...

    async def report(self, instance: str, report: bytes, ttl_seconds: float) -> None:
        """Keep an instance's report about itself for `ttl_seconds`. Raises `ValueError` above `MAX_REPORT_BYTES`."""
        ...

    async def reports(self) -> dict[str, StoredReport]:
        """Return the latest reports of the instances that are alive, by name; at most `MAX_INSTANCES`."""
        ...

    async def attempt(self, name: str, interval_seconds: float) -> float:
        """Note an attempt and return 0; or, if the last noted attempt is less than `interval_seconds` ago, return the
        seconds still to wait.
        """
        ...


STORE: Handle[Store] = Handle("store")
