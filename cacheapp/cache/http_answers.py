"""The mapping cache's answers to GETs: for the views, and as sources of the hot path."""

import math

import msgspec

from cacheapp.cache.derived import MappingViews
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.describe.description import Description
from cacheapp.describe.families import ClusterDescription
from cacheapp.reports import (
    CACHE_REPORT,
    HISTORY_REPORT,
    INSTANCES_REPORT,
    REFRESHER_REPORT,
    STORE_REPORT,
    WATCH_REPORT,
)
from cacheapp.state.answer import MappingAnswer
from cacheapp.state.snapshot import Snapshot
from esassistant.http.answer import Answer, etag_of
from esassistant.registry import registry

JSON = "application/json"
JSON_SCHEMA = "application/schema+json"
TEXT = "text/plain"

_encoder = msgspec.json.Encoder()


def answer_of(found: MappingAnswer, content_type: str = JSON) -> Answer:
    """Mappings, or what is derived from them, with their age, freshness and source in headers."""
    return Answer(
        found.body,
        content_type,
        etag=found.etag,
        made_at=found.confirmed_at,
        cache_control="no-cache",
        headers=(("X-Cache-State", found.freshness.value), ("X-Cache-Source", found.source.value)),
    )


def ready_mapping(cache: MappingCache, name: str) -> Answer | None:
    """`GET /api/mappings/{name}`, on a hit."""
    found = cache.ready(name)
    return None if found is None else _kept_answer(found, JSON)


def ready_schema(views: MappingViews, name: str) -> Answer | None:
    """`GET /api/mappings/{name}/schema`, when it has been made for the present mappings."""
    found = views.ready_schema(name)
    return None if found is None else _kept_answer(found, JSON_SCHEMA)


def _kept_answer(found: MappingAnswer, content_type: str) -> Answer:
    """`answer_of`, made once for as long as the mappings stay as they are."""
    key = content_type, found.freshness
    answer = found.derived.get(key)
    if answer is None:
        answer = found.derived[key] = answer_of(found, content_type)
    return answer


def description_answer(found: MappingAnswer, description: Description, *, as_json: bool) -> Answer:
    """What is said of a name: the text alone, or as JSON with what was counted; with the headers of its mappings."""
    body = _encoder.encode(description) if as_json else description.text.encode("utf-8", "replace")
    found = msgspec.structs.replace(found, body=body, etag=etag_of(body))
    return answer_of(found, JSON if as_json else f"{TEXT}; charset=utf-8")


def cluster_answer(snapshot: Snapshot, description: ClusterDescription, *, as_json: bool) -> Answer:
    """What is said of the cluster, as old as the last listing."""
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
    """`GET /api/cache/stats`, made of what the resources report now."""
    cache, refresher = registry.read(CACHE_REPORT), registry.read(REFRESHER_REPORT)
    if details:
        body = {
            "cache": cache,
            "refresh": refresher,
            "watch": registry.read(WATCH_REPORT),
            "history": registry.read(HISTORY_REPORT),
            "store": registry.read(STORE_REPORT),
            "instances": registry.read(INSTANCES_REPORT),
        }
    else:
        body = {
            "cache": {"warm": cache.warm, "indices": cache.indices, "answers": cache.answers},
            "refresh": {"passes_total": refresher.passes_total},
        }
    return Answer(_encoder.encode(body), JSON)
