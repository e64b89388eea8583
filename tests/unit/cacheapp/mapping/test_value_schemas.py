"""What values each type of field takes. tests/integration/test_schema_on_cluster.py compares with a real node, which
lacks many of these types.
"""

from typing import Any

import pytest

from tests.support.mappings import takes

SCALARS = ["a", 1, 1.5, True, None, ["a", [2, None]]]
GEOMETRY = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 0]]]}

TAKEN: dict[str, tuple[dict[str, Any], list[Any], list[Any]]] = {
    "ip": ({}, ["1.2.3.4", "::1", None, ["fe80::1%eth0"]], ["1.2.3", "x", 1]),
    "ip_range": ({}, ["10.0.0.0/8", {"gte": "::1", "lt": None}], ["1.2.3.4", {"gte": 1}, {"from": "::1"}]),
    "date_range": ({}, [{"gte": "2024-01-01||/d", "lt": 5}, None], ["2024", {"gte": True}]),
    "geo_point": (
        {},
        [{"lat": 1, "lon": 2}, "1,2", "u33d", "POINT (2 1)", [2, 1], [[2, 1], "1,2"]],
        [1, {}, {"lat": 1}],
    ),
    "completion": ({}, ["x", {"input": ["x"], "weight": 1}, ["x"]], [1, {"input": 1}, {"x": 1}, {"weight": -1}]),
    "flattened": ({}, [{"a": {"b": [1]}}, None, [{}]], ["x", 1]),
    "binary": ({"doc_values": True}, ["U29t", None, ["YQ=="]], ["!", 1, {}]),
    "wildcard": ({}, SCALARS, [{}]),
    "match_only_text": ({}, SCALARS, [{}]),
    "pattern_text": ({}, SCALARS, [{}]),
    "annotated_text": ({}, SCALARS, [{}]),
    "search_as_you_type": ({}, SCALARS, [{}]),
    "counted_keyword": ({}, SCALARS, [{}]),
    "icu_collation_keyword": ({}, SCALARS, [{}]),
    "version": ({}, SCALARS, [{}]),
    "token_count": ({"analyzer": "standard"}, SCALARS, [{}]),
    "murmur3": ({}, SCALARS, [{}]),
    "constant_keyword": ({}, SCALARS, [{}]),
    "unsigned_long": ({}, [0, 2**64 - 1, 1.0, "7", "", None, [1]], [-1, 2**64, 1.5, "x", True, {}]),
    "scaled_float": ({"scaling_factor": 100}, [1.5, "1.5", "", None, [1]], ["x", True, {}]),
    "geo_shape": ({}, [GEOMETRY, "POINT (1 2)", None, [GEOMETRY]], [1, "", {"coordinates": []}]),
    "shape": ({}, [GEOMETRY, "POINT (1 2)", None, [GEOMETRY]], [1, "", {"coordinates": []}]),
    "point": (
        {},
        [{"x": 1, "y": 2}, "1,2", [1, 2], [[1, 2], "1,2"], {"type": "Point", "coordinates": [1, 2]}],
        [1, {}],
    ),
    "rank_feature": ({}, [0.5, "2", None], [0, -1, "x", True, {}]),
    "rank_features": ({}, [{"a": 1, "b": "2", "c": None}, {}], [None, {"a": 0}, {"a": True}, "x"]),
    "rank_vectors": ({"dims": 2}, [[[1, 2], [3, 4]], None], [1, {}, [[True]]]),
    "join": ({"relations": {"q": "a"}}, ["q", {"name": "a", "parent": 1}, {"name": "q"}], [1, {}, {"name": 1}]),
    "percolator": ({}, [{"match_all": {}}, None], ["x", 1]),
    "histogram": ({}, [{"values": [1, 2], "counts": [3, 4]}, None], ["x", 1]),
    "exponential_histogram": ({}, [{"scale": 1}, None], ["x", 1]),
    "aggregate_metric_double": ({"metrics": ["min"]}, [{"min": 1}, {"min": "1"}, None], ["x", {"min": {}}]),
    "semantic_text": ({}, ["x", ["x", "y"], {"text": "x"}, None], []),
    "passthrough": ({"dynamic": False}, [{"a": 1}, None, [{"a": 1}]], ["x", 1]),
    "unheard_of": ({}, ["x", 1, None, {}, [[]]], []),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_values_of_types(kind: str) -> None:
    """Values that the type's parser in Elasticsearch's source takes are valid, others aren't."""
    parameters, taken, refused = TAKEN[kind]
    definition = {"type": kind, **parameters}
    assert [value for value in taken if not takes(definition, value)] == []
    assert [value for value in refused if takes(definition, value)] == []


@pytest.mark.parametrize(
    ("value", "taken", "refused"),
    [
        ("prod.eu", ["prod.eu", None, ["prod.eu"]], ["prod-eu", "prod.eu2", 1]),
        ("7", ["7", 7], ["8", True]),
        ("true", ["true", True], ["false", 1]),
        ("[" * 100_000, ["[" * 100_000], ["["]),
    ],
)
def test_constant_keyword_has_one_value(value: str, taken: list[Any], refused: list[Any]) -> None:
    """Only the value that the mapping has is valid, as text or as what has that text."""
    definition = {"type": "constant_keyword", "value": value}
    assert all(takes(definition, one) for one in taken)
    assert not any(takes(definition, one) for one in refused)


@pytest.mark.parametrize(
    ("date_format", "taken", "refused"),
    [
        ("yyyy-MM-dd HH:mm:ss", ["2024-01-01 10:00:00"], ["2024-01-01", 2024, "x"]),
        ("yyyy-MM-dd'T'HH:mm:ss.SSSZ", ["2024-01-01T10:00:00.123+0100"], ["2024-01-01 10:00:00.123+0100"]),
        ("yyyy[-MM[-dd]]", ["2024", "2024-01-01", 2024], ["x", "2024-"]),
        ("dd MMM", ["01 Jan"], ["Jan 01", 1]),
        ("MMM dd", ["Jan 01"], [1]),
        ("yyyyMMdd", ["20240101", 20240101], ["2024-01-01", ""]),
        ("yyyyMMMdd", ["2024Jan01"], [""]),
        ("yyyy||MM/dd", ["2024", "01/31", 2024], ["x"]),
        ("yyyy]-[MM", ["anything"], ["", 5]),
        ("yyyy|MM", ["anything", 5], [""]),
        ("strict_date||epoch_second", ["2024-01-01", "5", 5, None], ["x", True, {}]),
        ("strict_week_date", ["2024-W01-1"], ["", 5]),
        ("strict_year", ["2024", 2024], [""]),
        (None, ["2024-01-01T10:00:00Z", 5], ["x", ""]),
        (["odd"], ["2024-01-01", 5], ["x"]),
        ("[y][M][d][H][m]", ["20240101", 20240101], ["x"]),
        ("[y][M][d][H][m][s]", ["anything", 5], [""]),
        ("[" * 5_000 + "y" + "]" * 5_000, ["anything", 5], [""]),
        ("y" * 201, ["anything", 5], [""]),
    ],
)
def test_date_formats(date_format: Any, taken: list[Any], refused: list[Any]) -> None:
    """Texts have the shape of the format, and numbers are dates only where their text can be one."""
    definition = {"type": "date", "format": date_format}
    assert [value for value in taken if not takes(definition, value)] == []
    assert [value for value in refused if takes(definition, value)] == []


@pytest.mark.parametrize(
    ("parameters", "length"),
    [({"dims": 3}, 3), ({"dims": 32, "element_type": "bit"}, 4), ({}, 4096), ({"dims": -1}, 1), ({"dims": True}, 1)],
)
def test_dense_vectors_have_their_length(parameters: dict[str, Any], length: int) -> None:
    """A vector has as many numbers as `dims` says, or as many as Elasticsearch permits."""
    definition = {"type": "dense_vector", **parameters}
    assert takes(definition, [1] * length)
    assert takes(definition, "0aff")
    assert not takes(definition, [1] * 4097)
    assert not takes(definition, [])


@pytest.mark.parametrize("kind", ["short", "double", "integer_range"])
def test_without_coerce_numbers_are_numbers(kind: str) -> None:
    """`coerce: false` refuses texts of numbers, and decimals where they would be cut off."""

    def value(number: Any) -> Any:
        return {"gte": number} if kind.endswith("range") else number

    for coerce in (False, "false"):
        definition = {"type": kind, "coerce": coerce}
        assert takes(definition, value(1))
        assert not takes(definition, value("1"))
        assert takes(definition, value(1.5)) == (kind == "double")
    assert takes({"type": kind}, value("1.5"))


def test_malformed_values_may_be_ignored() -> None:
    """With `ignore_malformed` anything is valid."""
    assert takes({"type": "long", "ignore_malformed": True}, "no number")
    assert takes({"type": "ip", "ignore_malformed": "true"}, "no address")


def test_fields_without_values_of_their_own() -> None:
    """Aliases and scripted fields take no value, null neither; an empty array is none."""
    for definition in ({"type": "alias", "path": "x"}, {"type": "long", "script": {"source": "emit(1)"}}):
        assert not takes(definition, 1)
        assert not takes(definition, None)
        assert takes(definition, [[], []])
