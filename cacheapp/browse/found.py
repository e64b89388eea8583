"""Find names for the search of the header: families of indices, and aliases and data streams that are none. Pure;
belongs in a thread.
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
    """A family that has the words in its name or in those of its members; or an alias or data stream.

    Args:
        name: Its own.
        asked_by: What stands for it in an address.
        kind: `data stream`, `alias`, `indices`, `index`.
        indices_total: How many it has.
        matching: Those of them that have the words, where the name itself hasn't; `matching_total` in all.
        mappings_total: How many distinct mappings these have.
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
    """What was found, the nearest first, of `total`; or if there is nothing, `near`: names that may have been meant."""

    found: tuple[FoundName, ...]
    total: int
    near: tuple[str, ...] = ()


def find_names(snapshot: Snapshot, q: str, visible: Visible) -> FoundNames:
    """Find the names that have each word of `q`, or match it where a word has a `*`."""
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
    """How near a name is that has all words: it is one, begins with one, has one as a word, has it within a word; and
    how long it is.
    """
    lowered = name.lower().removesuffix("*")
    plain = [word.strip("*") for word in words]
    if any(word == lowered for word in plain):
        return 0, len(name)
    if any(lowered.startswith(word) for word in plain):
        return 1, len(name)
    parts = set(_SEPARATOR.split(lowered))
    return (2 if parts.intersection(plain) else 3), len(name)
