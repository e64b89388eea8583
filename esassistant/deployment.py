"""Protocols of what health, the status page and the metrics need from the deployment, whichever app provides it."""

import enum
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from esassistant.resource import Handle, Health, ReportHandle
from esassistant.shared_values import SharedValues

T = TypeVar("T")


class AskedRefresh(Protocol):
    """The result of asking for a refresh. `retry_after_seconds` is set if none can start now."""

    @property
    def outcome(self) -> enum.Enum: ...
    @property
    def retry_after_seconds(self) -> float | None: ...


class Refreshes(Protocol):
    """Reads all mappings anew on request."""

    async def ask(self, trigger: str) -> AskedRefresh:
        """Start a pass, or join the one that runs. `trigger` says in reports who asked for it."""


class ToldReport(Protocol):
    """The report that an instance published `age_seconds` ago: the reports of its resources, by their names."""

    @property
    def age_seconds(self) -> float: ...
    @property
    def report(self) -> Mapping[str, Any]: ...


class InstanceReports(Protocol):
    """Gives the published reports of all instances of the deployment."""

    async def reports(self) -> Mapping[str, ToldReport]:
        """Return the reports of all instances by name, from the store. If the store can't be reached, only this
        instance is in it.
        """

    def others(self) -> Mapping[str, ToldReport]:
        """Return the reports of all other instances by name, as read from the store some seconds ago. Makes no call."""


class DatabaseWork(Protocol):
    """Runs work with Django's database outside of the event loop."""

    async def run(self, function: Callable[[], T], *, atomic: bool = True) -> T:
        """Call `function` in a thread, in one transaction if `atomic`. Raise `StoreUnavailable` if the
        database fails.
        """


class KnownHealth(Protocol):
    """The state of the service, from the latest checks and the verdict."""

    @property
    def status(self) -> Health: ...


REFRESHES: Handle[Refreshes] = Handle("refresher")
INSTANCE_REPORTS: Handle[InstanceReports] = Handle("instances")
DATABASE_WORK: Handle[DatabaseWork] = Handle("database_work")
SHARED_VALUES: Handle[SharedValues] = Handle("store")
KNOWN_HEALTH: ReportHandle[KnownHealth | None] = ReportHandle("health")
"""The report is None if there is none that is young enough."""
