"""The store protocol: how processes share mappings.

One instance reads the cluster and publishes; all others take over what it published. Two backends implement it
(cacheapp/stores/). Ages travel as seconds, measured by the store's clock at the moment of reading: instances need no
common wall clock.
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
    """What one instance last said of itself, as JSON, and how long ago."""

    age_seconds: float
    report: bytes


MAX_REPORT_BYTES = 256 * 1024
MAX_INSTANCES = 256


def check_report(report: bytes) -> None:
    """Raises `ValueError` for a report that is too large to be kept."""
    if len(report) > MAX_REPORT_BYTES:
        raise ValueError(f"a report has at most {MAX_REPORT_BYTES} bytes, not {len(report)}")


class Store(SharedValues, Protocol):
    """Every method raises `StoreUnavailable` when the store can't be reached in time."""

    async def generation(self) -> int:
        """The number of the newest published state; 0: nothing was ever published."""
        ...

    async def load(self, known_hashes: Collection[str]) -> Loaded | None:
        """The newest published state, without the bodies of `known_hashes`; None: nothing was ever published."""
        ...

    async def publish(self, state: StoredState, lease: Lease) -> int:
        """Replace the shared state in one step and return its generation. Raises `StaleToken` when the lease was
        overtaken.
        """
        ...

    async def lease(self, name: str, holder: str, ttl_seconds: float) -> Lease | float:
        """Take the lease, or renew it when `holder` has it. Else: the seconds until the present holder's runs out."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give the lease back early; a lease that was overtaken is left alone."""
        ...

    async def wait_for_change(self, longest_seconds: float) -> None:
        """Return when another process may have published, at the latest after `longest_seconds`. Never raises
        `StoreUnavailable`. One task waits at a time.
        """
        ...

    async def report(self, instance: str, report: bytes, ttl_seconds: float) -> None:
        """Say how an instance does; forgotten after `ttl_seconds`. Raises `ValueError` above `MAX_REPORT_BYTES`."""
        ...

    async def reports(self) -> dict[str, StoredReport]:
        """What the instances said of themselves that are alive, at most `MAX_INSTANCES`, by name."""
        ...

    async def attempt(self, name: str, interval_seconds: float) -> float:
        """Note an attempt and return 0; or, when the last noted one is less than `interval_seconds` ago, the seconds
        still to wait.
        """
        ...


STORE: Handle[Store] = Handle("store")
