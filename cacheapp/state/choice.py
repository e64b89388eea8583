"""Choose among recorded changes by an expression of names, indices that are gone included. Pure."""

from collections.abc import Callable, Collection
from dataclasses import InitVar, dataclass, field

from cacheapp.state.expressions import Part
from cacheapp.state.names import is_beginning


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
    # Nearly all patterns are beginnings with a star. As texts they are quicker than as functions, and the garbage
    # collector passes over them: nine hundred followers with fifty patterns each made it stop the loop for 0.1 s.
    _beginnings: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _ranked: tuple[tuple[int, str], ...] = field(init=False, repr=False, compare=False)
    """The same beginnings with the ranks of their patterns, the last pattern first."""
    _others: tuple[tuple[int, Callable[[str], bool]], ...] = field(init=False, repr=False, compare=False)
    """The ranks and tests of all other patterns, the last pattern first."""

    def __post_init__(self, parts: tuple[Part, ...]) -> None:
        ranked = tuple((2 * place + part.is_excluded, part) for place, part in enumerate(parts))
        exact = {part.text: rank for rank, part in ranked if not part.is_pattern}
        patterns = [(rank, part) for rank, part in reversed(ranked) if part.is_pattern]
        beginnings = tuple((rank, part.text[:-1]) for rank, part in patterns if is_beginning(part.text))
        others = tuple((rank, _shown_by(part)) for rank, part in patterns if not is_beginning(part.text))
        object.__setattr__(self, "expression", ",".join("-" * part.is_excluded + part.text for part in parts))
        object.__setattr__(self, "_exact", exact)
        object.__setattr__(self, "_beginnings", tuple(beginning for _, beginning in beginnings))
        object.__setattr__(self, "_ranked", beginnings)
        object.__setattr__(self, "_others", others)

    def names(self, name: str) -> bool:
        """Return whether one of the parts is exactly this name, chosen or excluded."""
        return name in self._exact

    def covers(self, names: Collection[str]) -> bool:
        """Return whether the choice covers what has these names."""
        if not self.expression:
            return True
        last = max((self._exact.get(name, -1) for name in names), default=-1)
        begun = [name for name in names if name.startswith(self._beginnings)]
        if begun:
            found = (rank for rank, beginning in self._ranked if any(name.startswith(beginning) for name in begun))
            last = max(last, next(found))
        for rank, does_match in self._others:
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
