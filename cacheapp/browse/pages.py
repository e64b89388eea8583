"""What all pages of the mapping browser share: who may see them, how they are rendered, and the pages for errors."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt

from cacheapp.cache.mapping_cache import MAPPING_CACHE
from cacheapp.demand.askers import ASKER, Asker
from cacheapp.describe.near_names import names_like
from cacheapp.errors import IllegalName, MappingNotFound
from cacheapp.history import HISTORY
from cacheapp.shown_changes import ShownChange
from cacheapp.state.expressions import Expression, asked
from cacheapp.state.listing import MAX_PATTERN_CHARACTERS
from cacheapp.state.visible import Visible
from esassistant.config.tokens import Right
from esassistant.errors import EsassistantError, MethodNotAllowed, StoreUnavailable, UnknownAddress
from esassistant.http.auth import caller_of, check_csrf, check_rights, refusal_of
from esassistant.http.callers import Caller, CallerKind
from esassistant.http.problems import already_logged, is_for_people, problem_of, request_id_of, retry_address
from esassistant.registry import registry

SHOWN_CHANGES = 20
RETRY_AFTER_SECONDS = 5
"""When to try again, if an error doesn't say."""
READS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class HtmlPage:
    """A template and the context to render it with."""

    template: str
    context: dict[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Reader:
    """The reader of a page: the names that exist for them, and whether their forms need the CSRF token of their
    session.
    """

    visible: Visible
    has_session: bool


ERROR_PAGE = HtmlPage("cacheapp/browse_error.html")


class FormRefused(Exception):
    """A form can't be answered because of `error`. The reader gets `page` again, with what they entered and the error;
    `page` has a place for both.
    """

    def __init__(self, error: EsassistantError, page: HtmlPage) -> None:
        super().__init__(error.detail)
        self.error = error
        self.page = page


PageView = Callable[..., Awaitable[HtmlPage]]


def page_view(*methods: str) -> Callable[[PageView], Any]:
    """Decorate an `async def` view of a page. It answers `methods`, and is called with the request and its `Reader`.

    Whoever may read mappings by the API gets the page, which shows the same names. Others are redirected to the login
    page. They are refused instead if they have a token that doesn't suffice, or if a script asks for a part of a page,
    which can't show a login. An `EsassistantError` becomes an error page, and `FormRefused` the page of the form again;
    both become a problem (RFC 9457) for scripts and other programs.

    A form that is sent with a session needs the CSRF token of that session. Django's own check isn't used, because its
    token would set a cookie for everybody who looks at a page.
    """

    def decorate(view: PageView) -> Any:
        @csrf_exempt
        @functools.wraps(view)
        async def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                if request.method not in methods:
                    raise MethodNotAllowed(methods)
                caller = await caller_of(request)
                if caller.kind is CallerKind.ANONYMOUS and not caller.may(Right.READ):
                    response = _sent_to_login(request)
                else:
                    reader = _reader(request, caller)
                    ASKER.set(Asker.PERSON)
                    response = await _rendered(request, await view(request, reader, *args, **kwargs))
            except FormRefused as refused:
                response = await _refusal(request, refused.error, "", refused.page)
            except EsassistantError as error:
                response = await _refusal(request, error, kwargs.get("name", ""), ERROR_PAGE)
            response["Cache-Control"] = "no-store"
            return response

        return wrapped

    return decorate


def is_part(request: HttpRequest) -> bool:
    """Return whether a script asks for a part of a page, to insert it into the page that is shown."""
    return request.headers.get("HX-Request") == "true"


def address(name: str, query: Mapping[str, str], *args: str) -> str:
    """Return the address of a page, without the empty parameters of the query."""
    given = {key: value for key, value in query.items() if value}
    return reverse(f"esassistant:{name}", args=args) + (f"?{urlencode(given)}" if given else "")


async def changes_of_indices(indices: Iterable[str], visible: Visible) -> dict[str, Any]:
    """Return the history of some indices for a template; `changes` is None if it can't be read now."""
    try:
        changes: list[ShownChange] | None = await registry.get(HISTORY).latest_changes(indices, visible)
    except StoreUnavailable:
        changes = None
    return {"changes": changes and changes[:SHOWN_CHANGES], "changes_total": len(changes or ())}


def _reader(request: HttpRequest, caller: Caller) -> Reader:
    check_rights(caller, Right.READ)
    if request.method not in READS:
        check_csrf(request, caller)
    return Reader(Visible(caller.patterns), caller.kind is CallerKind.STAFF)


def _sent_to_login(request: HttpRequest) -> HttpResponse:
    if is_part(request):
        raise refusal_of(request)
    return redirect_to_login(retry_address(request), reverse("admin:login"))


async def _rendered(request: HttpRequest, page: HtmlPage) -> HttpResponse:
    context = {"page": "browse", **page.context}
    return await asyncio.to_thread(render, request, page.template, context, status=page.status)


async def _refusal(request: HttpRequest, error: EsassistantError, name: str, page: HtmlPage) -> HttpResponse:
    """Return `page`, with what is wrong and what to do. `name` is the name in the address, if any."""
    problem = problem_of(request, error)
    if error.status == 503:
        problem.headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    if is_for_people(request) and not is_part(request):
        context = {"error": error, "request_id": request_id_of(request), **page.context}
        context |= await _about_missing(request, error, name)
        response = await _rendered(request, HtmlPage(page.template, context, error.status))
        for header in ("Allow", "Retry-After", "WWW-Authenticate"):
            if header in problem:
                response[header] = problem[header]
    else:
        response = problem
    return already_logged(response)


async def _about_missing(request: HttpRequest, error: EsassistantError, name: str) -> dict[str, Any]:
    """Return what an error page says about a name that isn't there: similar names, and what the history recorded of
    it; about a field that isn't there: where to look for it.
    """
    if isinstance(error, UnknownAddress) and (path := request.GET.get("field")) and name:
        urls = {"fields_url": address("browse-name", {}, name), "similar_url": address("browse", {"q": path})}
        return {"name": name, **urls}
    if not isinstance(error, IllegalName | MappingNotFound):
        return {}
    wanted = name or (error.name if isinstance(error, MappingNotFound) else "") or ""
    if not 0 < len(wanted) <= MAX_PATTERN_CHARACTERS:
        return {}
    try:
        visible = Visible((await caller_of(request)).patterns)
        near = await asyncio.to_thread(names_like, wanted, registry.get(MAPPING_CACHE).snapshot, visible)
    except EsassistantError:  # an error page has to work even if suggestions can't be made
        return {}
    context: dict[str, Any] = {"name": wanted, "near": near, "similar_url": address("browse", {"q": wanted})}
    is_gone = isinstance(error, MappingNotFound) and visible.covers(wanted)
    if is_gone and not isinstance(asked(wanted, visible), Expression):
        context |= await changes_of_indices((wanted,), visible)
    return context
