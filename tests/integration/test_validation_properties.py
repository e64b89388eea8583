"""Properties of validation, on a real node: no error is said of what finds documents, and errors mean what they say.

Hypothesis makes mappings, and for each a document that has a value in every field; the bodies ask for those values.
"""

import json
from typing import Any

from elasticsearch import ApiError, Elasticsearch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheapp.queries.findings import Code, Severity
from cacheapp.queries.validation import validate
from dev.elasticsearch.node import Node
from tests.support.searches import prepared

EXAMPLES = 8
VALUES: dict[str, Any] = {
    "keyword": "open",
    "text": "lamp",
    "long": 5,
    "short": 7,
    "double": 2.5,
    "boolean": True,
    "date": "2026-11-01",
    "ip": "192.0.2.7",
    "integer_range": {"gte": 1, "lte": 9},
    "geo_point": "47,15",
    "flattened": {"team": "red"},
}
ASKED: dict[str, Any] = {**VALUES, "integer_range": 5, "flattened": "red"}
WORDS = ["status", "title", "createdAt", "total_amount", "customer", "source", "Größe", "line item", "count", "tags"]
NUMERIC = ("long", "short", "double")
TERMS = ("keyword", "long", "short", "boolean", "date", "ip")
Leaf = tuple[str, str, str | None]
"""A field's path, its type, and the nested object around it."""

names = st.sampled_from(WORDS)
leaf_types = st.sampled_from(sorted(VALUES))


@st.composite
def mappings(draw: st.DrawFn) -> dict[str, Any]:
    """A mapping of a few fields, objects and nested objects, which can grow or not."""

    def fields(least: int, most: int) -> dict[str, Any]:
        return {name: {"type": draw(leaf_types)} for name in draw(st.sets(names, min_size=least, max_size=most))}

    properties = fields(2, 5)
    properties["obj"] = {"properties": fields(0, 3)}
    properties["parts"] = {"type": "nested", "properties": fields(1, 3)}
    properties["label"] = {"type": "text", "fields": {"keyword": {"type": "keyword"}}}
    return {"dynamic": draw(st.sampled_from(["strict", "false", "true"])), "properties": properties}


def leaves(properties: dict[str, Any], prefix: str = "", nested: str | None = None) -> list[Leaf]:
    found: list[Leaf] = []
    for name, field in properties.items():
        if "properties" in field:
            below = f"{prefix}{name}" if field.get("type") == "nested" else nested
            found += leaves(field["properties"], f"{prefix}{name}.", below)
        else:
            found.append((f"{prefix}{name}", field["type"], nested))
    return found


def document(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        name: document(field["properties"]) if "properties" in field else VALUES[field["type"]]
        for name, field in properties.items()
    }


def asking(path: str, kind: str) -> list[dict[str, Any]]:
    """The queries that find the document by one field."""
    value = ASKED[kind]
    if kind == "geo_point":
        return [{"geo_distance": {"distance": "9km", path: value}}, {"exists": {"field": path}}]
    found: list[dict[str, Any]] = [
        {"term": {path: value}},
        {"term": {path: {"value": value, "boost": 2}}},
        {"terms": {path: [value]}},
        {"match": {path: {"query": value}}},
        {"exists": {"field": path}},
        {"multi_match": {"query": value, "fields": [path]}},
    ]
    if kind in NUMERIC or kind == "date":
        found.append({"range": {path: {"gte": value, "lte": value}}})
    if kind in ("keyword", "text", "flattened"):
        found += [{"prefix": {path: value[:2]}}, {"wildcard": {path: f"*{value[1:]}"}}, {"fuzzy": {path: value}}]
    if kind == "text":
        found += [{"match_phrase_prefix": {path: value[:3]}}, {"intervals": {path: {"match": {"query": value}}}}]
    return found


@st.composite
def right_bodies(draw: st.DrawFn, mapping: dict[str, Any]) -> dict[str, Any]:
    """A body that finds the document and aggregates it."""
    fields = leaves(mapping["properties"])
    body: dict[str, Any] = {}
    chosen = draw(st.lists(st.sampled_from(fields), min_size=1, max_size=3))
    queries = []
    for path, kind, nested in chosen:
        query = draw(st.sampled_from(asking(path, kind)))
        queries.append({"nested": {"path": nested, "query": query}} if nested else query)
    body["query"] = draw(st.sampled_from([{"bool": {"filter": queries}}, {"bool": {"must": queries}}, queries[0]]))
    plain = [(path, kind) for path, kind, nested in fields if nested is None]
    if sortable := [path for path, kind in plain if kind in TERMS]:
        body["sort"] = [{draw(st.sampled_from(sortable)): "desc"}]
        body["aggs"] = {"t": {"terms": {"field": draw(st.sampled_from(sortable))}}}
    if numbers := [path for path, kind in plain if kind in NUMERIC]:
        body.setdefault("aggs", {})["s"] = {"sum": {"field": draw(st.sampled_from(numbers))}}
    body["_source"] = [draw(st.sampled_from(fields))[0]]
    body["fields"] = [draw(st.sampled_from(plain))[0]] if plain else []
    return body


def make(cluster: Elasticsearch, mapping: dict[str, Any]) -> None:
    cluster.indices.delete(index="made", ignore_unavailable=True)
    settings_of = {"number_of_replicas": 0, "number_of_shards": 1}
    cluster.indices.create(index="made", mappings=mapping, settings=settings_of, wait_for_active_shards=1)
    cluster.index(index="made", document=document(mapping["properties"]), refresh=True)


def total(cluster: Elasticsearch, body: dict[str, Any]) -> int | None:
    """How many documents a search finds; None where the node refuses it."""
    try:
        found = cluster.perform_request(
            "POST",
            "/made/_search",
            headers={"accept": "application/json", "content-type": "application/json"},
            body=body,
        )
    except ApiError:
        return None
    return int(found.body["hits"]["total"]["value"])


bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@bounded
@given(data=st.data())
def test_no_error_is_said_of_what_is_found(node: Node, cluster: Elasticsearch, data: st.DataObject) -> None:
    """The document is found by each body, and a validation has nothing against any of them."""
    mapping = data.draw(mappings())
    make(cluster, mapping)
    fields = prepared(mapping)
    for _ in range(4):
        body = data.draw(right_bodies(mapping))
        assert total(cluster, body) == 1, json.dumps(body)
        assert validate(fields, body).findings == (), json.dumps(body)


def misspelt(path: str, place: int) -> str:
    """A name with two letters exchanged."""
    place = 1 + place % max(1, len(path) - 2)
    return f"{path[:place]}{path[place + 1 : place + 2]}{path[place]}{path[place + 2 :]}"


def renamed(clause: dict[str, Any], name: str, other: str) -> dict[str, Any]:
    """A clause with another name in place of a field's."""
    text = json.dumps(clause).replace(json.dumps(name), json.dumps(other))
    found: dict[str, Any] = json.loads(text)
    return found


@bounded
@given(data=st.data())
def test_errors_mean_what_they_say(node: Node, cluster: Elasticsearch, data: st.DataObject) -> None:
    """Of each clause with an error the node says 400 or finds nothing; with the first suggestion in the place of a
    misspelt name it finds the document.
    """
    mapping = {**data.draw(mappings()), "dynamic": "strict"}
    make(cluster, mapping)
    fields = prepared(mapping)
    known = {path for path, _, _ in leaves(mapping["properties"])}
    for _ in range(4):
        path, kind, nested = data.draw(st.sampled_from(leaves(mapping["properties"])))
        if kind == "flattened":
            continue
        query = data.draw(st.sampled_from(asking(path, kind)))
        is_named = data.draw(st.booleans())
        wrong = misspelt(path, data.draw(st.integers(0, 20))) if is_named else path
        if is_named and (wrong in known or wrong == path or nested):
            continue
        clause = renamed(query, path, wrong)
        errors = [one for one in validate(fields, {"query": clause}).findings if one.severity is Severity.ERROR]
        if errors:
            assert not total(cluster, {"query": clause}), json.dumps(clause)
        for error in errors:
            if error.code is Code.UNKNOWN_FIELD and error.did_you_mean:
                again = renamed(clause, wrong, error.did_you_mean[0])
                assert total(cluster, {"query": again}) == 1, (json.dumps(clause), error)
