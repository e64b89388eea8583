"""The page for the search in the page header: names, and fields of all indices, by words and by meaning."""

import asyncio
from typing import Any, Final

from cacheapp.browse.found import find_names
from cacheapp.browse.pages import HtmlPage
from cacheapp.cache.cluster_fields import CLUSTER_FIELDS, ClusterField
from cacheapp.cache.descriptions import DESCRIPTIONS
from cacheapp.cache.field_search import FieldSearch, FoundFields, Nearness, find_by_words, near_by_meaning
from cacheapp.cache.mapping_cache import MAPPING_CACHE
from cacheapp.errors import MappingNotFound, NotWarm, TooMuch
from cacheapp.mapping.fields import check_query
from cacheapp.state.visible import Visible
from esassistant.errors import ClusterUnavailable
from esassistant.registry import registry

MAX_FIELDS: Final = 50
SHOWN_FAMILIES: Final = 10
FEW_FIELDS: Final = 10
"""If at least this many fields contain all words, none are looked for by meaning."""
MEANING_SECONDS: Final = 3.0
"""How long the page waits for fields that are near by meaning. What these need is still made after that, for the next
request.
"""


async def search_page(q: str, visible: Visible) -> HtmlPage:
    """Find names and fields. Raise `BadRequest` if the text is too long, and `NotWarm` if no pass has ended yet."""
    q = q.strip()
    check_query(q)
    cache = registry.get(MAPPING_CACHE)
    if not cache.warm:
        raise NotWarm("The first pass over the cluster has not ended.", retry_after_seconds=1)
    context: dict[str, Any] = {"q": q, "site_search": q}
    if q:
        context["names"] = await asyncio.to_thread(find_names, cache.snapshot, q, visible)
        context |= await _fields(q, visible)
    return HtmlPage("cacheapp/search.html", context)


async def _fields(q: str, visible: Visible) -> dict[str, Any]:
    """Return the fields that contain the words, and those that are near by meaning.

    If there are too many mappings to look through at once, return the families that the words are about instead of the
    latter.
    """
    among, descriptions = registry.get(CLUSTER_FIELDS), registry.get(DESCRIPTIONS)
    wanted = FieldSearch(" ".join(q.replace("*", " ").split()), "", "", visible, MAX_FIELDS)
    if not wanted.words:
        return {}
    found = await find_by_words(among, wanted)
    context: dict[str, Any] = {"fields": found}
    if found.nearness is Nearness.ALL_WORDS and found.total >= FEW_FIELDS:
        return context
    try:
        async with asyncio.timeout(MEANING_SECONDS):
            context["near_fields"] = _others(await near_by_meaning(among, descriptions, wanted), found)
    except TimeoutError:
        context["later"] = True
    except (TooMuch, MappingNotFound, ClusterUnavailable):
        context["about"] = await descriptions.families_about(wanted.words, SHOWN_FAMILIES, visible)
    return context


def _others(near: tuple[ClusterField, ...], found: FoundFields) -> tuple[ClusterField, ...]:
    known = {field.name for field in found.fields}
    return tuple(field for field in near if field.name not in known)
