"""The mapping browser: pages for people that show what the cache has in memory.

Whoever may read mappings by the API may see these pages, with the same names. Work that takes long, such as rendering
templates, is done in threads; it touches neither the database nor the user.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from cacheapp.browse.about import describe, raw_links
from cacheapp.browse.families import list_families
from cacheapp.browse.field_details import field_details
from cacheapp.browse.fields import Search, ShownFields, show_fields
from cacheapp.browse.filters import Changes, Grouping, NameFilter, NameState, Sort, Times, chosen, place_of
from cacheapp.browse.names import list_groups, list_names
from cacheapp.browse.pages import (
    READS,
    HtmlPage,
    Reader,
    address,
    changes_of_indices,
    is_part,
    page_view,
)
from cacheapp.browse.search_page import search_page
from cacheapp.cache.derived import FIELDS, MAPPING_VIEWS
from cacheapp.cache.mapping_cache import MAPPING_CACHE
from cacheapp.describe.near_names import names_like
from cacheapp.errors import NotWarm
from cacheapp.mapping.fields import Field
from cacheapp.recent_counts import RECENT_COUNTS
from cacheapp.state.answer import MappingAnswer
from cacheapp.state.expressions import asked, names_of
from cacheapp.state.field_pages import MAX_FIELD_CHARACTERS
from cacheapp.values.known import KNOWN_VALUES, KnownOfName
from cacheapp.values.shown import about, brief_values
from esassistant.clock import monotonic
from esassistant.config.model import Details
from esassistant.errors import BadRequest, StoreUnavailable, UnknownAddress
from esassistant.registry import registry

NO_CHANGES: Changes = {}
MAX_NAMED_FAMILY = 500
"""How many members of a family have their changes on its page: databases limit how many values a query may have."""


@page_view(*READS)
async def names(request: HttpRequest, reader: Reader) -> HtmlPage:
    """`GET /browse/?pattern=&state=&mapping=&of=&group=&sort=&cursor=`: list the families, names, or distinct mappings.
    With `q`, find names and fields of all indices instead.
    """
    if "q" in request.GET:
        return await search_page(request.GET.get("q", ""), reader.visible)
    cache, views = registry.get(MAPPING_CACHE), registry.get(MAPPING_VIEWS)
    wanted = NameFilter.parse(request.GET, reader.visible)
    grouping = chosen(Grouping, "group", request.GET) or _usual_grouping(wanted)
    if not cache.warm:
        raise NotWarm("The first pass over the cluster has not ended.", retry_after_seconds=1)
    config = settings.ESASSISTANT.mapping_cache
    changes, are_changes_known = await _recent_changes()
    arguments: tuple[Any, ...] = (cache.snapshot, views.field_counts, wanted, Times.at(monotonic(), config))
    lists: dict[Grouping, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        Grouping.FAMILY: (list_families, (*arguments, changes)),
        Grouping.NAME: (list_names, (*arguments, changes)),
        Grouping.MAPPING: (list_groups, arguments),
    }
    list_rows, given = lists[grouping]
    listed = await asyncio.to_thread(list_rows, *given)
    near: tuple[str, ...] = ()
    if wanted.pattern and not listed.rows:
        near = await asyncio.to_thread(names_like, wanted.pattern, cache.snapshot, reader.visible)
    this = {**wanted.filters, "group": grouping.value, "sort": wanted.sort.value}
    context = {
        "tab": "names",
        "near": near,
        "wanted": wanted,
        "listed": listed,
        "grouping": grouping.value,
        "states": list(NameState),
        "are_changes_known": are_changes_known,
        "config": config,
        "is_selective": config.include != ("*",) or config.exclude,
        "tabs": [(one.value, address("browse", {**this, "group": one.value})) for one in Grouping],
        "sorts": {one.value: address("browse", {**this, "sort": one.value}) for one in Sort},
        "first_url": address("browse", this) if wanted.start else "",
        "next_url": address("browse", {**this, "cursor": listed.next_cursor}) if listed.next_cursor else "",
        "clear_url": address("browse", {"group": grouping.value}),
    }
    return HtmlPage("cacheapp/_listed.html" if is_part(request) else "cacheapp/browse.html", context)


def _usual_grouping(wanted: NameFilter) -> Grouping:
    """Return how to group the list if the address doesn't say: by name if a state, members or a mapping are asked for;
    otherwise by family, because there are fewer families.
    """
    return Grouping.NAME if wanted.state or wanted.of or wanted.mapping else Grouping.FAMILY


async def _recent_changes() -> tuple[Changes, bool]:
    """Return how often each index changed lately, and whether that is known."""
    try:
        return await registry.get(RECENT_COUNTS).get(), True
    except StoreUnavailable:
        return NO_CHANGES, False


@page_view(*READS)
async def one_name(request: HttpRequest, reader: Reader, name: str) -> HtmlPage:
    """`GET /browse/{name}?q=&type=&conflict=&under=&after=&field=`: show what a name, a list or a pattern stands for,
    its fields, one of the fields in detail, and how they changed.
    """
    views = registry.get(MAPPING_VIEWS)
    query = request.GET
    wanted = _search(query)
    under, after, path = (_path(query, parameter) for parameter in ("under", "after", "field"))
    answer, fields = await views.get(FIELDS, asked(name, reader.visible))
    known = _known_values(name, answer, reader)
    context: dict[str, Any] = {
        "name": name,
        "answer": answer,
        "own_url": address("browse-name", {}, name),
        "tab": "names",
    }
    if path:
        context["details"] = await asyncio.to_thread(field_details, fields, answer.distinct, path, known)
        if context["details"] is None:
            raise UnknownAddress(f"{name} has no field {path!r}.")
        context["permalink"] = request.build_absolute_uri(address("browse-name", {"field": path}, name) + "#field")
        if is_part(request):
            return HtmlPage("cacheapp/_field_details.html", context)
    shown = await _shown(fields, answer, known, wanted, under, after)
    context |= {"shown": shown, "after": after, **_field_addresses(name, shown)}
    if is_part(request):
        is_filter = request.headers.get("HX-Target") == "fields-listed"
        return HtmlPage("cacheapp/_fields_listed.html" if is_filter else "cacheapp/_branches.html", context)
    context |= await _about(request, reader, name, answer)
    context["values_about"] = about(known) if known is not None else ""
    return HtmlPage("cacheapp/browse_name.html", context)


async def _about(request: HttpRequest, reader: Reader, name: str, answer: MappingAnswer) -> dict[str, Any]:
    """Return what the page of a name shows besides its fields."""
    snapshot, counts = registry.get(MAPPING_CACHE).snapshot, registry.get(MAPPING_VIEWS).field_counts
    arguments = (snapshot, counts, name, answer.indices, reader.visible, answer.resolved)
    described = await asyncio.to_thread(describe, *arguments)
    is_public = settings.ESASSISTANT.details is Details.ALWAYS
    return {
        "about": described,
        **await changes_of_indices(answer.indices[:MAX_NAMED_FAMILY], reader.visible),
        "raw": raw_links(name, request.GET.get("q", "").strip(), request.build_absolute_uri, public=is_public),
        "same_url": address("browse", {"mapping": described.mapping_hash}),
        "members_url": address("browse", {"of": name}),
        "groups_url": address("browse", {"of": name, "group": "mapping"}),
        "changes_url": address("changes-page", {"pattern": name, "since": "all"}),
        "validate_url": address("validate-page", {"name": name}),
        "describe_url": address("describe-page", {"name": name}),
    }


def _search(query: Mapping[str, str]) -> Search:
    if (conflict := query.get("conflict", "")) not in ("", "true", "false"):
        raise BadRequest("Use conflict=true, or leave it out.")
    start = place_of(query.get("cursor", ""))
    return Search(query.get("q", "").strip(), query.get("type", ""), conflict == "true", start)


def _path(query: Mapping[str, str], parameter: str) -> str:
    given = query.get(parameter, "")
    if len(given) > MAX_FIELD_CHARACTERS:
        raise BadRequest(f"Use {parameter}= with at most {MAX_FIELD_CHARACTERS} characters.")
    return given


def _known_values(name: str, answer: MappingAnswer, reader: Reader) -> KnownOfName | None:
    names: Iterable[str] = names_of(name, answer.resolved)
    return registry.get(KNOWN_VALUES).of(tuple(names), registry.get(MAPPING_CACHE).snapshot, reader.visible)


async def _shown(
    fields: tuple[Field, ...],
    answer: MappingAnswer,
    known: KnownOfName | None,
    wanted: Search,
    under: str,
    after: str,
) -> ShownFields:
    def show() -> ShownFields:
        values = {} if known is None else brief_values(known, fields)
        return show_fields(fields, wanted, len(answer.indices), values, under, after)

    return await asyncio.to_thread(show)


def _field_addresses(name: str, shown: ShownFields) -> dict[str, str]:
    """Return the addresses of the fields after those that are shown."""
    tree = shown.tree
    more = (
        ""
        if tree is None or not tree.next_after
        else address("browse-name", {"under": tree.under, "after": tree.next_after}, name)
    )
    following = ""
    if shown.left_out:
        following = address("browse-name", {**shown.search.filters, "cursor": str(shown.next_start)}, name)
    return {"more_url": more, "following_url": following}
