"""The mapping cache's answers to GET requests: for the views, and as sources of the hot path."""

import math
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import structs

from cacheapp.cache.derivations import Content, Text
from cacheapp.cache.derived import JSON, MappingViews
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.change_reports import FEED_REPORT, HISTORY_REPORT
from cacheapp.describe.description import Description
from cacheapp.describe.families import ClusterDescription
from cacheapp.reports import (
    CACHE_REPORT,
    DEMAND_REPORT,
    FIELD_LIMITS_REPORT,
    FIELD_USES_REPORT,
    FIELD_VALUES_REPORT,
    INSTANCES_REPORT,
    REFRESHER_REPORT,
    STORE_REPORT,
    VIEWS_REPORT,
    WATCH_REPORT,
)
from cacheapp.state.answer import MappingAnswer
from cacheapp.state.expressions import Asked, asked
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import Visible
from cacheapp.values.known import KnownOfName
from cacheapp.values.shown import add_values
from esassistant.config.tokens import Right
from esassistant.http.answer import Answer, etag_of
from esassistant.http.callers import Caller
from esassistant.long_work import in_thread_if_large
from esassistant.registry import registry

TEXT = "text/plain"

_encoder = msgspec.json.Encoder()


def answer_of(found: MappingAnswer, content_type: str = JSON) -> Answer:
    """Return an answer with mappings, or what is derived from them, and with their age, freshness and source in
    headers.
    """
    return Answer(
        found.body,
        content_type,
        etag=found.etag,
        made_at=found.confirmed_at,
        cache_control="no-cache",
        headers=(("X-Cache-State", found.freshness.value), ("X-Cache-Source", found.source.value)),
    )


def content_answer(found: MappingAnswer, content: Content, content_type: str) -> Answer:
    """Return an answer with a text about mappings. It is kept until the mappings are confirmed again, or their
    freshness or source changes.
    """
    depends_on = found.confirmed_at, found.freshness, found.source
    if content.answer is not None and content.answer[0] == depends_on:
        return content.answer[1]
    answer = answer_of(structs.replace(found, body=content.body, etag=content.etag), content_type)
    content.answer = depends_on, answer
    return answer


async def with_values(found: MappingAnswer, known: KnownOfName | None) -> MappingAnswer:
    """Return a list of fields with what is known of their values added to it."""
    body = await in_thread_if_large(len(found.body), add_values, found.body, known)
    return structs.replace(found, body=body, etag=etag_of(body))


def ready_mapping(views: MappingViews, wanted: Asked) -> Answer | None:
    """Return the answer to `GET /api/mappings/{name}` if it is in memory; otherwise None."""
    if (found := views.ready_mapping(wanted)) is None:
        return None
    answer: Answer | None = found.derived.get(found.freshness)
    if answer is None:
        answer = found.derived[found.freshness] = answer_of(found)
    return answer


def ready_text(views: MappingViews, text: Text[Any], wanted: Asked) -> Answer | None:
    """Return the answer with a text about mappings if it is made already, for the present mappings; otherwise None."""
    found = views.ready(text, wanted)
    return None if found is None else content_answer(*found, text.content_type)


def visible_to_reader(ready: Callable[[Asked], Answer | None]) -> Callable[[str, Caller], Answer | None]:
    """Return a source of the hot path. It answers callers with the right to read with what `ready` returns for a name,
    list or pattern; the view answers all others, and whenever `ready` returns None.
    """

    def source(name: str, caller: Caller) -> Answer | None:
        return ready(asked(name, Visible(caller.patterns))) if caller.may(Right.READ) else None

    return source


async def text_answer(views: MappingViews, text: Text[Any], wanted: Asked) -> Answer:
    """Return the answer with a text about mappings, made now if it isn't ready. Raise what `MappingCache.get`
    raises.
    """
    return content_answer(*await views.text(text, wanted), text.content_type)


def first_page(cache: MappingCache) -> Answer:
    """Return the answer to `GET /api/indices` without a filter: the first page of names, which may be a moment old.
    Raise what `MappingCache.page` raises.
    """
    page = cache.first_page()
    return Answer(page.body, JSON, compressed_as=page.etag)


def description_answer(found: MappingAnswer, description: Description, *, as_json: bool) -> Answer:
    """Return a description of a name, as its text or as JSON with its counts, with the same headers as its mappings."""
    body = _encoder.encode(description) if as_json else description.text.encode("utf-8", "replace")
    found = msgspec.structs.replace(found, body=body, etag=etag_of(body))
    return answer_of(found, JSON if as_json else f"{TEXT}; charset=utf-8")


def cluster_answer(snapshot: Snapshot, description: ClusterDescription, *, as_json: bool) -> Answer:
    """Return a description of the cluster, with the age of the last listing."""
    body = _encoder.encode(description) if as_json else description.text.encode("utf-8", "replace")
    made_at = max(snapshot.confirmed_at, snapshot.listed_at)
    return Answer(
        body,
        JSON if as_json else f"{TEXT}; charset=utf-8",
        etag=etag_of(body),
        made_at=made_at if math.isfinite(made_at) else None,
        cache_control="no-cache",
    )


def cache_stats(*, details: bool) -> Answer:
    """Return the answer to `GET /api/cache/stats`, made of what the resources report now. `details`: all, not only
    totals.
    """
    cache, refresher = registry.read(CACHE_REPORT), registry.read(REFRESHER_REPORT)
    if details:
        body = {
            "cache": cache,
            "views": registry.read(VIEWS_REPORT),
            "refresh": refresher,
            "watch": registry.read(WATCH_REPORT),
            "field_values": registry.read(FIELD_VALUES_REPORT),
            "field_uses": registry.read(FIELD_USES_REPORT),
            "demand": registry.read(DEMAND_REPORT),
            "field_limits": registry.read(FIELD_LIMITS_REPORT),
            "history": registry.read(HISTORY_REPORT),
            "feed": registry.read(FEED_REPORT),
            "store": registry.read(STORE_REPORT),
            "instances": registry.read(INSTANCES_REPORT),
        }
    else:
        body = {
            "cache": {"warm": cache.warm, "indices": cache.indices, "answers": cache.answers},
            "refresh": {"passes_total": refresher.passes_total},
        }
    return Answer(_encoder.encode(body), JSON)
