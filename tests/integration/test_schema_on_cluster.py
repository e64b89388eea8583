"""Schema and fields against a real node: what it accepts is valid, what it refuses mostly isn't, and `_field_caps`
agrees.

A node without x-pack and mapper-extras knows 22 field types; the others are held by unit tests alone. Where the schema
is wider than Elasticsearch, `WIDER` lists each case: texts of numbers out of range; NaN, that only the smaller integers
take (as 0); texts whose inside isn't looked at (dates off the calendar, in other formats or as date math, geohashes,
networks, vectors); null and arrays within arrays for completion; zero vectors; ranges upside down; and vectors too few
or too many.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch
from jsonschema import Draft202012Validator

from cacheapp.schema import json_schema

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
    "open": {"type": "object", "dynamic": True},
    "alias": {"type": "alias", "path": "long"},
}

VALUES = """
null [] [null] [[]] [[null],null] true false {} [{}] {"a":1} {"a":"1"} {"a":null} {"a":[1,[2]]} {"a":{"b":1}} {"zz":1}
[{"a":1},{"a":2}] [[{"a":1}],null] [{"a":1},5] 0 1 -1 1.5 1.0 -0.5 1e3 1E+3 127 127.9 128 -128 -128.9 -129 32767 32768
-32769 40000 65504 65519.99 65520 2147483647 2147483648 -2147483649 3000000000 9223372036854775807 9223372036854775808
-9223372036854775809 3.4028235e38 3.5e38 1.7976931348623157e308 1e400 2024 20240101 1700000000000 1700000000000.5
"" "abc" "1" "-1" "+5" "1.5" ".5" "5." "1e2" "1f" "1d" "0x10" "0x1p3" "NaN" "Infinity" "1e400" "300" "99999" "1,5"
"true" "false" "True" "yes" "2024" "2024-01" "2024-01-01" "2024-1-1" "2024-02-30" "01/02/2024" "2024-01-01T10"
"2024-01-01T10:00:00Z" "2024-01-01T10:00:00.123456789+01:00" "2024-01-01T10:00:00,123Z" "2024-01-01T10:00:00Europe/Berlin"
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

WIDER: dict[str, set[str]] = {}


def accepted(cluster: Elasticsearch, index: str, documents: Sequence[str]) -> list[bool]:
    """Whether the node takes each document; raw JSON, so that `1.0` stays what it is."""
    lines = [line for document in documents for line in ('{"index":{}}', document)]
    answer = cluster.bulk(index=index, operations=lines)
    return [item["index"]["status"] < 300 for item in answer["items"]]


def compact_mappings(cluster: Elasticsearch, names: str) -> dict[str, bytes]:
    """The mappings as the cache keeps them."""
    found = cluster.indices.get_mapping(index=names).body
    return {
        name: json.dumps(index["mappings"], separators=(",", ":"), sort_keys=True).encode()
        for name, index in found.items()
    }


def validator(cluster: Elasticsearch, names: str) -> Draft202012Validator:
    schema = json_schema(names, compact_mappings(cluster, names))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_every_type_and_shape(cluster: Elasticsearch) -> None:
    """Each of the values in each type of field: what the node accepts is valid, and of what it refuses only the listed
    exceptions are.
    """
    cluster.indices.create(index="types", mappings={"dynamic": "strict", "properties": FIELDS})
    cases = [(field, value) for field in FIELDS for value in VALUES]
    documents = [f'{{"{field}":{value}}}' for field, value in cases]
    taken = accepted(cluster, "types", documents)
    valid = validator(cluster, "types").is_valid
    wider: dict[str, set[str]] = {}
    refused = []
    for (field, value), document, was_taken in zip(cases, documents, taken, strict=True):
        is_valid = valid(json.loads(document))
        if was_taken and not is_valid:
            refused.append(document)
        if is_valid and not was_taken:
            wider.setdefault(field, set()).add(value)
    print(refused); import pprint; pprint.pprint(wider, width=150, compact=True)
    assert refused == []
    print(len(cases), sum(taken))
