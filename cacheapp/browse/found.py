"""Find names for the search in the page header: families of indices, and aliases and data streams that are no families.
Pure; called in a thread.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import nsmallest

from cacheapp.browse.families import Asking, Family, families, odd_members
from cacheapp.browse.filters import SHOWN_NAMES, kind_of
from cacheapp.describe.near_names import names_like
from cacheapp.state.families import natural_key
from cacheapp.state.names import matches
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import Visible

SHOWN_FAMILIES = 20
_SEPARATOR = re.compile(r"[^0-9a-z]+")


@dataclass(frozen=True, slots=True)
class FoundName:
    """A family that has the words in its name or in its members' names; or an alias or data stream.

    Args:
        name: Its name.
        asked_by: The name, list or pattern that stands for it in an address.
        kind: `data stream`, `alias`, `indices`, `index`.
        indices_total: How many indices it has.
        matching: The indices whose names have the words, if its own name doesn't; `matching_total` counts all.
        mappings_total: How many distinct mappings its indices have.
    """

    name: str
    asked_by: str
    kind: str
    indices_total: int
    matching: tuple[str, ...]
    matching_total: int
    mappings_total: int


@dataclass(frozen=True, slots=True)
class FoundNames:
    """The names that were found, the best matches first, of `total`; if there are none, `near`: names that may have
    been meant.
    """

    found: tuple[FoundName, ...]
    total: int
    near: tuple[str, ...] = ()


def find_names(snapshot: Snapshot, q: str, visible: Visible) -> FoundNames:
    """Return the names that contain each word of `q`. A word with a `*` has to match the whole name."""
    words = q.lower().split()
    if not words:
        return FoundNames((), 0)
    has_words = _test(words)
    ranked: list[tuple[tuple[int, int, int, str], Family, list[str]]] = []
    among = families(snapshot, visible)
    for family in among:
        if has_words(family.name):
            ranked.append(((*_rank(family.name, words), -len(family.members), family.name), family, []))
        elif members := [index for index in family.members if has_words(index)]:
            first = min(members, key=lambda index: _rank(index, words))
            ranked.append(((*_rank(first, words), -len(members), family.name), family, members))
    known = {family.name for family in among}
    for alias, members_of in snapshot.aliases.items():
        if alias not in known and visible.covers(alias) and has_words(alias):
            family = Family(alias, kind_of(snapshot, alias), members_of)
            ranked.append(((*_rank(alias, words), -len(members_of), alias), family, []))
    if not ranked:
        return FoundNames((), 0, names_like(q, snapshot, visible))
    ranked.sort(key=lambda one: one[0])
    asking = Asking(snapshot, visible)
    found = tuple(_found(snapshot, family, members, asking) for _, family, members in ranked[:SHOWN_FAMILIES])
    return FoundNames(found, len(ranked))


def _found(snapshot: Snapshot, family: Family, matching: Sequence[str], asking: Asking) -> FoundName:
    known = [index for index in family.members if index in snapshot.indices]
    return FoundName(
        name=family.name,
        asked_by=asking.by(family),
        kind=family.shown_kind,
        indices_total=len(family.members),
        matching=tuple(nsmallest(SHOWN_NAMES, matching, key=natural_key)),
        matching_total=len(matching),
        mappings_total=odd_members(snapshot, known)[0] if known else 0,
    )


def _test(words: Iterable[str]) -> Callable[[str], bool]:
    def has_words(name: str) -> bool:
        lowered = name.lower()
        return all(matches(lowered, word) if "*" in word else word in lowered for word in words)

    return has_words


def _rank(name: str, words: Sequence[str]) -> tuple[int, int]:
    """Return a key for sorting names that have all words: first a name that is one of the words, then one that begins
    with one, then one that has one as a whole word, then the others; among these, shorter names come first.
    """
    lowered = name.lower().removesuffix("*")
    plain = [word.strip("*") for word in words]
    if any(word == lowered for word in plain):
        return 0, len(name)
    if any(lowered.startswith(word) for word in plain):
        return 1, len(name)
    parts = set(_SEPARATOR.split(lowered))
    return (2 if parts.intersection(plain) else 3), len(name)
