"""Find fields of the cluster by words: those with all words in their paths; if there are none, those with some; if
there are none, those near by meaning.
"""

import enum
from dataclasses import dataclass
from typing import Final

from cacheapp.cache.cluster_fields import ClusterField, ClusterFields
from cacheapp.cache.descriptions import Descriptions
from cacheapp.describe.words import STOP_WORDS
from cacheapp.state.expressions import EVERYTHING, asked
from cacheapp.state.field_pages import FieldFilter
from cacheapp.state.visible import Visible

MAX_WORDS: Final = 8
MAX_NEAR: Final = 10
MAX_SOME: Final = 20
"""How many fields that have only some of the words are shown: more would hide those that are near by meaning."""


class Nearness(enum.Enum):
    """How well the found fields match the words: their paths contain all of them, or some, or only mean the same."""

    ALL_WORDS = "all words"
    SOME_WORDS = "some words"
    MEANING = "meaning"


@dataclass(frozen=True, slots=True)
class FieldSearch:
    """What to find.

    Args:
        words: Words to find in the paths of fields.
        type: The type that fields must have; empty: any.
        names: A name, list or pattern to look in; empty: the whole cluster except hidden and closed indices.
        visible: The names that exist for the caller.
        limit: How many fields to return at most.
    """

    words: str
    type: str
    names: str
    visible: Visible
    limit: int


@dataclass(frozen=True, slots=True)
class FoundFields:
    """Fields, the best matches first. `total`: how many fields match as well as `nearness` says."""

    nearness: Nearness
    fields: tuple[ClusterField, ...]
    total: int


async def find_fields(among: ClusterFields, descriptions: Descriptions, wanted: FieldSearch) -> FoundFields:
    """Return the fields that match best: all words, else some words, else meaning. Raise what `ClusterFields.page` and
    `Descriptions.fields_about` raise.
    """
    found = await find_by_words(among, wanted)
    if found.fields:
        return found
    near = await near_by_meaning(among, descriptions, wanted)
    return FoundFields(Nearness.MEANING, near, len(near))


async def find_by_words(among: ClusterFields, wanted: FieldSearch) -> FoundFields:
    """Return the fields that have all of the words, else those that have some. Raise what `ClusterFields.page`
    raises.
    """
    found, total = await _having(among, wanted.words, wanted)
    if found:
        return FoundFields(Nearness.ALL_WORDS, found, total)
    some = await _having_some(among, wanted)
    return FoundFields(Nearness.SOME_WORDS, some, len(some))


async def near_by_meaning(
    among: ClusterFields, descriptions: Descriptions, wanted: FieldSearch
) -> tuple[ClusterField, ...]:
    """Return the fields that the words are about, the nearest first. Their paths need not contain the words."""
    names = asked(wanted.names or EVERYTHING, wanted.visible)
    paths = await descriptions.fields_about(names, wanted.words)
    near = await among.of_paths(paths, pattern=wanted.names or None, visible=wanted.visible, type_=wanted.type)
    return near[:MAX_NEAR]


async def _having(among: ClusterFields, words: str, wanted: FieldSearch) -> tuple[tuple[ClusterField, ...], int]:
    """Return the first fields that have all of these words, and how many there are."""
    page = await among.page(
        FieldFilter(q=words, type=wanted.type),
        pattern=wanted.names or None,
        visible=wanted.visible,
        limit=wanted.limit,
        cursor=None,
    )
    return page.fields, page.total


async def _having_some(among: ClusterFields, wanted: FieldSearch) -> tuple[ClusterField, ...]:
    """Return the fields that have some of the words, at most `MAX_SOME`: those with most of the words first; of these,
    those with a rare word. Stop words count only where there is no other word.
    """
    words = list(dict.fromkeys(wanted.words.split()))
    if len(words) < 2:
        return ()
    asked_words = ([word for word in words if word.lower() not in STOP_WORDS] or words)[:MAX_WORDS]
    pages = {word: await _having(among, word, wanted) for word in asked_words}
    known = [word for word, (_, total) in pages.items() if total]
    found: dict[str, tuple[ClusterField, list[int]]] = {}
    for word in known:
        fields, total = pages[word]
        for field in fields:
            found.setdefault(field.name, (field, []))[1].append(total)
    if 1 < len(known) < len(words):  # not for all words: no field has them, as a search before found
        # The page of a frequent word may be without the fields that have the other words too.
        for field in (await _having(among, " ".join(known), wanted))[0]:
            found[field.name] = field, [pages[word][1] for word in known]
    best = sorted(found.values(), key=lambda one: (-len(one[1]), min(one[1]), one[0].name))
    return tuple(field for field, _ in best[: min(wanted.limit, MAX_SOME)])
