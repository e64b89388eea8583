"""Schemas of what `POST /api/indices/{name}/search` takes and gives, as far as this service itself depends on it."""

from typing import Any

from cacheapp.search import DEFAULT_SIZE, KEYS, MAX_SIZE

SEARCH: dict[str, Any] = {
    "description": "A part of Elasticsearch's own search body: what each member may be is Elasticsearch's to say.",
    "type": "object",
    "properties": {name: {"description": "As Elasticsearch has it."} for name in sorted(KEYS)}
    | {
        "query": {"description": "Elasticsearch's query DSL.", "type": "object", "additionalProperties": True},
        "size": {"type": "integer", "minimum": 0, "maximum": MAX_SIZE, "default": DEFAULT_SIZE},
    },
    "additionalProperties": False,
}
SEARCH_EXAMPLES = {
    "everything": {"summary": "The first of all documents", "value": {}},
    "query": {
        "summary": "Documents that match, and how many of each status there are",
        "value": {
            "query": {"match_all": {}},
            "size": 2,
            "aggs": {"by_status": {"terms": {"field": "status"}}},
        },
    },
}
SEARCH_RESULT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "took": {"type": "integer"},
        "timed_out": {"type": "boolean"},
        "hits": {
            "type": "object",
            "properties": {"hits": {"type": "array", "items": {"type": "object", "additionalProperties": True}}},
            "required": ["hits"],
            "additionalProperties": True,
        },
    },
    "required": ["took", "timed_out", "hits"],
    "additionalProperties": True,
}
