"""Which names a search is sent to. Pure.

The names go to Elasticsearch as the caller sees them, aliases and data streams as such: the indices of an alias would
lose its filter by their own names, and those of a long series don't fit into an address.

1. Exact names are sent as they are, known or not: Elasticsearch says which one is missing, or closed.
2. A pattern is sent as what it stands for, by what is in memory. Closed indices are left out, and an index that is
   deleted or closed meanwhile is passed over (`ignore_unavailable`).
3. With both in one list an exact name must not be passed over. So it is asked first without `ignore_unavailable`, and
   again with it only where what is missing, or closed, was given by a pattern alone.
4. An alias that lost some of its indices to a `-x` is left out where a pattern gives the rest by their own names, which
   then aren't filtered, as in Elasticsearch; else there is no list of names that means it, and it is refused.
5. A filtered alias beside one of its indices: that index isn't filtered, as in Elasticsearch. Who may see the alias
   alone gets the index by no pattern.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cacheapp.errors import TooMuch
from cacheapp.state.expressions import Resolved
from cacheapp.state.names import encode_name

MAX_NAMES_BYTES = 3_000
"""A node takes addresses of 4 kB."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a search is sent to.

    Args:
        names: Encoded, as they stand in an address.
        exact: Those of them that were given exactly.
        has_others: Whether a pattern gave any.
    """

    names: str
    exact: frozenset[str]
    has_others: bool

    @property
    def passes_over(self) -> bool:
        """Whether what isn't there any more is passed over at once."""
        return self.has_others and not self.exact


def target_of(resolved: Resolved) -> Target:
    """Raises `TooMuch` where the names don't fit, or stand for what no list of names means."""
    if resolved.partial:
        raise TooMuch(
            f"Some of the indices that {resolved.partial[0]!r} stands for are taken away, which no search can do: "
            f"take it away too (-{resolved.partial[0]}), or search it by its exact name."
        )
    exact = resolved.exact.union(resolved.missing)
    names = sorted(exact.union(resolved.names))
    return Target(_encoded(names), exact, len(names) > len(exact))


def one_name(name: str) -> Target:
    """For the one name of an index, alias or data stream."""
    return Target(encode_name(name), frozenset((name,)), has_others=False)


def _encoded(names: Iterable[str]) -> str:
    encoded = [encode_name(name) for name in names]
    joined = ",".join(encoded)
    if len(joined) > MAX_NAMES_BYTES:
        raise TooMuch(
            f"This stands for {len(encoded)} names of {len(joined)} bytes together, and a search is sent to at most "
            f"{MAX_NAMES_BYTES} bytes of names: search an alias or data stream over them, or fewer by a longer pattern."
        )
    return joined
