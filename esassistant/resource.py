"""What is said of a resource: its declaration, its health, and what of it the status page shows."""

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Panel:
    """`context` makes what `template` shows of the resource's report. It is called in a thread, and may use the ORM."""

    template: str
    context: Callable[[Any], Mapping[str, Any]]


class Health(enum.Enum):
    """How well a service does its job, worst last."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class PingResult:
    """What a ping found. `detail`, the reason of what is less than healthy, and `facts`, a few numbers and words, are
    shown to operators: short, and free of secrets.
    """

    health: Health
    detail: str | None = None
    facts: Mapping[str, bool | float | str | None] = field(default_factory=dict)


Ping = Callable[[Any], Awaitable[PingResult]]
