"""Which names a caller may see: what an API token's scope says. Pure."""

from dataclasses import dataclass
from functools import lru_cache

from cacheapp.errors import no_such_name
from cacheapp.state.names import MAX_NAME_BYTES, check_name, matches


@dataclass(frozen=True, slots=True)
class Visible:
    """The names of indices, aliases and data streams that a caller may see, by patterns of Elasticsearch's kind.

    An alias or data stream is visible by its own name, with all that it stands for. What isn't visible doesn't exist
    for the caller: it is told apart neither from what isn't there nor from what can't be asked for now.

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
        """Whether `name` is visible."""
        return self.everything or any(matches(name, pattern) for pattern in self.patterns)

    def covers_all_from(self, beginning: str) -> bool:
        """Whether every name that begins so is visible by a pattern, whichever there are.

        >>> Visible(("logs-*",)).covers_all_from("logs-2026."), Visible(("logs-*",)).covers_all_from("logs")
        (True, False)
        """
        return any(pattern.endswith("*") and matches(beginning, pattern) for pattern in self.patterns)

    def check(self, name: str) -> None:
        """Raises, of a name that isn't visible, what is said of one that can't be a name or isn't there."""
        # What is too long for a name is none, and isn't kept.
        if len(name) > MAX_NAME_BYTES or not _is_covered(self.patterns, name):
            check_name(name)
            raise no_such_name(name)


@lru_cache(maxsize=4096)
def _is_covered(patterns: tuple[str, ...], name: str) -> bool:
    """What `covers` says, for the names that callers ask for one by one: some are asked for again and again."""
    return Visible(patterns).covers(name)


ALL_VISIBLE = Visible()
"""What callers see whom no scope narrows."""
