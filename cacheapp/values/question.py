"""Write the search that asks what the fields of a family hold, and read its answer. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec

from cacheapp.mapping.fields import Field
from cacheapp.queries.places import DATES, WHOLE_NUMBERS
from cacheapp.state.names import encode_name
from cacheapp.values.family_values import (
    LISTED_TYPES,
    MAX_VALUES,
    FieldValues,
    ValueCount,
    can_be_asked,
    iso_date,
)
from cacheapp.values.masks import is_private_name, is_private_value

MAX_FIELDS = 100
"""How many fields one search asks for: each needs two aggregations."""
MAX_NAMES_BYTES = 3_000
"""The most bytes of index names in an address. Elasticsearch takes addresses up to 4 096 bytes."""
SAMPLE_DOCUMENTS = 50_000
"""How many documents are looked at, over all indices: the same number of each."""
MIN_INDEX_DOCUMENTS = 500
SEARCH_MILLISECONDS = 2_000
MAX_ANSWER_BYTES = 4_000_000
QUERY = urlencode(
    {
        "ignore_unavailable": "true",  # skips closed indices, and those that no longer exist
        "allow_no_indices": "true",
        "request_cache": "false",
        "max_concurrent_shard_requests": 1,
        "typed_keys": "false",
    }
)


def fields_to_ask(fields: Sequence[Field], patterns: Iterable[str], wanted: Sequence[str]) -> tuple[list[Field], int]:
    """Choose the fields that a search asks for.

    Args:
        fields: All fields of the family.
        patterns: Further names that are never gathered.
        wanted: Names of fields by their rank, the most important first. The other fields follow by name.

    Returns:
        At most `MAX_FIELDS` fields, and how many further fields could be asked for.
    """
    among = {field.name: field for field in fields}
    patterns = tuple(patterns)
    able = [field for field in fields if can_be_asked(field, among) and not is_private_name(field.name, patterns)]
    ranks = {name: rank for rank, name in reversed(list(enumerate(wanted)))}
    able.sort(key=lambda field: (ranks.get(field.name, len(ranks)), field.name.count("."), field.name))
    return able[:MAX_FIELDS], max(0, len(able) - MAX_FIELDS)


def indices_to_ask(indices: Iterable[str]) -> tuple[str, ...]:
    """Choose as many of a family's indices as an address has room for: the last ones by name, which mostly are the
    newest.
    """
    room = MAX_NAMES_BYTES
    asked: list[str] = []
    for index in sorted(indices, reverse=True):
        room -= len(encode_name(index)) + 1
        if room < 0:
            break
        asked.append(index)
    return tuple(reversed(asked))


def search_target(indices: Sequence[str]) -> str:
    """Return the address of the search: path and query."""
    return f"/{','.join(map(encode_name, indices))}/_search?{QUERY}"


def search_body(fields: Sequence[Field], indices_total: int) -> bytes:
    """Return the body of the search: only aggregations, over a bounded number of documents and for a bounded time."""
    aggregations: dict[str, Any] = {"documents": {"filter": {"match_all": {}}}}
    for number, field in enumerate(fields):
        aggregations[f"m{number}"] = {"missing": {"field": field.name}}
        if field.types[0] in LISTED_TYPES:
            aggregations[f"v{number}"] = {"terms": {"field": field.name, "size": MAX_VALUES, "shard_size": 100}}
        else:
            aggregations[f"l{number}"] = {"min": {"field": field.name}}
            aggregations[f"h{number}"] = {"max": {"field": field.name}}
    search = {
        "size": 0,
        "track_total_hits": False,
        "timeout": f"{SEARCH_MILLISECONDS}ms",
        "terminate_after": max(MIN_INDEX_DOCUMENTS, SAMPLE_DOCUMENTS // max(1, indices_total)),
        "query": {"match_all": {}},
        "aggs": aggregations,
    }
    return msgspec.json.encode(search)


class _Bucket(msgspec.Struct):
    key: str | int | float | bool
    doc_count: int


class _Aggregation(msgspec.Struct):
    doc_count: int = 0
    value: float | None = None
    buckets: list[_Bucket] = []
    sum_other_doc_count: int = 0
    doc_count_error_upper_bound: int = 0


class _Shards(msgspec.Struct):
    total: int = 0
    successful: int = 0


class _Answer(msgspec.Struct):
    timed_out: bool = False
    terminated_early: bool = False
    shards: _Shards = msgspec.field(default_factory=_Shards, name="_shards")
    aggregations: dict[str, _Aggregation] = {}


_decoder = msgspec.json.Decoder(_Answer)


@dataclass(frozen=True, slots=True)
class Found:
    """What an answer says. `is_whole`: all documents of the asked indices were looked at; `is_slow`: the time was too
    short.
    """

    sample_documents: int
    is_whole: bool
    is_slow: bool
    fields: dict[str, FieldValues]


def read_answer(body: bytes, fields: Sequence[Field]) -> Found:
    """Read the answer to the search of these fields, without private values. Raise `ValueError` if it isn't such an
    answer.
    """
    answer = _decoder.decode(body)
    aggregations = answer.aggregations
    if "documents" not in aggregations and answer.shards.total:
        raise ValueError("the answer has no aggregations")
    sample = aggregations["documents"].doc_count if aggregations else 0
    found: dict[str, FieldValues] = {}
    for number, field in enumerate(fields):
        if sample and (values := _values_of(field, number, aggregations)) is not None:
            found[field.name] = values
    is_complete = answer.shards.successful == answer.shards.total
    is_whole = is_complete and not answer.terminated_early and not answer.timed_out
    return Found(sample, is_whole, answer.timed_out, found)


def _values_of(field: Field, number: int, aggregations: dict[str, _Aggregation]) -> FieldValues | None:
    """Return what the answer says of one field; None if it says nothing, or something private."""
    kind = field.types[0]
    missing = aggregations.get(f"m{number}", _Aggregation()).doc_count
    if kind not in LISTED_TYPES:
        low, high = (aggregations.get(f"{side}{number}", _Aggregation()).value for side in "lh")
        return FieldValues(kind, missing, min=_bound(kind, low), max=_bound(kind, high))
    listed = aggregations.get(f"v{number}")
    if listed is None:
        return None
    if kind == "boolean":
        values = [ValueCount(bucket.key in (1, "true", True), bucket.doc_count) for bucket in listed.buckets]
        return FieldValues(kind, missing, tuple(values))
    texts = [str(bucket.key) for bucket in listed.buckets]
    more = listed.sum_other_doc_count > 0 or listed.doc_count_error_upper_bound > 0
    if any(map(is_private_value, texts)):
        return None
    if more and all(bucket.doc_count == 1 for bucket in listed.buckets):
        return None  # each document has its own: an id, whose values only identify documents
    values = [ValueCount(text, bucket.doc_count) for text, bucket in zip(texts, listed.buckets, strict=True)]
    return FieldValues(kind, missing, tuple(values), more)


def _bound(kind: str, value: float | None) -> int | float | str | None:
    if value is None:
        return None
    if kind in DATES:
        return iso_date(value)
    return int(value) if kind in WHOLE_NUMBERS else value
