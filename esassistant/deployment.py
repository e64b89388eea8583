"""What health, the status page and the metrics ask of the deployment, whichever app does it: protocols of resources."""

import enum
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from esassistant.resource import Handle, Health, ReportHandle
from esassistant.shared_values import SharedValues

T = TypeVar("T")


class AskedRefresh(Protocol):
    """What asking for a refresh gave; `retry_after_seconds` where one can't start now."""

    @property
    def outcome(self) -> enum.Enum: ...
    @property
    def retry_after_seconds(self) -> float | None: ...


class Refreshes(Protocol):
    """Reads all mappings anew when it is asked."""

    async def ask(self, trigger: str) -> AskedRefresh:
        """Start a pass, or join the one that runs; `trigger` says in reports who asked."""


class ToldReport(Protocol):
    """What one instance told of itself `age_seconds` ago: its reports by resource."""

    @property
    def age_seconds(self) -> float: ...
    @property
    def report(self) -> Mapping[str, Any]: ...


class InstanceReports(Protocol):
    """Knows what the instances of the deployment tell of themselves."""

    async def reports(self) -> Mapping[str, ToldReport]:
        """All instances by name, as they told the store; only this one while the store is away."""

    def others(self) -> Mapping[str, ToldReport]:
        """The other instances by name, as they told the store some seconds ago. Asks nobody."""


class DatabaseWork(Protocol):
    """Does work with Django's database beside the event loop."""

    async def run(self, function: Callable[[], T], *, atomic: bool = True) -> T:
        """Call `function` in a thread, in one transaction if `atomic`. Raises `StoreUnavailable`."""


class KnownHealth(Protocol):
    """How the service is, as the last checks and the verdict say."""

    @property
    def status(self) -> Health: ...


REFRESHES: Handle[Refreshes] = Handle("refresher")
INSTANCE_REPORTS: Handle[InstanceReports] = Handle("instances")
DATABASE_WORK: Handle[DatabaseWork] = Handle("database_work")
SHARED_VALUES: Handle[SharedValues] = Handle("store")
KNOWN_HEALTH: ReportHandle[KnownHealth | None] = ReportHandle("health")
"""None: there is no report that is young enough."""
