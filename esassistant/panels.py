"""Panels: what a resource shows of itself on the status page, declared with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Panel:
    """`context` makes what `template` shows of the resource's report. It is called in a thread, and may use the ORM."""

    template: str
    context: Callable[[Any], Mapping[str, Any]]
