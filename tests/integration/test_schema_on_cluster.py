"""Schema and fields against a real node: what it accepts is valid, what it refuses mostly isn't, and `_field_caps`
agrees.

A node without x-pack and mapper-extras knows 22 field types; unit tests alone hold the others. Where the schema is
wider than Elasticsearch, `WIDER` lists each case: texts of numbers out of range, or in a notation that only other types
of numbers take ("NaN" is a 0 to an integer, "1d" a 1 to all but long); dates off the calendar or written as 1e3; date
math; ranges upside down; arrays that points and completions refuse; empty names. In `NOT_LOOKED_INTO` it is wider by
design: it doesn't look into vectors and bytes given as text, into unusual date formats and the lengths of numbers in
them, nor into fields that ignore what is malformed.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from jsonschema import Draft202012Validator

from cacheapp.mapping.fields import Field, fields
from cacheapp.mapping.schema import json_schema
from cacheapp.mapping.tree import OBJECT_TYPES

SAMPLES = Path(__file__).parents[2] / "dev" / "samples"

FIELDS: dict[str, dict[str, Any]] = {
    "text": {"type": "text"},
    "keyword": {"type": "keyword", "ignore_above": 8},
    "long": {"type": "long"},
    "integer": {"type": "integer"},
    "short": {"type": "short"},
    "byte": {"type": "byte"},
    "double": {"type": "double"},
    "float": {"type": "float"},
    "half_float": {"type": "half_float"},
    "strict_long": {"type": "long", "coerce": False},
    "strict_byte": {"type": "byte", "coerce": False},
    "strict_double": {"type": "double", "coerce": False},
    "lax_long": {"type": "long", "ignore_malformed": True},
    "lax_date": {"type": "date", "ignore_malformed": True},
    "boolean": {"type": "boolean"},
    "date": {"type": "date"},
    "date_nanos": {"type": "date_nanos"},
    "day": {"type": "date", "format": "yyyy-MM-dd"},
    "year": {"type": "date", "format": "yyyy"},
    "basic_date": {"type": "date", "format": "basic_date"},
    "epoch_second": {"type": "date", "format": "epoch_second"},
    "lenient_date": {"type": "date", "format": "date_optional_time||epoch_millis"},
    "other_date": {"type": "date", "format": "strict_date_time_no_millis||dd/MM/yyyy"},
    "ip": {"type": "ip"},
    "binary": {"type": "binary"},
    "stored_binary": {"type": "binary", "store": True},
    "integer_range": {"type": "integer_range"},
    "long_range": {"type": "long_range"},
    "float_range": {"type": "float_range"},
    "double_range": {"type": "double_range"},
    "strict_range": {"type": "integer_range", "coerce": False},
    "date_range": {"type": "date_range"},
    "ip_range": {"type": "ip_range"},
    "geo_point": {"type": "geo_point"},
    "completion": {"type": "completion"},
    "dense_vector": {"type": "dense_vector", "dims": 2, "index": False},
    "dense_bytes": {"type": "dense_vector", "dims": 2, "element_type": "byte", "index": False},
    "dense_bits": {"type": "dense_vector", "dims": 16, "element_type": "bit", "index": False},
    "sparse_vector": {"type": "sparse_vector"},
    "flattened": {"type": "flattened"},
    "object": {"properties": {"a": {"type": "long"}}},
    "nested": {"type": "nested", "properties": {"a": {"type": "long"}}},
    "disabled": {"type": "object", "enabled": False},
    "open": {"type": "object", "dynamic": False},
    "alias": {"type": "alias", "path": "long"},
}

VALUES = """
null [] [null] [[]] [[null],null] true false {} [{}] {"a":1} {"a":"1"} {"a":null} {"a":[1,[2]]} {"a":{"b":1}} {"zz":1}
[{"a":1},{"a":2}] [[{"a":1}],null] [{"a":1},5] 0 1 -1 1.5 1.0 -0.5 1e3 1E+3 127 127.9 128 -128 -128.9 -129 32767 32768
-32769 40000 65504 65519.99 65520 2147483647 2147483648 -2147483649 3000000000 9223372036854775807 9223372036854775808
-9223372036854775809 3.4028235e38 3.5e38 1.7976931348623157e308 1e400 2024 20240101 1700000000000 1700000000000.5
"" "abc" "1" "-1" "+5" "1.5" ".5" "5." "1e2" "1f" "1d" "0x10" "0x1p3" "NaN" "Infinity" "1e400" "300" "99999" "1,5"
"true" "false" "True" "yes" "2024" "2024-01" "2024-01-01" "2024-1-1" "2024-02-30" "01/02/2024" "2024-01-01T10"
"2024-01-01T10:00:00Z" "2024-01-01T10:00:00.123456789+01:00" "2024-01-01T10:00:00,123Z"
            "2024-01-01T10:00:00Europe/Berlin"
"20240101" "1700000000000" "now" "2024-01-01||/d" "-2024-01-01" "192.168.0.1" "::1" "fe80::1%eth0" "::ffff:1.2.3.4"
"1.2.3" "10.0.0.0/8" "::/0" "U29t" "YQ==" "!" "0102" "1,2" "u33d" [1,2] [1,2,3] [1] [1.5,2] [0,0] [300,1] ["1","2"]
[[1],[[2]]] [[1,2],[3,4]] ["a","b"] [["a"]] [true,"false",null] [1,"2",null] ["2024-01-01",0] ["192.168.0.1","::1"]
{"lat":1,"lon":2} {"lat":"1","lon":"2"} {"lat":1} {"lat":91,"lon":0} {"lat":1,"lon":2,"z":3} {"lat":1,"lon":2,"x":3}
{"type":"Point","coordinates":[2,1]} {"type":"Polygon","coordinates":[2,1]} [{"lat":1,"lon":2},"1,2",[2,1]] [181,0]
{"gte":1,"lt":"5"} {"gt":1.5} {"gte":null,"lte":null} {"gte":5,"lte":1} {"gte":"x"} {"gte":[1]} {"gte":true} {"from":1}
[{"gte":1},{"lt":2}] [[{"gte":1}]] {"gte":3000000000} {"gte":"2024-01-01"} {"lt":"2024-01-01||/d"} {"gte":"10.0.0.1"}
{"gte":3.5e38} {"input":"a"} {"input":["a","b"],"weight":3} {"input":"a","weight":"3"} {"weight":3} {"input":1}
{"input":"a","weight":-1} {"input":"a","weight":1.5} {"input":"a","x":1} [{"input":"a"},"b"] {"a":0.5,"b":"2"} {"a":-1}
{"a":true} {"a.b":1} {"":1}
""".split()  # noqa: SIM905

WIDER: dict[str, set[str]] = {
    "long": {'"1f"', '"1d"', '"0x1p3"', '"NaN"', '"1e400"'},
    "integer": {'"1e400"', '"1700000000000"'},
    "short": {'"1e400"', '"1700000000000"', '"20240101"', '"99999"'},
    "byte": {'"1e400"', '"1700000000000"', '"20240101"', '"99999"', '"300"', '"2024"'},
    "double": {'"1e400"', '"NaN"'},
    "float": {'"1e400"', '"NaN"'},
    "half_float": {'"1e400"', '"NaN"', '"1700000000000"', '"20240101"', '"99999"'},
    "date": {'"2024-02-30"', "1e3", "1E+3"},
    "lenient_date": {'"2024-02-30"', "1e3", "1E+3", '"+5"'},
    "day": {'"2024-02-30"', '"2024-1-1"', '"-2024-01-01"'},
    "epoch_second": {"1e3", "1E+3", "9223372036854775807"},
    "date_range": {'{"gte":5,"lte":1}', '{"gte":"x"}', '{"gte":"10.0.0.1"}'},
    "integer_range": {'{"gte":5,"lte":1}'},
    "long_range": {'{"gte":5,"lte":1}'},
    "float_range": {'{"gte":5,"lte":1}'},
    "double_range": {'{"gte":5,"lte":1}'},
    "strict_range": {'{"gte":5,"lte":1}'},
    "geo_point": {
        *("[1]", "[181,0]", "[300,1]", "[[1],[[2]]]", '[1,"2",null]', "[[]]", "[[null],null]"),
        *('"True"', '"U29t"', '"2024-01-01T10:00:00,123Z"'),
    },
    "completion": {"[null]", "[[]]", "[[null],null]", '[["a"]]'},
    "sparse_vector": {'{"gte":3.5e38}'},
    "open": {'{"":1}'},
}
NOT_LOOKED_INTO = {
    *("dense_vector", "dense_bytes", "dense_bits", "stored_binary", "lax_long", "lax_date"),
    *("date_nanos", "year", "basic_date", "other_date"),
}


def accepted(cluster: Elasticsearch, index: str, documents: Sequence[str]) -> list[bool]:
    """Whether the node takes each document; raw JSON, so that `1.0` stays what it is."""
    lines: list[Any] = [line for document in documents for line in ('{"index":{}}', document)]
    answer = cluster.bulk(index=index, operations=lines)
    return [item["index"]["status"] < 300 for item in answer["items"]]


def compact_mappings(cluster: Elasticsearch, names: str) -> dict[str, bytes]:
    """The mappings as the cache keeps them."""
    found = cluster.indices.get_mapping(index=names).body
    return {name: json.dumps(index["mappings"], separators=(",", ":")).encode() for name, index in found.items()}


def validator(cluster: Elasticsearch, names: str) -> Draft202012Validator:
    schema = json_schema(names, compact_mappings(cluster, names))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_every_type_and_shape(cluster: Elasticsearch) -> None:
    """Each of the values in each kind of field: what the node accepts is valid, and of what it refuses only the listed
    exceptions are.
    """
    cluster.indices.create(index="types", mappings={"dynamic": "strict", "properties": FIELDS})
    valid = validator(cluster, "types").is_valid
    cases = [(field, value, f'{{"{field}":{value}}}') for field in FIELDS for value in VALUES]
    taken = accepted(cluster, "types", [document for *_, document in cases])
    refused = []
    wider: dict[str, set[str]] = {}
    for (field, value, document), was_taken in zip(cases, taken, strict=True):
        is_valid = valid(json.loads(document))
        if was_taken and not is_valid:
            refused.append(document)
        if is_valid and not was_taken and field not in NOT_LOOKED_INTO:
            wider.setdefault(field, set()).add(value)
    assert sum(taken) > 1_500
    assert refused == []
    assert wider == WIDER


OBJECT = {"properties": {"b": {"type": "long"}}}
TREE = {
    "dynamic": "strict",
    "runtime": {"r": {"type": "keyword"}, "a.r": {"type": "long"}, "x.y": {"type": "long"}},
    "properties": {
        "a": OBJECT,
        "n": {"type": "nested", **OBJECT},
        "open": {"dynamic": "false", **OBJECT},
        "off": {"type": "object", "enabled": False},
        "flat": {"type": "object", "subobjects": False, "properties": {"m": {"type": "long"}, "m.n": {"type": "ip"}}},
        "pair": {"type": "long_range"},
        "tree": {"type": "flattened"},
        "text": {"type": "text", "fields": {"raw": {"type": "keyword"}}, "copy_to": "all"},
        "all": {"type": "text"},
        "also": {"type": "alias", "path": "text"},
        "sp/ace ~%é": OBJECT,
    },
}
DOCUMENTS = """
{} {"a":{"b":1}} {"a.b":1} {"a":[{"b":1},null,[{"b":[2]}]]} {"a":{"b":1},"a.b":2} {"a":null} {"a":1} {"a":[1]} {"z":1}
{"a":{"z":1}} {"z":null} {"z":{}} {"z.b":1} {"a":{"b":{"c":1}}} {"a":{"z.b":1}} {"a.z":1} {"a.b":"x"}
{"n":{"b":1}} {"n":[{"b":1}]} {"n.b":1} {"n":1} {"n":{"z":1}} {"n":{"b":"x"}}
{"open":{"z":{"y":1}}} {"open.z":1} {"open":{"b":"x"}} {"off":1} {"off":[{"z":{}},"x"]} {"off.z.y":1}
{"flat":{"m":1,"m.n":"::1"}} {"flat":{"m":{"n":"::1"}}} {"flat":{"m.n":{"z":1}}} {"flat.m.n":"::1"} {"flat":{"z":1}}
{"flat":{"m.z":1}} {"pair.gte":1} {"tree.a.b":1} {"text":"x","all":"y"} {"text.raw":"x"} {"text":{"raw":"x"}}
{"also":"x"} {"also":null} {"also":[]} {"r":"x"} {"r":[1,true,null]} {"a":{"r":1}} {"a.r":1} {"x.y":1} {"x":{"y":1}}
{"_doc_count":3} {"_doc_count":[3]} {"_doc_count":0} {"_doc_count":"3"} {"_id":"x"} {"a":{"_doc_count":1}}
{"sp/ace_~%é":{"b":1}} {"sp/ace_~%é":[[{"b":1}]]} {"sp/ace_~%é.b":1} {"sp/ace_~%é":{"z":1}} {"sp/ace_~%é":{"b":"x"}}
"""
DOTS_NOT_LOOKED_INTO = {'{"a.z":1}', '{"a.b":"x"}', '{"x.y":1}'}


def test_objects_under_strict(cluster: Elasticsearch) -> None:
    """Objects, nested, flat and disabled ones, aliases, multi-fields and runtime fields: valid is what the node takes.
    Exceptions: dotted names aren't looked into.
    """
    cluster.indices.create(index="tree", mappings=TREE)
    valid = validator(cluster, "tree").is_valid
    documents = [document.replace("_~", " ~") for document in DOCUMENTS.split()]
    taken = accepted(cluster, "tree", documents)
    wrong = {one for one, was_taken in zip(documents, taken, strict=True) if valid(json.loads(one)) != was_taken}
    assert wrong == DOTS_NOT_LOOKED_INTO


@pytest.mark.parametrize("dynamic", ["true", "false", "runtime"])
def test_open_mappings_take_new_fields(cluster: Elasticsearch, dynamic: str) -> None:
    """Unless `dynamic` is strict, fields that aren't mapped are valid, as the node takes them."""
    cluster.indices.create(index="open", mappings={"dynamic": dynamic, **OBJECT})
    documents = ['{"z":{"y":[1]}}', '{"z.x":true}', '{"w":null,"b":"3"}', '{"b":"x"}']
    valid = validator(cluster, "open").is_valid
    assert accepted(cluster, "open", documents) == [valid(json.loads(one)) for one in documents]


def test_flat_mappings_take_objects(cluster: Elasticsearch) -> None:
    """Without subobjects an object in a document is dotted names, even below a field that is a number."""
    mappings = {"subobjects": False, "properties": {"m": {"type": "long"}, "m.n": {"type": "long"}}}
    cluster.indices.create(index="flat", mappings=mappings)
    documents = ['{"m":{"n":1}}', '{"m":[{"n":1}]}', '{"m.n":2,"m":1}', '{"m":{"z":1}}', '{"m.n":"x"}']
    valid = validator(cluster, "flat").is_valid
    assert accepted(cluster, "flat", documents) == [valid(json.loads(one)) for one in documents]


def test_several_indices(cluster: Elasticsearch) -> None:
    """What one of the indices behind an alias takes is valid for the alias; what none takes isn't."""
    one = {"dynamic": "strict", "properties": {"x": {"type": "long"}, "o": OBJECT, "same": {"type": "ip"}}}
    two = {"dynamic": "strict", "properties": {"x": {"type": "date"}, "o": {"type": "keyword"}, "same": {"type": "ip"}}}
    cluster.indices.create(index="one", mappings=one, aliases={"both": {}})
    cluster.indices.create(index="two", mappings=two, aliases={"both": {}})
    documents = ['{"x":7}', '{"x":"2024-01-01"}', '{"o":{"b":[1]}}', '{"o":"k"}', '{"x":true}', '{"same":1}', '{"z":1}']
    valid = validator(cluster, "both").is_valid
    taken = [any(each) for each in zip(*(accepted(cluster, name, documents) for name in ("one", "two")), strict=True)]
    assert taken == [valid(json.loads(one)) for one in documents] == [True] * 4 + [False] * 3


def test_samples_are_valid(cluster: Elasticsearch) -> None:
    """Every sample document is valid for the schema of its index, and one with a wrong price isn't."""
    checked = 0
    for settings in map(json.loads, (path.read_bytes() for path in sorted(SAMPLES.glob("*.json")))):
        for name in {**settings.get("indices", {}), **settings.get("data_streams", {})}:
            cluster.indices.create(index=name, mappings=settings["mappings"])
            valid = validator(cluster, name).is_valid
            for line in (SAMPLES / f"{name}.ndjson").read_text().splitlines():
                assert valid(json.loads(line)), line
                checked += 1
    assert checked > 100
    assert not validator(cluster, "products").is_valid({"price": "dear"})


CAPABLE = {
    **TREE,
    "runtime": {**TREE["runtime"], "shadowed": {"type": "long"}},  # type: ignore[dict-item]
    "properties": {
        **TREE["properties"],  # type: ignore[dict-item]
        **FIELDS,
        "shadowed": {"type": "keyword"},
        "with_meta": {"type": "keyword", "meta": {"unit": "ms"}},
        "alias_of_it": {"type": "alias", "path": "with_meta"},
        "alias_of_raw": {"type": "alias", "path": "text.raw"},
        "fielddata": {"type": "text", "fielddata": True},
        "no_index_text": {"type": "text", "index": False},
        "binary_values": {"type": "binary", "doc_values": True},
        "passed": {"type": "passthrough", "priority": 1, "properties": {"inner": {"type": "long"}}},
        "text": TREE["properties"]["text"],  # type: ignore[index]
        **{
            f"{kind}_{index}_{doc_values}": {"type": kind, "index": index, "doc_values": doc_values}
            for kind in ("keyword", "long", "half_float", "boolean", "date", "ip", "geo_point", "ip_range", "flattened")
            for index in (True, False)
            for doc_values in (True, False)
        },
    },
}


def capabilities(cluster: Elasticsearch, names: str) -> dict[str, dict[str, Any]]:
    """What `_field_caps` says of each field by type, metadata fields apart."""
    found = cluster.field_caps(index=names, fields="*", filters="-metadata").body["fields"]
    return dict(found)


def without_empty_objects(found: Iterable[Field]) -> list[Field]:
    """`_field_caps` doesn't know objects that hold no field."""
    listed = list(found)
    prefixes = {one.name.rpartition(".")[0] for one in listed if "." in one.name}
    return [one for one in listed if one.types[0] not in OBJECT_TYPES or one.name in prefixes]


def test_fields_are_those_of_field_caps(cluster: Elasticsearch) -> None:
    """Names, types, searchable, aggregatable and meta agree with `_field_caps`."""
    cluster.indices.create(index="capable", mappings=CAPABLE, settings={"mapping": {"total_fields": {"limit": 2000}}})
    listed = without_empty_objects(fields(compact_mappings(cluster, "capable")))
    told = capabilities(cluster, "capable")
    assert [one.name for one in listed] == sorted(told)
    for one in listed:
        ((kind, capability),) = told[one.name].items()
        assert one.types == (("passthrough",) if one.name == "passed" else (kind,)), one
        assert (one.searchable, one.aggregatable) == (capability["searchable"], capability["aggregatable"]), one
        assert {key: [value] for key, value in one.meta.items()} == capability.get("meta", {}), one
        assert one.indices_total == 1


def test_conflicts_of_meta_are_those_of_field_caps(cluster: Elasticsearch) -> None:
    """Over several indices, the values of meta that differ are those that `_field_caps` lists several of; a path that
    is nested in some and an object in others has both types there, too.
    """
    for name, unit, owner, kind in (
        ("a", "ms", "web", "nested"),
        ("b", "ns", "web", "object"),
        ("c", "ms", None, "object"),
    ):
        meta = {"unit": unit} | ({} if owner is None else {"owner": owner})
        parts = {"x": {"type": "long", "meta": meta}, "o": {"type": kind, "properties": {"k": {"type": "keyword"}}}}
        cluster.indices.create(index=name, mappings={"properties": parts})
    found = {one.name: one for one in fields(compact_mappings(cluster, "*"))}
    told = capabilities(cluster, "*")
    told_meta = told["x"]["long"]["meta"]
    assert {key: list(values) for key, values in found["x"].meta_conflict.items()} == {
        key: values for key, values in told_meta.items() if len(values) > 1
    }
    assert {one.type: list(one.indices) for one in found["o"].conflict} == {
        kind: capability["indices"] for kind, capability in told["o"].items()
    }
    assert found["o.k"].nested_path_conflict == (None, "o")


def test_conflicts_are_those_of_field_caps(cluster: Elasticsearch) -> None:
    """Over several indices, the types of a field and the indices of each type agree with `_field_caps`."""
    for name, kind, index in (("a", "long", True), ("b", "keyword", False), ("c", "long", True), ("d", "ip", True)):
        parts = {"x": {"type": kind}, "same": {"type": "keyword", "index": index, "doc_values": index}}
        cluster.indices.create(index=name, mappings={"properties": parts})
    same, conflicting = fields(compact_mappings(cluster, "*"))
    told = capabilities(cluster, "*")
    assert {one.type: list(one.indices) for one in conflicting.conflict} == {
        kind: capability["indices"] for kind, capability in told["x"].items()
    }
    assert conflicting.types == ("ip", "keyword", "long")
    assert conflicting.indices_total == 4
    assert told["same"]["keyword"]["non_searchable_indices"] == ["b"]
    assert (same.searchable, same.aggregatable, same.conflict) == (None, None, ())
