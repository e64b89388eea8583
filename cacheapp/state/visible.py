"""Tell which names a caller may see, by the scope of the API token. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from cacheapp.errors import no_such_name
from cacheapp.state.names import MAX_NAME_BYTES, check_name, is_beginning, matcher, matches


@dataclass(frozen=True, slots=True)
class Visible:
    """The names of indices, aliases and data streams that a caller may see, by patterns of Elasticsearch's kind.

    An alias or data stream is visible by its own name, with all of its indices. What isn't visible doesn't exist for
    the caller: the answers are the same as for a name that doesn't exist, or that can't be asked for now.

    >>> Visible(("logs-*",)).covers("logs-2026")
    True
    >>> Visible(("logs-*",)).covers("orders")
    False
    """

    patterns: tuple[str, ...] = ("*",)
    everything: bool = field(init=False, repr=False, compare=False)
    """Whether all names are visible."""
    _test: Callable[[str], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "everything", "*" in self.patterns)
        object.__setattr__(self, "_test", _test_of(self.patterns))

    def covers(self, name: str) -> bool:
        """Return whether `name` is visible."""
        return self.everything or self._test(name)

    def covers_all_from(self, beginning: str) -> bool:
        """Return whether all possible names with this beginning are visible by one pattern.

        >>> Visible(("logs-*",)).covers_all_from("logs-2026."), Visible(("logs-*",)).covers_all_from("logs")
        (True, False)
        """
        return any(pattern.endswith("*") and matches(beginning, pattern) for pattern in self.patterns)

    def check(self, name: str) -> None:
        """Check that a name is visible. If it isn't, raise the same error as for a name that doesn't exist
        (`MappingNotFound`), or that can't be legal (`IllegalName`).
        """
        # A text that is too long can't be a name, and isn't kept in the cache of `_is_covered`.
        if len(name) > MAX_NAME_BYTES or not _is_covered(self.patterns, name):
            check_name(name)
            raise no_such_name(name)


@lru_cache(maxsize=256)
def _test_of(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Return the test whether one of the patterns matches a name.

    A token may have hundreds of patterns, and thousands of names are compared with them for one answer. So exact names
    are looked up, and beginnings are compared in one call.
    """
    exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
    others = [pattern for pattern in patterns if "*" in pattern]
    beginnings = tuple(pattern[:-1] for pattern in others if is_beginning(pattern))
    tests = [matcher(pattern) for pattern in others if not is_beginning(pattern)]
    return lambda name: name in exact or name.startswith(beginnings) or any(test(name) for test in tests)


@lru_cache(maxsize=4096)
def _is_covered(patterns: tuple[str, ...], name: str) -> bool:
    """Return what `covers` returns, from a cache: callers ask for some names again and again."""
    return Visible(patterns).covers(name)


ALL_VISIBLE = Visible()
"""For callers whom no scope limits."""
