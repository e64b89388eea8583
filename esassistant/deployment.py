"""What the status page and the metrics ask of the deployment, whichever app does it: protocols of two resources."""

import enum
from collections.abc import Mapping
from typing import Any, Protocol

from esassistant.resource import Handle


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


REFRESHES: Handle[Refreshes] = Handle("refresher")
INSTANCE_REPORTS: Handle[InstanceReports] = Handle("instances")
