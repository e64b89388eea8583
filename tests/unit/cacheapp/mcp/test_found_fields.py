"""Fields by words: which are found, and of which families, as far as these exist for the caller."""

import json

import pytest

from cacheapp.mapping.fields import Field, TypeIndices, fields, fields_of
from cacheapp.mcp.found_fields import families_by_field, field_line, matching
from cacheapp.state.distinct import Distinct
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import ALL_VISIBLE, Visible


def body(**properties: object) -> bytes:
    return json.dumps({"properties": properties}).encode()


IP, LONG, KEYWORD = ({"type": kind} for kind in ("ip", "long", "keyword"))
WEB = body(client={"properties": {"ip": IP, "port": LONG}}, status=KEYWORD)
APP = body(status=LONG, client_name=KEYWORD)
FIELDS = fields({"web": WEB, "app": APP})
PARTS = [
    (Distinct("w", WEB, ("web-2025", "web-2026")), fields_of(WEB)),
    (Distinct("a", APP, ("app",)), fields_of(APP)),
]


@pytest.mark.parametrize(
    ("words", "type_", "names", "is_all"),
    [
        ("client ip", "", ["client.ip"], True),
        ("ip", "", ["client.ip"], True),
        ("client", "keyword", ["client_name"], True),
        ("port client_name", "", ["client.port", "client_name"], False),
        ("ip client zebra", "", ["client.ip", "client", "client.port", "client_name"], False),
        ("zebra", "", [], False),
        ("status", "date", [], False),
    ],
)
def test_fields_by_words(words: str, type_: str, names: list[str], is_all: bool) -> None:
    """Those with all words; else those with some, those with most first."""
    found, has_all = matching(FIELDS, words, type_)
    assert ([field.name for field in found], has_all) == (names, is_all)


@pytest.mark.parametrize(
    ("visible", "families"),
    [
        (ALL_VISIBLE, ["application", "web*"]),
        (Visible(("web-*", "app")), ["app", "web*"]),
    ],
)
def test_the_families_of_a_field(visible: Visible, families: list[str]) -> None:
    """An alias that doesn't exist for the caller names none."""
    snapshot = Snapshot(aliases={"application": ("app",)})
    status = next(field for field in FIELDS if field.name == "status")
    port = next(field for field in FIELDS if field.name == "client.port")
    found = families_by_field([status, port], PARTS, snapshot, visible)
    assert found == {"status": families, "client.port": ["web*"]}


@pytest.mark.parametrize(
    ("field", "line"),
    [
        (Field("a", ("ip",), True, True, 3), "a: ip — f0, f1"),
        (Field("i.a", ("ip",), True, True, 3, nested_path="i"), "i.a: ip (nested in i) — f0, f1"),
        (
            Field(
                *("a", ("ip", "long"), None, None, 3),
                conflict=(TypeIndices("ip", 2, ("x", "y")), TypeIndices("long", 1, ("z",))),
            ),
            "a: conflict: ip in 2, long in 1 indices — f0, f1",
        ),
    ],
)
def test_lines(field: Field, line: str) -> None:
    """A type, or how many indices have which; the nested object around it."""
    assert field_line(field, ["f0", "f1"]) == line


def test_many_families() -> None:
    """Some are named, the others counted."""
    assert field_line(FIELDS[0], [f"f{n}" for n in range(9)]).endswith("f0, f1, f2, f3 and 5 more")
