"""Which names a search is sent to. Pure.

The names go to Elasticsearch as the caller sees them, aliases and data streams too: under the names of its indices an
alias would lose its filter, and a long series of names doesn't fit into an address.

1. Exact names are sent as they are, known or not. Elasticsearch says which one is missing or closed.
2. For a pattern, the names are sent that match it in memory. Closed indices are left out. An index that is deleted or
   closed meanwhile is ignored (`ignore_unavailable`).
3. If a list has both, a missing exact name must be an error. So the search is first sent without `ignore_unavailable`,
   and again with it only if what is missing or closed came from a pattern alone.
4. An alias may have lost some of its indices to a `-x`. If a pattern gives the remaining ones by their own names, the
   alias is left out, and these indices aren't filtered, as in Elasticsearch. Otherwise no list of names means the same,
   and the search is refused.
5. If a filtered alias and one of its indices are both given, that index isn't filtered, as in Elasticsearch. For a
   caller who may see only the alias, no pattern gives the index.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cacheapp.errors import TooMuch
from cacheapp.state.expressions import Resolved
from cacheapp.state.names import encode_name

MAX_NAMES_BYTES = 3_000
"""How many bytes the names in the address of a search may have; a node takes addresses of 4 kB."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a search is sent to.

    Args:
        names: The names, encoded for an address.
        exact: Those of them that were given exactly.
        has_others: Whether a pattern gave others.
    """

    names: str
    exact: frozenset[str]
    has_others: bool

    @property
    def passes_over(self) -> bool:
        """Return whether the search can ignore missing indices in the first call: no exact name was given."""
        return self.has_others and not self.exact


def target_of(resolved: Resolved) -> Target:
    """Return the target of what an expression stands for.

    Raise `TooMuch` if the names don't fit into an address, or if no list of names means the same.
    """
    if resolved.partial:
        raise TooMuch(
            f"Some of the indices that {resolved.partial[0]!r} stands for are taken away, which no search can do: "
            f"take it away too (-{resolved.partial[0]}), or search it by its exact name."
        )
    exact = resolved.exact.union(resolved.missing)
    names = sorted(exact.union(resolved.names))
    return Target(_encoded(names), exact, len(names) > len(exact))


def one_name(name: str) -> Target:
    """Return the target for one index, alias or data stream."""
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
