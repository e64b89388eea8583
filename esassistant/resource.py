"""What is said of a resource: its declaration, its health, and what of it the status page shows."""

import enum
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from esassistant.advice import Rule
from esassistant.metrics import Metric

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Handle(Generic[T]):
    """The name of a resource with the type of its value, a constant beside that type:

        MAIL: Handle[Mail] = Handle("mail")

    `registry.get(MAIL)` is a `Mail` then, for people and for type checkers.
    """

    name: str


@dataclass(frozen=True, slots=True)
class ReportHandle(Generic[R]):
    """The name of a resource with the type of its report: `registry.read(MAIL_REPORT)` is a `MailReport`. It stands
    beside the report's class, for those who know the report and not the resource.
    """

    name: str


class Reports(dict[str, Any]):
    """Reports of several resources by name, taken in one moment."""

    def typed(self, handle: ReportHandle[R]) -> R:
        """The report of one resource. Raises `KeyError` when it is not among them."""
        report: R = self[handle.name]
        return report


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


@dataclass(frozen=True, slots=True)
class Resource:
    """The declaration of one resource. Immutable; made by `Registry.register`, which says what each member means.

    `factory` is called with the registry.
    """

    name: str
    factory: Callable[[Any], AbstractAsyncContextManager[Any]]
    needs: tuple[str, ...] = ()
    ping: Ping | None = None
    critical: bool = False
    stats: Callable[[Any], object] | None = None
    metrics: tuple[Metric, ...] = ()
    rules: tuple[Rule, ...] = ()
    panel: Panel | None = None
