"""Find fields of the cluster by words: those that have all of them in their paths, else some, else those near by
meaning.
"""

import enum
from dataclasses import dataclass
from typing import Final

from cacheapp.cache.cluster_fields import ClusterField, ClusterFields
from cacheapp.cache.descriptions import Descriptions
from cacheapp.state.expressions import EVERYTHING, asked
from cacheapp.state.field_pages import FieldFilter
from cacheapp.state.visible import Visible

MAX_WORDS: Final = 8
MAX_NEAR: Final = 10


class Nearness(enum.Enum):
    """How found fields have to do with the words: all are in their paths, some are, or none, but what they mean."""

    ALL_WORDS = "all words"
    SOME_WORDS = "some words"
    MEANING = "meaning"


@dataclass(frozen=True, slots=True)
class FieldSearch:
    """What to find.

    Args:
        words: In the paths of fields.
        type: That fields have; empty: any.
        names: A name, list or pattern; empty: the whole cluster but hidden and closed indices.
        visible: What exists for who asks.
        limit: How many fields.
    """

    words: str
    type: str
    names: str
    visible: Visible
    limit: int


@dataclass(frozen=True, slots=True)
class FoundFields:
    """Fields, the nearest first, and how many there are that are so near."""

    nearness: Nearness
    fields: tuple[ClusterField, ...]
    total: int


async def find_fields(among: ClusterFields, descriptions: Descriptions, wanted: FieldSearch) -> FoundFields:
    """Find fields: those of the first nearness that any has. Raises what `ClusterFields.page` raises, and what
    `Descriptions.fields_about` does.
    """
    found = await find_by_words(among, wanted)
    if found.fields:
        return found
    near = await near_by_meaning(among, descriptions, wanted)
    return FoundFields(Nearness.MEANING, near, len(near))


async def find_by_words(among: ClusterFields, wanted: FieldSearch) -> FoundFields:
    """Find fields that have all of the words, else those that have some. Raises what `ClusterFields.page` raises."""
    found, total = await _having(among, wanted.words, wanted)
    if found:
        return FoundFields(Nearness.ALL_WORDS, found, total)
    some = await _having_some(among, wanted)
    return FoundFields(Nearness.SOME_WORDS, some, len(some))


async def near_by_meaning(
    among: ClusterFields, descriptions: Descriptions, wanted: FieldSearch
) -> tuple[ClusterField, ...]:
    """Fields that words are about, though their paths need not have these, the nearest first."""
    names = asked(wanted.names or EVERYTHING, wanted.visible)
    paths = await descriptions.fields_about(names, wanted.words)
    near = await among.of_paths(paths, pattern=wanted.names or None, visible=wanted.visible, type_=wanted.type)
    return near[:MAX_NEAR]


async def _having(among: ClusterFields, words: str, wanted: FieldSearch) -> tuple[tuple[ClusterField, ...], int]:
    """The first fields that have all of these words, and how many there are."""
    page = await among.page(
        FieldFilter(q=words, type=wanted.type),
        pattern=wanted.names or None,
        visible=wanted.visible,
        limit=wanted.limit,
        cursor=None,
    )
    return page.fields, page.total


async def _having_some(among: ClusterFields, wanted: FieldSearch) -> tuple[ClusterField, ...]:
    """Fields that have some of the words, those with most first."""
    words = list(dict.fromkeys(wanted.words.split()))[:MAX_WORDS]
    found: dict[str, tuple[int, ClusterField]] = {}
    for word in words if len(words) > 1 else ():
        for field in (await _having(among, word, wanted))[0]:
            found[field.name] = found.get(field.name, (0, field))[0] - 1, field
    return tuple(field for _, field in sorted(found.values(), key=lambda one: (one[0], one[1].name)))
