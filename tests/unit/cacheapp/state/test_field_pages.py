"""Pages of fields: complete, in order, filtered, and stable between pages."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.mapping.fields import Field, TypeIndices
from cacheapp.state.cursors import encode_cursor
from cacheapp.state.field_pages import FieldFilter, compact, field_page
from esassistant.errors import BadRequest

NAMES = st.text("ab.", min_size=1, max_size=5)


def field(name: str, *types: str) -> Field:
    return Field(name, types or ("keyword",), True, True, 1)


def all_pages(fields: list[Field], wanted: FieldFilter, limit: int | None) -> list[str]:
    names: list[str] = []
    cursor = None
    while True:
        page = field_page(fields, wanted, limit, cursor)
        assert limit is None or len(page.fields) <= limit
        names += [one.name for one in page.fields]
        if (cursor := page.next_cursor) is None:
            assert page.total == len(names)
            return names


@given(st.sets(NAMES, max_size=20), st.text("ab ", max_size=4), st.integers(1, 5))
def test_pages_are_complete(names: set[str], q: str, limit: int) -> None:
    """All pages together have what one page without a limit has, in its order, each once."""
    fields = [field(name) for name in sorted(names)]
    assert all_pages(fields, FieldFilter(q), limit) == all_pages(fields, FieldFilter(q), None)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (FieldFilter(), ["customer", "customer.name", "items", "name", "user_name"]),
        (FieldFilter("name"), ["customer.name", "name", "user_name"]),
        (FieldFilter("NAME cust"), ["customer.name"]),
        (FieldFilter(type="text"), ["customer.name", "name"]),
        (FieldFilter(type="object"), ["customer", "items"]),
        (FieldFilter(prefix="cust"), ["customer", "customer.name"]),
        (FieldFilter(leaves=True), ["customer.name", "items", "name", "user_name"]),
        (FieldFilter("name", "text", "n", True), ["name"]),
    ],
)
def test_filters(wanted: FieldFilter, names: list[str]) -> None:
    """Each filter gives its fields, alone and with others. What is an object in some indices alone is a leaf, too."""
    fields = [
        *(field("customer", "object"), field("customer.name", "text"), field("items", "keyword", "object")),
        *(field("name", "keyword", "text"), field("user_name")),
    ]
    assert all_pages(fields, wanted, None) == names
    assert all_pages(fields, wanted, 1) == names


def test_a_cursor_outlives_what_it_points_at() -> None:
    """What is added or gone between two pages costs no other field, and none comes twice."""
    first = field_page([field(name) for name in ("a", "c", "e")], FieldFilter(), 2, None)
    assert [one.name for one in first.fields] == ["a", "c"]
    second = field_page([field(name) for name in ("a", "b", "d", "e")], FieldFilter(), 2, first.next_cursor)
    assert [one.name for one in second.fields] == ["d", "e"]


@pytest.mark.parametrize("cursor", ["", "?", "é", encode_cursor("a"), encode_cursor("3a"), encode_cursor("")])
def test_foreign_cursors(cursor: str) -> None:
    """A cursor that isn't ours, or is one of names, is said to be so."""
    with pytest.raises(BadRequest, match="next_cursor"):
        field_page([], FieldFilter(), 1, cursor)


def test_compact_fields() -> None:
    """What is null, empty or false is left out, and nothing else."""
    plain = Field("a", ("keyword",), True, False, 3)
    assert json.loads(msgspec.json.encode(compact(plain))) == {
        "name": "a",
        "types": ["keyword"],
        "searchable": True,
        "aggregatable": False,
        "indices_total": 3,
    }
    full = Field(
        *("a.b", ("date", "long"), None, None, 2, "a", "a", "c", True, "epoch_millis", {"unit": "ms"}),
        (TypeIndices("date", 1, ("x",)), TypeIndices("long", 1, ("y",))),
        *((None, "epoch_millis"), {"unit": ("ms", "ns")}, (None, "a"), True),
    )
    whole = {name: value for name, value in msgspec.to_builtins(full).items() if value is not None}
    assert json.loads(msgspec.json.encode(compact(full))) == json.loads(msgspec.json.encode(whole))
