"""Pages about more than one name: changes, comparisons of two names, validation of a search, and descriptions for a
prompt.
"""

import asyncio
from typing import Any

from django.http import HttpRequest

from cacheapp.browse.change_days import PERIOD_WORDS, Period, by_day
from cacheapp.browse.filters import chosen, place_of
from cacheapp.browse.marked_search import marked_search, readable
from cacheapp.browse.pages import READS, FormRefused, HtmlPage, Reader, address, page_view
from cacheapp.cache.comparisons import compare_sides
from cacheapp.cache.descriptions import DESCRIPTIONS
from cacheapp.cache.mapping_cache import MAPPING_CACHE
from cacheapp.change_reports import HISTORY_REPORT
from cacheapp.describe.description import DEFAULT_BUDGET_TOKENS, MAX_QUESTION_CHARACTERS, MIN_BUDGET_TOKENS
from cacheapp.describe.fields import MAX_BUDGET_TOKENS
from cacheapp.errors import BadSearch
from cacheapp.history import HISTORY
from cacheapp.instances import INSTANCES
from cacheapp.state.changes import ChangeKind
from cacheapp.state.choice import EVERY_NAME, NameChoice
from cacheapp.state.expressions import asked, parse
from cacheapp.state.visible import Visible
from cacheapp.validation import VALIDATION
from esassistant.api import whole_number
from esassistant.clock import now_utc
from esassistant.errors import BadRequest, EsassistantError
from esassistant.registry import registry

CHANGES_AT_ONCE = 500
"""How many changes are read and grouped for one page; earlier ones are on the next page."""
BUDGETS = (500, 1000, 2000, 4000, 8000)


@page_view(*READS)
async def changes(request: HttpRequest, reader: Reader) -> HtmlPage:
    """`GET /changes?pattern=&kind=&since=&before=`: what changed, by day, the latest day first."""
    query = request.GET
    pattern = query.get("pattern", "").strip()
    period = Period.parse(query.get("since", ""), now_utc())
    kind = chosen(ChangeKind, "kind", query)
    found = await registry.get(HISTORY).recent(
        since=period.since,
        before=place_of(query.get("before", "")) or None,
        limit=CHANGES_AT_ONCE,
        chosen_by=NameChoice(parse(_as_pattern(pattern, reader.visible))) if pattern else EVERY_NAME,
        kinds=[kind] if kind else [],
        visible=reader.visible,
    )
    this = {"pattern": pattern, "kind": kind or "", "since": period.given}
    context = {
        "page": "changes",
        "pattern": pattern,
        "kind": kind,
        "kinds": [one for one in ChangeKind if one is not ChangeKind.GAP],
        "period": period,
        "periods": PERIOD_WORDS,
        "found": found,
        "days": await asyncio.to_thread(by_day, found.changes),
        "is_shared": _is_shared(),
        "sees_all": reader.visible.everything,
        "is_later_page": "before" in query,
        "first_url": address("changes-page", this),
        "next_url": address("changes-page", {**this, "before": str(found.next_before)}) if found.next_before else "",
    }
    return HtmlPage("cacheapp/changes.html", context)


def _as_pattern(pattern: str, visible: Visible) -> str:
    """Return a part of a name as a pattern that finds all names with it. Return a known name, a list or a pattern
    unchanged.

    A name that isn't visible counts as a part of a name: the result must not show that it exists.
    """
    if any(sign in pattern for sign in "*,"):
        return pattern
    is_name = visible.covers(pattern) and registry.get(MAPPING_CACHE).snapshot.knows(pattern)
    return pattern if is_name else f"*{pattern}*"


def _is_shared() -> bool:
    """Return whether all instances have this history, as far as is known."""
    others: list[Any] | None = registry.get(INSTANCES).told_by_others(HISTORY_REPORT.name)
    own = registry.read(HISTORY_REPORT).name
    return others is None or {told.get("name") for told in others} <= {None, own}


@page_view(*READS)
async def comparison(request: HttpRequest, reader: Reader) -> HtmlPage:
    """`GET /compare?a=&b=`: in which fields two names or mappings differ."""
    a, b = (request.GET.get(side, "").strip() for side in "ab")
    context: dict[str, Any] = {"tab": "compare", "a": a, "b": b}
    if a and b:
        try:
            compared, both = await compare_sides(registry.get(MAPPING_CACHE), a, b, reader.visible)
        except EsassistantError as error:
            raise FormRefused(error, HtmlPage("cacheapp/compare.html", context)) from error
        context |= {
            "compared": compared,
            "differences": compared.differences,
            "links": {"a": _link(a, both[0].indices), "b": _link(b, both[1].indices)},
            "swapped_url": address("compare-page", {"a": b, "b": a}),
        }
    return HtmlPage("cacheapp/compare.html", context)


@page_view(*READS, "POST")
async def validation(request: HttpRequest, reader: Reader) -> HtmlPage:
    """`GET /validate?name=`: a form for a search. `POST`: what is wrong with the search, marked in its text. The search
    isn't sent to the cluster.
    """
    sent = request.POST if request.method == "POST" else request.GET
    name, text = sent.get("name", "").strip(), sent.get("search", "")
    context = {"tab": "validate", "entered": name, "search": text, "has_session": reader.has_session}
    if request.method == "POST":
        text = text.replace("\r\n", "\n")  # browsers send line breaks like this
        try:
            if not name:
                raise BadRequest("Say which name the search is for.")
            validated = await registry.get(VALIDATION).validate(
                asked(name, reader.visible), text.encode("utf-8", "replace"), reader.visible
            )
        except BadSearch as error:
            return HtmlPage("cacheapp/validate.html", {**context, "unreadable": error.detail})
        except EsassistantError as error:
            raise FormRefused(error, HtmlPage("cacheapp/validate.html", context)) from error
        shown = await asyncio.to_thread(lambda: marked_search(readable(text), validated.findings))
        context |= {"validated": validated, "marked": shown, "search": shown.text}
    return HtmlPage("cacheapp/validate.html", context)


@page_view(*READS)
async def description(request: HttpRequest, reader: Reader) -> HtmlPage:
    """`GET /describe?name=&q=&tokens=`: the fields of a name, or the families of the cluster, as a text for a
    prompt.
    """
    name, question = (request.GET.get(parameter, "").strip() for parameter in ("name", "q"))
    given = request.GET.get("tokens", "") or str(DEFAULT_BUDGET_TOKENS)
    context: dict[str, Any] = {
        "tab": "describe",
        "entered": name,
        "question": question,
        "tokens": given,
        "budgets": BUDGETS,
        "min_tokens": MIN_BUDGET_TOKENS,
        "max_tokens": MAX_BUDGET_TOKENS,
        "max_question": MAX_QUESTION_CHARACTERS,
    }
    try:
        context |= await _described(name, question, given, reader.visible)
    except EsassistantError as error:
        raise FormRefused(error, HtmlPage("cacheapp/describe.html", context)) from error
    return HtmlPage("cacheapp/describe.html", context)


async def _described(name: str, question: str, given: str, visible: Visible) -> dict[str, Any]:
    """Return what the page shows of the description of `name`; empty: of the cluster. `given`: the budget as text."""
    tokens = whole_number("tokens", given, MIN_BUDGET_TOKENS, MAX_BUDGET_TOKENS)
    descriptions = registry.get(DESCRIPTIONS)
    found: dict[str, Any] = {}
    if name:
        found["answer"], found["described"] = await descriptions.describe(
            asked(name, visible), tokens, question, visible
        )
    else:
        _, found["families"] = await descriptions.describe_cluster(tokens, question, visible)
    found["raw_path"] = _raw_path(name, question, tokens)  # only now, as no address can have every text as a name
    return found


def _raw_path(name: str, question: str, tokens: int) -> str:
    query = {"tokens": str(tokens), "q": question}
    return address("mapping-describe", query, name) if name else address("describe", query)


def _link(name: str, indices: tuple[str, ...]) -> str:
    """Return the name whose page shows one side of a comparison. For the hash of a mapping, that is an index that has
    it.
    """
    known = registry.get(MAPPING_CACHE).snapshot
    return name if known.knows(name) or "," in name or "*" in name or not indices else indices[0]
