"""The declaration of a resource, its health, and its panel on the status page."""

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
    """The name of a resource together with the type of its value. It is a constant beside that type:

        MAIL: Handle[Mail] = Handle("mail")

    People and type checkers then know that `registry.get(MAIL)` is a `Mail`.
    """

    name: str


@dataclass(frozen=True, slots=True)
class ReportHandle(Generic[R]):
    """The name of a resource together with the type of its report: `registry.read(MAIL_REPORT)` is a `MailReport`.

    It is a constant beside the class of the report, for code that knows the report but not the resource.
    """

    name: str


class Reports(dict[str, Any]):
    """The reports of several resources by name, all made at the same moment."""

    def typed(self, handle: ReportHandle[R]) -> R:
        """Return the report of one resource. Raises `KeyError` if it is missing."""
        report: R = self[handle.name]
        return report


@dataclass(frozen=True, slots=True)
class Panel:
    """How the status page shows a resource. `context` returns the context of `template`, from the resource's report. It
    is called in a thread, and may use the ORM.
    """

    template: str
    context: Callable[[Any], Mapping[str, Any]]


class Health(enum.Enum):
    """How well a service does its job, worst last."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class PingResult:
    """The result of a ping. `detail`: why the resource is not healthy; `facts`: a few numbers and words. Operators see
    both, so they are short and contain no secrets.
    """

    health: Health
    detail: str | None = None
    facts: Mapping[str, bool | float | str | None] = field(default_factory=dict)


Ping = Callable[[Any], Awaitable[PingResult]]


@dataclass(frozen=True, slots=True)
class Resource:
    """The declaration of one resource. Immutable; made by `Registry.register`, whose arguments these are.

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
