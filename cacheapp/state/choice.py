"""Which recorded changes an expression of names chooses: also those of indices that are gone. Pure."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from cacheapp.state.expressions import Part


@dataclass(frozen=True, slots=True)
class NameChoice:
    """The parts of an expression, read from left to right: of an index, and of its aliases and data streams at a time
    in the past, the last that stands for one of these names decides. Without parts all are chosen.

    >>> from cacheapp.state.expressions import parse
    >>> NameChoice(parse("logs-*,-logs-old-*")).covers(["logs-old-1"])
    False
    """

    parts: tuple[Part, ...] = ()
    # Thousands of exact names are looked up at once; of patterns there are few. Changes by the thousand are held
    # against one choice, on the loop.
    _exact: dict[str, int] = field(init=False, repr=False, compare=False)
    """The place of the last part that is this name."""
    _patterns: tuple[tuple[int, Callable[[str], bool]], ...] = field(init=False, repr=False, compare=False)
    """The places and tests of the others, the last first."""

    def __post_init__(self) -> None:
        numbered = tuple(enumerate(self.parts))
        exact = {part.text: place for place, part in numbered if not part.is_pattern}
        patterns = tuple((place, _shown_by(part)) for place, part in reversed(numbered) if part.is_pattern)
        object.__setattr__(self, "_exact", exact)
        object.__setattr__(self, "_patterns", patterns)

    def covers(self, names: Collection[str]) -> bool:
        """Whether it chooses what has these names."""
        if not self.parts:
            return True
        last = max((self._exact.get(name, -1) for name in names), default=-1)
        for place, does_match in self._patterns:
            if place < last:
                break
            if any(map(does_match, names)):
                last = place
                break
        return last >= 0 and not self.parts[last].is_excluded


EVERY_NAME = NameChoice()


def _shown_by(pattern: Part) -> Callable[[str], bool]:
    """The test of a pattern: names with a dot are given by one that begins with a dot alone."""
    if pattern.text.startswith("."):
        return pattern.matches
    return lambda name: not name.startswith(".") and pattern.matches(name)
