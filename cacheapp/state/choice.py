"""Choose among recorded changes by an expression of names, indices that are gone included. Pure."""

from collections.abc import Callable, Collection
from dataclasses import InitVar, dataclass, field

from cacheapp.state.expressions import Part


@dataclass(frozen=True, slots=True)
class NameChoice:
    """An expression of names as a test. The parts are read from left to right. The last part that stands for the index,
    or for one of the aliases and data streams that it had at the time, decides whether it is chosen. Without any part
    everything is chosen.

    >>> from cacheapp.state.expressions import parse
    >>> NameChoice(parse("logs-*,-logs-old-*")).covers(["logs-old-1"])
    False
    """

    parts: InitVar[tuple[Part, ...]] = ()
    expression: str = field(init=False)
    """The text of the expression. Two choices are equal if their texts are: a list may have thousands of names, and is
    compared and hashed with each change.
    """
    # Exact names are kept in a dict, because thousands of them may be looked up at once; patterns are few. Thousands of
    # changes may be compared with one choice on the event loop. The parts themselves aren't kept, to save memory: each
    # follower has a choice of its own.
    _exact: dict[str, int] = field(init=False, repr=False, compare=False)
    """Exact name → the rank of the last part with that name: twice its position, plus one if it is excluded."""
    _patterns: tuple[tuple[int, Callable[[str], bool]], ...] = field(init=False, repr=False, compare=False)
    """The ranks and tests of the patterns, the last pattern first."""

    def __post_init__(self, parts: tuple[Part, ...]) -> None:
        ranked = tuple((2 * place + part.is_excluded, part) for place, part in enumerate(parts))
        exact = {part.text: rank for rank, part in ranked if not part.is_pattern}
        patterns = tuple((rank, _shown_by(part)) for rank, part in reversed(ranked) if part.is_pattern)
        object.__setattr__(self, "expression", ",".join("-" * part.is_excluded + part.text for part in parts))
        object.__setattr__(self, "_exact", exact)
        object.__setattr__(self, "_patterns", patterns)

    def names(self, name: str) -> bool:
        """Return whether one of the parts is exactly this name, chosen or excluded."""
        return name in self._exact

    def covers(self, names: Collection[str]) -> bool:
        """Return whether the choice covers what has these names."""
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
    """Return the test of a pattern. Names that begin with a dot match only a pattern that begins with a dot."""
    if pattern.text.startswith("."):
        return pattern.matches
    return lambda name: not name.startswith(".") and pattern.matches(name)
