"""What a row of the store has to be. That rows are really edited so is held by tests/stores/test_edited_rows.py."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores import database_rows as rows
from cacheapp.stores.protocol import MAX_REPORT_BYTES

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
A = mapping_hash(b"{}")


@pytest.mark.parametrize(
    ("at", "good"),
    [
        (NOW, True),
        (NOW + timedelta(hours=23), True),
        (NOW + timedelta(days=2), False),
        (NOW.replace(tzinfo=None), False),
        (None, False),
        ("2026-11-29", False),
    ],
)
def test_moments(at: object, good: bool) -> None:
    """A time that may have been, by a clock that may have been set back since."""
    assert rows.is_moment(at, NOW) is good


@pytest.mark.parametrize(
    ("number", "good"),
    [(0, True), (5, True), (2**53, True), (2**53 + 1, False), (-1, False), (True, False), ("5", False)],
)
def test_counts(number: object, good: bool) -> None:
    """Whole numbers that can be counted on with."""
    assert rows.is_count(number) is good
    assert not rows.is_count(0, 1)


@pytest.mark.parametrize(
    ("name", "index", "alias"),
    [("a", True, True), ("A", False, True), ("a b", False, False), ("", False, False), (b"a", False, False)],
)
def test_names(name: object, index: bool, alias: bool) -> None:
    """As names from callers; aliases may have upper case."""
    assert (rows.is_name(name), rows.is_name(name, upper_case=True)) == (index, alias)


PUBLISHED: dict[str, Any] = {
    "generation": 3,
    "confirmed_at": NOW,
    "listed_at": None,
    "cluster_uuid": "u",
    "cluster_urls": "h",
    "unread": None,
}


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({}, True),
        ({"listed_at": NOW}, True),
        ({"listed_at": "x"}, False),
        ({"generation": 0}, False),
        ({"confirmed_at": None}, False),
        ({"cluster_uuid": b"u"}, False),
        ({"cluster_urls": "h" * 65}, False),
    ],
)
def test_published(changes: dict[str, Any], good: bool) -> None:
    """Each column of the row that says what is published."""
    assert rows.is_published(SimpleNamespace(**{**PUBLISHED, **changes}), NOW) is good


@pytest.mark.parametrize(
    ("unread", "names"),
    [
        (None, frozenset()),
        ({"generation": 3, "names": ["a"]}, frozenset({"a"})),
        ({"generation": 2, "names": ["a"]}, frozenset()),
        ({"generation": 3, "names": ["a", 5]}, None),
        ({"generation": 3, "names": "a"}, None),
        ({"names": ["a"]}, None),
        ([], None),
    ],
)
def test_listed_names(unread: object, names: frozenset[str] | None) -> None:
    """Names of that generation; None where the column has another shape."""
    assert rows.listed_names(unread, 3, "names") == names


@pytest.mark.parametrize(
    ("row", "undated", "good"),
    [
        (("a", "u", A, NOW, 5), False, True),
        (("a", None, A, None, None), True, True),
        (("a", None, A, None, None), False, False),
        (("a", 5, A, NOW, 5), False, False),
        (("a", "u", "short", NOW, 5), False, False),
        (("a", "u", b"x", NOW, 5), False, False),
        (("a", "u", A, NOW, -1), False, False),
        (("A", "u", A, NOW, 5), False, False),
    ],
)
def test_indices(row: tuple[Any, ...], undated: bool, good: bool) -> None:
    """A time that the database has and Django can't read is another thing than none."""
    assert rows.is_index(row, undated, NOW) is good


@pytest.mark.parametrize(
    ("alias", "good"),
    [
        (("x", ["a"], False), True),
        (("x", [], True), True),
        (("x", "a", False), False),
        (("x", [5], False), False),
        (("x", ["a"], 7), False),
        (("", ["a"], False), False),
    ],
)
def test_aliases(alias: tuple[Any, Any, Any], good: bool) -> None:
    """A list of names."""
    assert rows.is_alias(*alias) is good


def test_bodies() -> None:
    """Bytes under their own hash."""
    assert rows.is_body(A, b"{}")
    assert rows.is_body(A, memoryview(b"{}"))
    assert not rows.is_body(A, b"{ }")
    assert not rows.is_body(A, "{}")


LEASE: dict[str, Any] = {"token": 1, "holder": "x", "expires_at": NOW, "ttl_seconds": 30.0}


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({}, True),
        ({"ttl_seconds": 30}, True),
        ({"token": "1"}, False),
        ({"holder": b"x"}, False),
        ({"expires_at": None}, False),
        ({"ttl_seconds": "30"}, False),
        ({"ttl_seconds": float("inf")}, False),
        ({"ttl_seconds": -1.0}, False),
        ({"ttl_seconds": 1e9}, False),
    ],
)
def test_leases(changes: dict[str, Any], good: bool) -> None:
    """One that could be held for ever is none."""
    assert rows.is_lease(SimpleNamespace(**{**LEASE, **changes})) is good


@pytest.mark.parametrize(
    ("report", "good"),
    [
        (("i", NOW, b"{}"), True),
        (("i" * 201, NOW, b"{}"), False),
        (("i", None, b"{}"), False),
        (("i", NOW, "{}"), False),
        (("i", NOW, b"x" * (MAX_REPORT_BYTES + 1)), False),
    ],
)
def test_reports(report: tuple[Any, Any, Any], good: bool) -> None:
    """Bytes within their bound, of an instance whose name is."""
    assert rows.is_report(*report, NOW) is good
