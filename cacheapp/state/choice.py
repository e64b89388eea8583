"""Which recorded changes an expression of names chooses: also those of indices that are gone. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from cacheapp.state.expressions import Part
from cacheapp.state.names import matches


@dataclass(frozen=True, slots=True)
class NameChoice:
    """The parts of an expression, read from left to right: of an index, and of its aliases and data streams at a time
    in the past, the last that stands for one of these names decides. Without parts all are chosen.

    >>> from cacheapp.state.expressions import parse
    >>> NameChoice(parse("logs-*,-logs-old-*")).covers(["logs-old-1"])
    False
    """

    parts: tuple[Part, ...] = ()

    def covers(self, names: Collection[str]) -> bool:
        """Whether it chooses what has these names."""
        is_chosen = not self.parts
        for part in self.parts:
            if any(_stands_for(part, name) for name in names):
                is_chosen = not part.is_excluded
        return is_chosen


EVERY_NAME = NameChoice()


def _stands_for(part: Part, name: str) -> bool:
    """Names with a dot are given by themselves, or by a pattern that begins with one."""
    is_shown = not part.is_pattern or part.text.startswith(".") or not name.startswith(".")
    return is_shown and matches(name, part.text)
