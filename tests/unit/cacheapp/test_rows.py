"""Edited rows: those that can't be read are left out and counted, the others are read in their order."""

import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection
from django.db.models import QuerySet

from cacheapp.models import Attempt, MappingChange, PassRecord
from cacheapp.rows import IgnoredRows, ignored_rows, is_unreadable

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def edit(model: Any, column: str, value: str, where: str) -> None:
    """As somebody with a shell of SQLite would: `value` and `where` are SQL."""
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {model._meta.db_table} SET {column} = {value} WHERE {where}")  # noqa: S608  (a test's own)


@pytest.fixture
def attempts() -> list[str]:
    """Twelve rows, of which two have a date that can't be read; the names of the others."""
    names = [f"n{number:02}" for number in range(12)]
    Attempt.objects.bulk_create([Attempt(name=name, at=NOW) for name in names])
    edit(Attempt, "at", "'2026-99-99 00:00:00'", "name IN ('n03', 'n11')")
    return [name for name in names if name not in ("n03", "n11")]


def test_unreadable_rows_are_left_out(attempts: list[str]) -> None:
    """In whatever order, sliced, as values, by their key; each is counted."""
    before = ignored_rows.total(["Attempt"])
    rows = Attempt.objects.order_by("name")
    assert [row.name for row in rows] == attempts
    assert ignored_rows.total(["Attempt"]) == before + 2
    assert [row.name for row in rows.reverse()] == attempts[::-1]
    assert [row.name for row in rows.all()[2:5]] == ["n02", "n04"]
    assert [name for name, _ in rows.values_list("name", "at")] == attempts
    assert rows.filter(name="n03").first() is None
    assert not Attempt.objects.filter(name="n03")


def test_more_rows_than_are_asked_for_at_once() -> None:
    """One edited row of a thousand is found."""
    Attempt.objects.bulk_create([Attempt(name=f"{number:04}", at=NOW) for number in range(1100)])
    edit(Attempt, "at", "'2026-99-99 00:00:00'", "name = '0777'")
    assert len(Attempt.objects.all()) == 1099


def test_other_errors_are_not_hidden(attempts: list[str]) -> None:
    """A database that fails, and a query that can't be made, raise as ever; also while rows are looked for singly."""
    edit(Attempt, "name", "CAST(x'ff' AS TEXT)", "name = 'n05'")
    with pytest.raises(OperationalError):
        list(Attempt.objects.order_by("name"))
    with pytest.raises(OperationalError, match="no such function"):
        list(Attempt.objects.extra(where=["no_such(1)"]))


def test_text_that_is_no_text() -> None:
    """Bytes that aren't UTF-8 in another column than the key."""
    PassRecord.objects.create(**A_PASS)
    edit(PassRecord, "error", "CAST(x'ff' AS TEXT)", "1=1")
    assert list(PassRecord.objects.all()) == []


A_PASS: dict[str, Any] = {
    "refresh_id": "x",
    "started_at": NOW,
    "trigger": "api",
    "outcome": "completed",
    "duration_seconds": 1.0,
    "indices_total": 1,
    "read_total": 1,
    "changed_total": 0,
    "removed_total": 0,
    "failed_total": 0,
    "requests_total": 3,
    "error": "",
    "instance": "i",
}


@pytest.mark.parametrize(
    ("error", "unreadable"),
    [
        (ValueError(), True),
        (TypeError(), True),
        (OverflowError(), True),
        (DataError(), True),
        (OperationalError("Could not decode to UTF-8 column 'x' with text 'y'"), True),
        (OperationalError("database is locked"), False),
        (KeyError(), False),
    ],
)
def test_which_errors_are_of_a_row(error: Exception, unreadable: bool) -> None:
    """What a converter or the driver raises for a value; not what is about the query or the database."""
    assert is_unreadable(error) is unreadable


def test_counting() -> None:
    """By model; of several together."""
    counted = IgnoredRows()
    counted.note(Attempt)
    counted.note(PassRecord, 2)
    assert (counted.total(["Attempt"]), counted.total(["Attempt", "PassRecord"])) == (1, 3)


def test_what_the_query_needs_of_django() -> None:
    """Django's inner parts that `ReadableRows` overrides or calls. If this fails after an upgrade of Django, read
    `QuerySet._fetch_all` again.
    """
    owner: Any = QuerySet
    source = inspect.getsource(owner._fetch_all)
    assert "self._result_cache = list(self._iterable_class(self))" in source
    assert list(inspect.signature(owner._fetch_all).parameters) == ["self"]
    assert callable(owner._chain)
    assert callable(QuerySet(Attempt).query.clear_limits)


def test_rows_without_a_time_name_themselves() -> None:
    """A time that can't be read is none; the admin shows such a row all the same."""
    assert str(PassRecord(outcome="failed")) == "? failed"
    assert str(MappingChange(index="a", kind="created")) == "? a created"
    assert str(MappingChange(at=NOW + timedelta(hours=1), index="a", kind="created")) == "2026-11-29 13:00:00 a created"
