"""Tell which names a caller may see, by the scope of the API token. Pure."""

from dataclasses import dataclass
from functools import lru_cache

from cacheapp.errors import no_such_name
from cacheapp.state.names import MAX_NAME_BYTES, check_name, matches


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

    @property
    def everything(self) -> bool:
        """Whether all names are visible."""
        return "*" in self.patterns

    def covers(self, name: str) -> bool:
        """Return whether `name` is visible."""
        return self.everything or any(matches(name, pattern) for pattern in self.patterns)

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


@lru_cache(maxsize=4096)
def _is_covered(patterns: tuple[str, ...], name: str) -> bool:
    """Return what `covers` returns, from a cache: callers ask for some names again and again."""
    return Visible(patterns).covers(name)


ALL_VISIBLE = Visible()
"""For callers whom no scope limits."""
