"""The mapping browser: pages for people that show what the cache has in memory.

For staff, or for everybody where details are public. What takes long, templates included, is done in threads; that work
touches neither the database nor the user.
"""

import asyncio
import functools
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt

from cacheapp.browse.about import describe, raw_links
from cacheapp.browse.fields import Search, show_fields
from cacheapp.browse.names import Groups, NameFilter, Names, NameState, Times, list_groups, list_names
from cacheapp.cache.derived import FIELDS, MAPPING_VIEWS
from cacheapp.cache.mapping_cache import MAPPING_CACHE
from cacheapp.demand.askers import ASKER, Asker
from cacheapp.errors import BadSearch, IllegalName, MappingNotFound, NotWarm
from cacheapp.history import HISTORY
from cacheapp.shown_changes import ShownChange
from cacheapp.state.expressions import Expression, asked, names_of
from cacheapp.state.listing import MAX_PATTERN_CHARACTERS
from cacheapp.state.visible import ALL_VISIBLE
from cacheapp.validation import VALIDATION
from cacheapp.values.known import KNOWN_VALUES
from cacheapp.values.shown import about, brief_values
from esassistant.clock import monotonic
from esassistant.config.model import Details
from esassistant.config.tokens import Right
from esassistant.errors import BadRequest, EsassistantError, MethodNotAllowed, StoreUnavailable
from esassistant.http.auth import caller_of, check_rights
from esassistant.http.callers import CallerKind
from esassistant.http.problems import already_logged, is_for_people, problem_of, request_id_of
from esassistant.registry import registry

SHOWN_CHANGES = 20
RETRY_AFTER_SECONDS = 5
"""Used when an error does not say when to try again."""


@dataclass(frozen=True, slots=True)
class HtmlPage:
    """A template and the context to render it with."""

    template: str
    context: dict[str, Any] = field(default_factory=dict)
    status: int = 200


PageView = Callable[..., Awaitable[HtmlPage]]


def page_view(view: PageView, *, methods: tuple[str, ...] = ("GET", "HEAD")) -> Any:
    """Decorate an `async def` view of a page, which answers `methods`.

    Only those who may read everything get the page: pages are full views. Others are sent to the login, or refused
    where they have a token. An `EsassistantError` becomes a page too, or a problem where no person asked.
    """

    @functools.wraps(view)
    async def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            if request.method not in methods:
                raise MethodNotAllowed(methods)
            caller = await caller_of(request)
            if caller.kind is CallerKind.TOKEN:
                check_rights(caller, Right.READ, everything=True)
            if caller.reads_all:
                ASKER.set(Asker.PERSON)
                response = await _rendered(request, await view(request, *args, **kwargs))
            else:
                response = redirect_to_login(request.get_full_path(), reverse("admin:login"))
        except EsassistantError as error:
            response = await _refusal(request, error, kwargs.get("name", ""))
        response["Cache-Control"] = "no-store"
        return response

    return wrapped


@page_view
async def names(request: HttpRequest) -> HtmlPage:
    """`GET /browse/?pattern=&state=&mapping=&of=&group=&cursor=`: list the names, or the distinct mappings."""
    cache = registry.get(MAPPING_CACHE)
    views = registry.get(MAPPING_VIEWS)
    wanted, group = NameFilter.parse(request.GET), request.GET.get("group", "")
    if group not in ("", "mapping"):
        raise BadRequest("Use group=mapping, or leave it out.")
    if not cache.warm:
        raise NotWarm("The first pass over the cluster has not ended.", retry_after_seconds=1)
    config = settings.ESASSISTANT.mapping_cache
    makes_list: Callable[..., Names | Groups] = list_groups if group else list_names
    times = Times.at(monotonic(), config)
    listed = await asyncio.to_thread(makes_list, cache.snapshot, views.field_counts, wanted, times)
    grouped = {"group": group} if group else {}
    context = {
        "wanted": wanted,
        "listed": listed,
        "by_mapping": bool(group),
        "states": list(NameState),
        "config": config,
        "is_selective": config.include != ("*",) or config.exclude,
        "names_url": _address(wanted.filters),
        "groups_url": _address({**wanted.filters, "group": "mapping"}),
        "first_url": _address({**wanted.filters, **grouped}) if wanted.cursor else "",
        "next_url": _address({**wanted.filters, **grouped, "cursor": listed.next_cursor}) if listed.next_cursor else "",
        "clear_url": _address(grouped),
    }
    return HtmlPage("cacheapp/browse.html", context)


@csrf_exempt  # it changes nothing, and a token would give everybody who looks at a page a cookie
@partial(page_view, methods=("GET", "HEAD", "POST"))
async def one_name(request: HttpRequest, name: str) -> HtmlPage:
    """`GET /browse/{name}?q=&type=`: show what a name, a list or a pattern stands for, its fields, and how they
    changed. With `POST` and a `search`, what is wrong with that search too.
    """
    cache = registry.get(MAPPING_CACHE)
    views = registry.get(MAPPING_VIEWS)
    wanted = Search(request.GET.get("q", "").strip(), request.GET.get("type", ""))
    answer, fields = await views.get(FIELDS, asked(name, ALL_VISIBLE))
    changes = await _changes(answer.indices)
    is_public = settings.ESASSISTANT.details is Details.ALWAYS
    known = registry.get(KNOWN_VALUES).of(names_of(name, answer.resolved), cache.snapshot, ALL_VISIBLE)
    values = {} if known is None else brief_values(known, fields)
    shown = await asyncio.to_thread(show_fields, fields, wanted, len(answer.indices), values)
    arguments = (cache.snapshot, views.field_counts, name, answer.indices, answer.resolved)
    described = await asyncio.to_thread(describe, *arguments)
    context = {
        "name": name,
        "answer": answer,
        "about": described,
        "shown": shown,
        "values_about": about(known) if known is not None and values else "",
        **_history(changes),
        **await _validated(request, name),
        "raw": raw_links(name, wanted.q, request.build_absolute_uri, public=is_public),
        "same_url": _address({"mapping": described.mapping_hash}),
        "members_url": _address({"of": name}),
        "groups_url": _address({"of": name, "group": "mapping"}),
    }
    return HtmlPage("cacheapp/browse_name.html", context)


async def _validated(request: HttpRequest, name: str) -> dict[str, Any]:
    """What is wrong with the search that was sent with the page's form, if one was."""
    text = request.POST.get("search") if request.method == "POST" else None
    if text is None:
        return {}
    try:
        return {
            "search": text,
            "validated": await registry.get(VALIDATION).validate(asked(name, ALL_VISIBLE), text.encode(), ALL_VISIBLE),
        }
    except BadSearch as error:
        return {"search": text, "unreadable": error.detail}


def _address(query: dict[str, str]) -> str:
    return reverse("esassistant:browse") + (f"?{urlencode(query)}" if query else "")


async def _changes(indices: Iterable[str]) -> list[ShownChange] | None:
    """Read the history of indices; None where it cannot be read now."""
    try:
        changes: list[ShownChange] = await registry.get(HISTORY).latest_changes(indices, ALL_VISIBLE)
    except StoreUnavailable:
        return None
    return changes


def _history(changes: list[ShownChange] | None) -> dict[str, Any]:
    return {"changes": changes and changes[:SHOWN_CHANGES], "changes_total": len(changes or ())}


async def _rendered(request: HttpRequest, page: HtmlPage) -> HttpResponse:
    return await asyncio.to_thread(
        render, request, page.template, {"page": "browse", **page.context}, status=page.status
    )


async def _refusal(request: HttpRequest, error: EsassistantError, name: str) -> HttpResponse:
    """Make the page that says what is wrong and what to do; `name` is the requested name, if any."""
    retry_after_seconds = error.retry_after_seconds
    if error.status == 503:
        retry_after_seconds = max(1, math.ceil(retry_after_seconds or RETRY_AFTER_SECONDS))
    problem = problem_of(request, error)
    if is_for_people(request):
        context: dict[str, Any] = {"error": error, "request_id": request_id_of(request)}
        is_name = 0 < len(name) <= MAX_PATTERN_CHARACTERS and not isinstance(asked(name, ALL_VISIBLE), Expression)
        if isinstance(error, IllegalName | MappingNotFound) and is_name:
            context |= {"name": name, "similar_url": _address({"pattern": name})}
        if isinstance(error, MappingNotFound):
            context |= _history(await _changes((name,)))
        response = await _rendered(request, HtmlPage("cacheapp/browse_error.html", context, error.status))
        for header in ("Allow", "WWW-Authenticate"):
            if header in problem:
                response[header] = problem[header]
    else:
        response = problem
    if retry_after_seconds is not None:
        response["Retry-After"] = str(retry_after_seconds)
    return already_logged(response)
