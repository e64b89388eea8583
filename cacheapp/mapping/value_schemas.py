"""Describe the values that a field of each type takes, as JSON Schema: a table of types.

Each function returns the schema of one value of a field, including null where the type takes it. `schema.py` adds
arrays of values, which nearly all types take. The keywords constrain values of one JSON type and let all others pass
(`pattern` rather than `enum`), so that the same schema can hold for a value and for an array of values.

Where Elasticsearch's parser is intricate, the schema accepts more than the parser does, never less. Texts of numbers
aren't compared with the type's range, dates are held to the shape of their format but not to the calendar, and
geometries, versions and the contexts of completions are not checked.

Source: Elasticsearch's field type reference, its `FieldMapper` classes, and what a node of 8.19 accepted
(tests/integration/test_schema_on_cluster.py).
"""

import json
import re
import sys
from collections.abc import Callable
from typing import Any

from cacheapp.mapping.date_formats import DEFAULT_FORMAT, takes_numbers, text_pattern
from cacheapp.mapping.tree import Definition, is_set, type_of

Schema = dict[str, Any]

SCALARS = ("string", "number", "boolean", "null")

# What Java's Double.parseDouble takes, and "NaN", which becomes 0 in the integer types.
NUMBER_TEXT = (
    r"^\s*(([+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?[fFdD]?"
    r"|[+-]?0[xX][0-9a-fA-F.]+[pP][+-]?[0-9]+[fFdD]?|NaN)\s*)?$"
)
IP_TEXT = r"^([0-9]+(\.[0-9]+){3}|[0-9a-fA-F.:]*:[0-9a-fA-F.:]*(%.+)?)$"
# A geohash, "lat,lon", or a point in well-known text.
GEO_POINT_TEXT = r"^([0-9b-hjkmnp-zB-HJKMNP-Z]+|[^,]+,[^,]+(,[^,]+)?|\s*[Pp][Oo][Ii][Nn][Tt].*)$"
BASE64_TEXT = r"^[A-Za-z0-9+/=\s]*$"

MAX_DIMENSIONS = 4096


def _scalar(_: Definition) -> Schema:
    return {"type": [*SCALARS]}


def _object(_: Definition) -> Schema:
    return {"type": ["object", "null"]}


def _whole(bits: int) -> Callable[[Definition], Schema]:
    """Return the function for a signed integer type of `bits` bits. `coerce` takes texts, and cuts off decimals: 127.9
    is a byte.
    """
    limit = 2 ** (bits - 1)

    def schema(definition: Definition) -> Schema:
        if is_set(definition, "coerce", default=True):
            bounds = {"exclusiveMinimum": -limit - 1, "exclusiveMaximum": limit}
            return {"type": ["number", "string", "null"], **bounds, "pattern": NUMBER_TEXT}
        return {"type": ["integer", "null"], "minimum": -limit, "maximum": limit - 1}

    return schema


def _unsigned_long(_: Definition) -> Schema:
    return {"type": ["integer", "string", "null"], "minimum": 0, "maximum": 2**64 - 1, "pattern": NUMBER_TEXT}


def _decimal(**bounds: float) -> Callable[[Definition], Schema]:
    def schema(definition: Definition) -> Schema:
        if is_set(definition, "coerce", default=True):
            return {"type": ["number", "string", "null"], **bounds, "pattern": NUMBER_TEXT}
        return {"type": ["number", "null"], **bounds}

    return schema


def _boolean(_: Definition) -> Schema:
    return {"type": ["boolean", "string", "null"], "pattern": "^(true|false)?$"}


def _date(definition: Definition) -> Schema:
    if (pattern := text_pattern(_date_format(definition))) is None:
        return {**_date_bound(definition), "minLength": 1}
    return {**_date_bound(definition), "pattern": pattern}


def _date_bound(definition: Definition) -> Schema:
    """Return the schema of a bound of a range: a date or date math (`2024-01-01||/d`). Texts are not checked."""
    if takes_numbers(_date_format(definition)):
        return {"type": ["string", "number", "null"], "minimum": -(2**63), "maximum": 2**63 - 1}
    return {"type": ["string", "null"]}


def _date_format(definition: Definition) -> str:
    given = definition.get("format")
    return given if isinstance(given, str) else DEFAULT_FORMAT


def _ip(_: Definition) -> Schema:
    return {"type": ["string", "null"], "pattern": IP_TEXT}


def _range_of(bound: Callable[[Definition], Schema]) -> Callable[[Definition], Schema]:
    def schema(definition: Definition) -> Schema:
        bounds = {name: bound(definition) for name in ("gt", "gte", "lt", "lte")}
        return {"type": ["object", "null"], "properties": bounds, "additionalProperties": False}

    return schema


def _ip_range(definition: Definition) -> Schema:
    bounds = _range_of(_ip)(definition)
    return {**bounds, "type": ["object", "string", "null"], "pattern": "^[^/]+/[0-9]+$"}


def _constant_keyword(definition: Definition) -> Schema:
    """Return the schema of a `constant_keyword`. The first document sets the value; then the mapping has it, and
    Elasticsearch accepts no other. A number or a boolean is compared by its text.
    """
    if not isinstance(value := definition.get("value"), str):
        return {"type": [*SCALARS]}
    types = ["string", "null"]
    try:
        meaning = json.loads(value)
    except (ValueError, RecursionError):
        meaning = None
    if isinstance(meaning, bool):
        types.append("boolean")
    elif isinstance(meaning, int | float):
        types.append("number")
    return {"type": types, "pattern": f"^{escaped(value)}$"}


def _binary(definition: Definition) -> Schema:
    """Return the schema of a `binary`: Base64. Without doc values and a stored copy, Elasticsearch checks neither
    values nor arrays.
    """
    if is_set(definition, "doc_values", default=False) or is_set(definition, "store", default=False):
        return {"type": ["string", "null"], "contentEncoding": "base64", "pattern": BASE64_TEXT}
    return {"type": [*SCALARS, "array"], "contentEncoding": "base64"}


def _geo_point(_: Definition) -> Schema:
    coordinate = {"type": ["number", "string"]}
    return {
        "type": ["object", "string", "array", "null"],
        "properties": {
            "lat": {**coordinate, "minimum": -90, "maximum": 90},
            "lon": {**coordinate, "minimum": -180, "maximum": 180},
            "z": coordinate,
            "type": {"type": "string", "pattern": "^[Pp][Oo][Ii][Nn][Tt]$"},
            "coordinates": {"type": "array", "items": coordinate, "minItems": 2, "maxItems": 3},
        },
        "anyOf": [{"required": ["lat", "lon"]}, {"required": ["type", "coordinates"]}],
        "additionalProperties": False,
        "pattern": GEO_POINT_TEXT,
        # An array is one point ([lon, lat]) or several points.
        "items": {"anyOf": [{"type": "number"}, {"$ref": "#/$defs/geo_point"}]},
    }


def _point(_: Definition) -> Schema:
    return {
        "type": ["object", "string", "array", "null"],
        "anyOf": [{"required": ["x", "y"]}, {"required": ["type", "coordinates"]}],
        "minLength": 1,
        "items": {"anyOf": [{"type": "number"}, {"$ref": "#/$defs/point"}]},
    }


def _geometry(_: Definition) -> Schema:
    """Return the schema of a geometry: GeoJSON or well-known text."""
    return {"type": ["object", "string", "null"], "required": ["type"], "minLength": 1}


def _completion(_: Definition) -> Schema:
    return {
        "type": ["string", "object", "null"],
        "properties": {
            "input": {"type": ["string", "array"], "items": {"type": "string"}},
            "weight": {"type": ["integer", "string"], "minimum": 0, "maximum": 2**31 - 1, "pattern": "^[+]?[0-9]+$"},
            "contexts": {"type": ["object", "array"]},
        },
        "additionalProperties": False,
    }


def _dense_vector(definition: Definition) -> Schema:
    """Return the schema of a `dense_vector`: one vector, never several. It is a list of numbers, or one text,
    hexadecimal or Base64. The first document sets `dims` where the mapping has none.
    """
    element, dims = definition.get("element_type"), definition.get("dims")
    number: Schema = {"type": "number"}
    if element in ("byte", "bit"):
        number = {"type": "integer", "minimum": -128, "maximum": 127}
    lengths = {"minItems": 1, "maxItems": MAX_DIMENSIONS}
    if type(dims) is int and dims > 0:
        length = dims // 8 if element == "bit" else dims
        lengths = {"minItems": length, "maxItems": length}
    return {"type": ["array", "string", "null"], "items": number, **lengths, "pattern": "^[A-Za-z0-9+/=]+$"}


def _rank_vectors(_: Definition) -> Schema:
    vector = {"type": ["array", "string"], "items": {"type": "number"}}
    return {"type": ["array", "string", "null"], "items": vector}


def _features(_: Definition) -> Schema:
    """Return the schema of an object from names of features to their positive weights. Null in place of the object is
    refused.
    """
    weight = {"type": ["number", "string", "null"], "exclusiveMinimum": 0, "pattern": NUMBER_TEXT}
    return {"type": ["object"], "additionalProperties": weight}


def _rank_feature(_: Definition) -> Schema:
    return {"type": ["number", "string", "null"], "exclusiveMinimum": 0, "pattern": NUMBER_TEXT}


def _join(_: Definition) -> Schema:
    relation = {"name": {"type": "string"}, "parent": {"type": ["string", "number"]}}
    return {"type": ["string", "object", "null"], "properties": relation, "required": ["name"]}


def _metrics(_: Definition) -> Schema:
    return {"type": ["object", "null"], "additionalProperties": {"type": ["number", "string", "null"]}}


def _no_value(_: Definition) -> Schema:
    """Return the schema of field aliases and of fields that a script computes. They refuse every value, null too; an
    empty array is no value.
    """
    return {"type": [], "readOnly": True}


def _anything(_: Definition) -> Schema:
    return {}


_long, _integer = _whole(64), _whole(32)
_double = _decimal(minimum=-sys.float_info.max, maximum=sys.float_info.max)
# At these bounds rounding gives infinity, which is refused.
_float = _decimal(exclusiveMinimum=-3.4028235677973366e38, exclusiveMaximum=3.4028235677973366e38)
_half_float = _decimal(exclusiveMinimum=-65520.0, exclusiveMaximum=65520.0)

VALUE_SCHEMAS: dict[str, Callable[[Definition], Schema]] = {
    "alias": _no_value,
    "text": _scalar,
    "match_only_text": _scalar,
    "pattern_text": _scalar,
    "patterned_text": _scalar,
    "annotated_text": _scalar,
    "search_as_you_type": _scalar,
    "keyword": _scalar,
    "constant_keyword": _constant_keyword,
    "counted_keyword": _scalar,
    "icu_collation_keyword": _scalar,
    "wildcard": _scalar,
    "version": _scalar,
    "token_count": _scalar,
    "murmur3": _scalar,
    "long": _long,
    "integer": _integer,
    "short": _whole(16),
    "byte": _whole(8),
    "unsigned_long": _unsigned_long,
    "double": _double,
    "float": _float,
    "half_float": _half_float,
    "scaled_float": _double,
    "boolean": _boolean,
    "date": _date,
    "date_nanos": _date,
    "ip": _ip,
    "binary": _binary,
    "integer_range": _range_of(_integer),
    "long_range": _range_of(_long),
    "float_range": _range_of(_float),
    "double_range": _range_of(_double),
    "date_range": _range_of(_date_bound),
    "ip_range": _ip_range,
    "geo_point": _geo_point,
    "geo_shape": _geometry,
    "point": _point,
    "shape": _geometry,
    "completion": _completion,
    "dense_vector": _dense_vector,
    "rank_vectors": _rank_vectors,
    "sparse_vector": _features,
    "rank_feature": _rank_feature,
    "rank_features": _features,
    "flattened": _object,
    "percolator": _object,
    "join": _join,
    "histogram": _object,
    "exponential_histogram": _object,
    "aggregate_metric_double": _metrics,
    "semantic_text": _anything,
}


def value_schema(definition: Definition) -> Schema:
    """Return the schema of one value of a field that is not an object; an empty schema (anything) for unknown types."""
    if definition.get("script") is not None:
        return _no_value(definition)
    if is_set(definition, "ignore_malformed", default=False):
        return {}
    return VALUE_SCHEMAS.get(type_of(definition), _anything)(definition)


def escaped(text: str) -> str:
    """Escape `text` for a regular expression. `re.escape` can't be used: it escapes more than ECMA 262 allows, which
    JSON Schema uses.
    """
    return re.sub(r"[\^$\\.*+?()\[\]{}|]", r"\\\g<0>", text)
