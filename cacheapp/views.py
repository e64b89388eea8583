"""The mapping cache over HTTP. Views parse, make one call, and serialise."""

import enum
import functools
import math
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from cacheapp.cache import http_answers
from cacheapp.cache.cluster_fields import CLUSTER_FIELDS
from cacheapp.cache.comparisons import compared
from cacheapp.cache.derived import FIELD_LIST, JSON, MAPPING_VIEWS, SCHEMA_TEXT
from cacheapp.cache.descriptions import DESCRIPTIONS
from cacheapp.cache.http_answers import (
    TEXT,
    answer_of,
    cluster_answer,
    description_answer,
    first_page,
    text_answer,
    with_values,
)
from cacheapp.cache.mapping_cache import MAPPING_CACHE
from cacheapp.change_reports import HISTORY_REPORT
from cacheapp.describe.description import DEFAULT_BUDGET_TOKENS, MIN_BUDGET_TOKENS
from cacheapp.describe.fields import MAX_BUDGET_TOKENS
from cacheapp.describe.near_names import with_near_names
from cacheapp.errors import MappingNotFound, RateLimited, RefreshNotFound
from cacheapp.feed.interest import change_id, interest_of
from cacheapp.history import HISTORY
from cacheapp.instances import INSTANCES
from cacheapp.reports import PassOutcome, RefreshReport
from cacheapp.search import SEARCH
from cacheapp.shown_changes import as_answer
from cacheapp.state.expressions import Asked, Expression, asked, names_of
from cacheapp.state.field_pages import MAX_FIELD_CHARACTERS, FieldFilter
from cacheapp.state.listing import DEFAULT_LIMIT, MAX_LIMIT, Kind, NameFilter, State
from cacheapp.state.visible import Visible
from cacheapp.sync.refresher import REFRESHER
from cacheapp.validation import VALIDATION, Validate
from cacheapp.values.known import KNOWN_VALUES
from esassistant.api import View, api_view, json_response, parameter, whole_number
from esassistant.config.tokens import Right
from esassistant.errors import BadRequest, ClusterUnavailable, EsassistantError, UnknownAddress
from esassistant.http.answer import Answer
from esassistant.http.auth import check_rights, reads_all, require
from esassistant.http.counters import note_of
from esassistant.http.problems import EXPLANATIONS, slash_hint
from esassistant.registry import registry
from esassistant.units import as_duration

Choice = TypeVar("Choice", bound=enum.Enum)


def _suggesting(view: View) -> View:
    """Decorate a view: if a name isn't there, the problem also suggests similar names, for callers who may list
    names.
    """

    @functools.wraps(view)
    async def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return await view(request, *args, **kwargs)
        except MappingNotFound as error:
            try:
                visible = await _visible(request)
            except EsassistantError:
                raise error from None
            raise await with_near_names(error, registry.get(MAPPING_CACHE).snapshot, visible) from None

    return wrapped


@api_view("GET", parameters=("pattern", "kind", "state", "field", "limit", "cursor"))
async def indices(request: HttpRequest) -> HttpResponse:
    """`GET /api/indices?pattern=&kind=&state=&field=&limit=&cursor=`: the names that can be asked for, in alphabetical
    order.
    """
    visible = await _visible(request)
    cache = registry.get(MAPPING_CACHE)
    if visible.everything and not request.GET:
        return first_page(cache).response(request)
    limit, cursor = _integer(request, "limit", DEFAULT_LIMIT, MAX_LIMIT), parameter(request, "cursor", None)
    field = _path(request, "field")
    wanted = NameFilter(
        pattern=parameter(request, "pattern", None),
        kind=_one_of(request, "kind", Kind),
        state=_one_of(request, "state", State),
        mapping_hashes=await registry.get(CLUSTER_FIELDS).hashes_with(field) if field else None,
        visible=visible,
    )
    return json_response(await cache.page(wanted, limit=limit, cursor=cursor))


@api_view("GET", parameters=("q", "type", "prefix", "leaves", "pattern", "limit", "cursor"))
@_suggesting
async def cluster_fields(request: HttpRequest) -> HttpResponse:
    """`GET /api/fields?q=&type=&prefix=&leaves=&pattern=&limit=&cursor=`: the fields of the cluster, one row for each
    path.
    """
    visible = await _visible(request)
    page = await registry.get(CLUSTER_FIELDS).page(
        _field_filter(request),
        pattern=parameter(request, "pattern", None),
        visible=visible,
        limit=_integer(request, "limit", DEFAULT_LIMIT, MAX_LIMIT),
        cursor=parameter(request, "cursor", None),
    )
    return json_response(page)


@csrf_exempt
async def no_name(request: HttpRequest) -> HttpResponse:  # noqa: ARG001  (Django's signature)
    """`/api/mappings`: 404 with a hint where names and mappings are. There is no address for all mappings, because
    nobody needs all of them at once.
    """
    raise UnknownAddress("Add a name: /api/mappings/{name}. /api/indices lists the names.")


@api_view("GET", parameters=("group",))
@_suggesting
async def mapping(request: HttpRequest, name: str) -> HttpResponse:
    """`GET /api/mappings/{name}?group=`: the mappings of an index, alias or data stream, as Elasticsearch renders them;
    with `group=mapping` each distinct one once.
    """
    visible = await _visible(request)
    if name.endswith("/"):  # as in addresses with a route of their own
        raise UnknownAddress(f"{EXPLANATIONS[404]}{slash_hint(request.path)}")
    wanted = asked(name, visible)
    views = registry.get(MAPPING_VIEWS)
    found = await (views.grouped(wanted) if _is_grouped(request) else views.mapping(wanted))
    return answer_of(found).response(request)


@api_view("POST", parameters=("validate",))
@_suggesting
async def search(request: HttpRequest, name: str) -> HttpResponse:
    """`POST /api/indices/{name}/search`: Elasticsearch's own answer to a search that only reads, bounded in size and
    time.
    """
    visible = await _visible(request, Right.SEARCH)
    searches = registry.get(SEARCH)
    try:
        how = Validate(parameter(request, "validate", Validate.WARN.value))
    except ValueError:
        raise BadRequest("Use validate=off, warn or refuse.") from None
    return (await searches.answer(name, request.body, how, visible=visible)).response(request)


@api_view("POST")
@_suggesting
async def validate(request: HttpRequest, name: str) -> HttpResponse:
    """`POST /api/mappings/{name}/validate`: what is wrong with a search body, from memory; the cluster isn't asked."""
    visible = await _visible(request)
    return json_response(await registry.get(VALIDATION).validate(asked(name, visible), request.body, visible))


@api_view("GET")
@_suggesting
async def schema(request: HttpRequest, name: str) -> HttpResponse:
    """`GET /api/mappings/{name}/schema`: the JSON Schema of the documents that `name` accepts."""
    wanted = await _asked(request, name)
    views = registry.get(MAPPING_VIEWS)
    return (await text_answer(views, SCHEMA_TEXT, wanted)).response(request)


@api_view("GET", parameters=("q", "type", "prefix", "leaves", "limit", "cursor", "compact", "values"))
@_suggesting
async def fields(request: HttpRequest, name: str) -> HttpResponse:
    """`GET /api/mappings/{name}/fields?q=&type=&prefix=&leaves=&limit=&cursor=&compact=&values=`: the fields of `name`
    as a flat list, with `q` the best matches first; with `values=true` also what values they have.
    """
    visible = await _visible(request)
    wanted = asked(name, visible)
    views = registry.get(MAPPING_VIEWS)
    if not request.GET:
        return (await text_answer(views, FIELD_LIST, wanted)).response(request)
    found = await views.find_fields(
        wanted,
        _field_filter(request),
        limit=_integer(request, "limit", 1, MAX_LIMIT) if "limit" in request.GET else None,
        cursor=parameter(request, "cursor", None),
        is_compact=_boolean(request, "compact"),
    )
    if _boolean(request, "values"):
        names = names_of(wanted, found.resolved)
        known = registry.get(KNOWN_VALUES).of(names, registry.get(MAPPING_CACHE).snapshot, visible)
        found = await with_values(found, known)
    return answer_of(found).response(request)


@api_view("GET", parameters=("tokens", "q"))
@_suggesting
async def describe(request: HttpRequest, name: str) -> HttpResponse:
    """`GET /api/mappings/{name}/describe?tokens=&q=`: the fields of `name` as a text that fits into a prompt."""
    visible = await _visible(request)
    budget_tokens, question = _budget_and_question(request)
    wanted = asked(name, visible)
    found, description = await registry.get(DESCRIPTIONS).describe(wanted, budget_tokens, question, visible)
    return _chosen(request, description_answer(found, description, as_json=_wants_json(request)))


@api_view("GET", parameters=("tokens", "q"))
async def describe_cluster(request: HttpRequest) -> HttpResponse:
    """`GET /api/describe?tokens=&q=`: the families of the cluster as a text that fits into a prompt."""
    visible = await _visible(request)
    budget_tokens, question = _budget_and_question(request)
    snapshot, description = await registry.get(DESCRIPTIONS).describe_cluster(budget_tokens, question, visible)
    return _chosen(request, cluster_answer(snapshot, description, as_json=_wants_json(request)))


async def _asked(request: HttpRequest, name: str) -> Asked:
    """Return what the caller asks for by the name, list or pattern in the address. Raise what `_visible` and `asked`
    raise.
    """
    return asked(name, await _visible(request))


async def _visible(request: HttpRequest, right: Right = Right.READ) -> Visible:
    """Return which names exist for this caller, who must have that right. Raise what `require` raises."""
    return Visible((await require(request, right)).patterns)


def _budget_and_question(request: HttpRequest) -> tuple[int, str]:
    """Return the token budget and the question, which both kinds of descriptions take. Raise `BadRequest` if the budget
    isn't a number within its limits.
    """
    budget_tokens = _integer(request, "tokens", DEFAULT_BUDGET_TOKENS, MAX_BUDGET_TOKENS, MIN_BUDGET_TOKENS)
    return budget_tokens, parameter(request, "q", "")


def _wants_json(request: HttpRequest) -> bool:
    return request.get_preferred_type([TEXT, JSON]) == JSON


def _chosen(request: HttpRequest, answer: Answer) -> HttpResponse:
    """Return the response for an answer that is text or JSON, as chosen by the caller's `Accept`."""
    response = answer.response(request)
    patch_vary_headers(response, ("Accept",))
    return response


@api_view("GET")
@_suggesting
async def history(request: HttpRequest, name: str) -> HttpResponse:
    """`GET /api/mappings/{name}/history`: the latest changes of the indices that `name` stands for, newest first. A
    pattern also matches deleted indices that are recorded.
    """
    visible = await _visible(request)
    wanted = asked(name, visible)
    cache, recorded = registry.get(MAPPING_CACHE), registry.get(HISTORY)
    if isinstance(wanted, Expression):
        changes = await recorded.changes_matching(cache.snapshot, wanted)
    else:
        cache.check_name(wanted)
        changes = await recorded.latest_changes(cache.snapshot.resolve(wanted) or (wanted,), visible)
    return json_response({"changes": changes})


@api_view("GET", parameters=("since", "pattern", "kind", "limit"))
async def changes(request: HttpRequest) -> HttpResponse:
    """`GET /api/changes?since=&pattern=&kind=&limit=`: what happened to all indices, oldest first. A request for events
    is not answered here but by the change feed (cacheapp/feed).
    """
    visible = await _visible(request)
    interest = interest_of(parameter(request, "pattern", None), parameter(request, "kind", None), visible)
    since = parameter(request, "since", None)
    page = await registry.get(HISTORY).changes(
        since=None if since is None else change_id(since),
        limit=_integer(request, "limit", DEFAULT_LIMIT, MAX_LIMIT),
        chosen_by=interest.chosen_by,
        kinds=interest.kinds,
        visible=visible,
    )
    others: list[Any] | None = registry.get(INSTANCES).told_by_others(HISTORY_REPORT.name)
    return json_response(as_answer(page, others))


@api_view("GET", parameters=("a", "b"))
@_suggesting
async def comparison(request: HttpRequest) -> HttpResponse:
    """`GET /api/compare?a=&b=`: how the fields of one index, alias, data stream or mapping differ from those of
    another.
    """
    visible = await _visible(request)
    a, b = parameter(request, "a", ""), parameter(request, "b", "")
    if not (a and b):
        raise BadRequest("Use a= and b=, each with the name of an index, alias or data stream, or a mapping_hash.")
    return answer_of(await compared(registry.get(MAPPING_CACHE), a, b, visible)).response(request)


@api_view("GET")
async def cache_stats(request: HttpRequest) -> HttpResponse:
    """`GET /api/cache/stats`: what the cache holds, how it was used, and the last and next pass. Callers who may not
    read all get only totals.
    """
    return http_answers.cache_stats(details=await reads_all(request)).response(request)


@api_view("POST", parameters=("wait", "index"))
async def refresh(request: HttpRequest) -> HttpResponse:
    """`POST /api/cache/refresh`: start a full pass or join the one under way; `?wait=true` waits for it; `?index=`
    reads one name.
    """
    caller = await require(request, Right.REFRESH)
    wait = _boolean(request, "wait")
    if (index := parameter(request, "index", None)) is not None:
        check_rights(caller, Right.READ)  # because the answer is the mapping
        Visible(caller.patterns).check(index)
        cache = registry.get(MAPPING_CACHE)
        return answer_of(await cache.reread(index)).response(request)
    check_rights(caller, Right.REFRESH, everything=True)
    refresher = registry.get(REFRESHER)
    answer = await refresher.ask("api")
    if answer.id is None:
        seconds = math.ceil(answer.retry_after_seconds or 0)
        reason = (
            "Another process refreshes"
            if answer.outcome is PassOutcome.OVERLAP
            else "The mappings were refreshed a moment ago"
        )
        raise RateLimited(
            f"{reason}; ask again in {as_duration(seconds)}.", retry_after_seconds=answer.retry_after_seconds
        )
    if wait:
        note_of(getattr(request, "scope", request.META)).is_long_poll = True
        return _result(await refresher.wait(answer.id))
    instances = registry.get(INSTANCES)
    await instances.try_publish()  # if that fails, only this instance can report on the pass
    location = reverse("esassistant:cache-refresh-report", args=[answer.id])
    response = json_response({"outcome": answer.outcome, "id": answer.id, "url": location}, status=202)
    response["Location"] = location
    return response


@api_view("GET")
async def refresh_report(request: HttpRequest, refresh_id: str) -> HttpResponse:
    """`GET /api/cache/refresh/{id}`: progress and result of a refresh."""
    await require(request, Right.READ, Right.REFRESH, everything=True)
    refresher = registry.get(REFRESHER)
    try:
        return json_response(refresher.refresh_report(refresh_id))
    except RefreshNotFound:
        instances = registry.get(INSTANCES)
        return json_response(await instances.refresh_report(refresh_id))


def _result(report: RefreshReport) -> HttpResponse:
    if report.outcome is PassOutcome.FAILED:
        raise ClusterUnavailable(report.error or "The refresh failed.", retry_after_seconds=5)
    return json_response(report)


def _boolean(request: HttpRequest, name: str) -> bool:
    given = parameter(request, name, "false").lower()
    if given not in ("true", "false"):
        raise BadRequest(f"Use {name}=true or {name}=false.")
    return given == "true"


def _field_filter(request: HttpRequest) -> FieldFilter:
    """Return which fields are wanted. Raise `BadRequest` if a parameter can't be used."""
    return FieldFilter(
        q=parameter(request, "q", ""),
        type=_path(request, "type"),
        prefix=_path(request, "prefix"),
        leaves=_boolean(request, "leaves"),
    )


def _path(request: HttpRequest, name: str) -> str:
    given = parameter(request, name, "")
    if len(given) > MAX_FIELD_CHARACTERS:
        raise BadRequest(f"Use {name}= with at most {MAX_FIELD_CHARACTERS} characters.")
    return given


def _one_of(request: HttpRequest, name: str, choices: type[Choice]) -> Choice | None:
    given = parameter(request, name, None)
    if given is None:
        return None
    try:
        return choices(given)
    except ValueError:
        values = [f"{choice.value}" for choice in choices]
        raise BadRequest(f"Use {name}={', '.join(values[:-1])} or {values[-1]}.") from None


def _is_grouped(request: HttpRequest) -> bool:
    given = parameter(request, "group", "")
    if given not in ("", "mapping"):
        raise BadRequest("Use group=mapping, or leave it out.")
    return given == "mapping"


def _integer(request: HttpRequest, name: str, default: int, maximum: int, minimum: int = 1) -> int:
    return whole_number(name, parameter(request, name, str(default)), minimum, maximum)
