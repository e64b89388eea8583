"""Which recorded changes an expression of names chooses: also those of indices that are gone. Pure."""

from collections.abc import Callable, Collection
from dataclasses import InitVar, dataclass, field

from cacheapp.state.expressions import Part


@dataclass(frozen=True, slots=True)
class NameChoice:
    """The parts of an expression, read from left to right: of an index, and of its aliases and data streams at a time
    in the past, the last that stands for one of these names decides. Without parts all are chosen.

    >>> from cacheapp.state.expressions import parse
    >>> NameChoice(parse("logs-*,-logs-old-*")).covers(["logs-old-1"])
    False
    """

    parts: InitVar[tuple[Part, ...]] = ()
    expression: str = field(init=False)
    """By it two are the same: a list may have thousands of names, and is compared and hashed with each change."""
    # Thousands of exact names are looked up at once; of patterns there are few. Changes by the thousand are held
    # against one choice, on the loop. The parts themselves aren't kept: each follower has a choice of its own.
    _exact: dict[str, int] = field(init=False, repr=False, compare=False)
    """The rank of the last part that is this name: twice its place, and one more where it is excluded."""
    _patterns: tuple[tuple[int, Callable[[str], bool]], ...] = field(init=False, repr=False, compare=False)
    """The ranks and tests of the others, the last first."""

    def __post_init__(self, parts: tuple[Part, ...]) -> None:
        ranked = tuple((2 * place + part.is_excluded, part) for place, part in enumerate(parts))
        exact = {part.text: rank for rank, part in ranked if not part.is_pattern}
        patterns = tuple((rank, _shown_by(part)) for rank, part in reversed(ranked) if part.is_pattern)
        object.__setattr__(self, "expression", ",".join("-" * part.is_excluded + part.text for part in parts))
        object.__setattr__(self, "_exact", exact)
        object.__setattr__(self, "_patterns", patterns)

    def names(self, name: str) -> bool:
        """Whether one of the parts is just this name, chosen or left out."""
        return name in self._exact

    def covers(self, names: Collection[str]) -> bool:
        """Whether it chooses what has these names."""
        if not self.expression:
            return True
        last = max((self._exact.get(name, -1) for name in names), default=-1)
        for rank, does_match in self._patterns:
            if rank < last:
                break
            if any(map(does_match, names)):
                last = rank
                break
        return last >= 0 and last % 2 == 0


EVERY_NAME = NameChoice()


def _shown_by(pattern: Part) -> Callable[[str], bool]:
    """The test of a pattern: names with a dot are given by one that begins with a dot alone."""
    if pattern.text.startswith("."):
        return pattern.matches
    return lambda name: not name.startswith(".") and pattern.matches(name)
