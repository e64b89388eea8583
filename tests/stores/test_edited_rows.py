"""Case 63: rows of the store that somebody edited are ignored and counted, the others are read, and the next
publication replaces them.
"""

from typing import Any

import pytest
from django.db import connection

from cacheapp.rows import STORE_MODELS, ignored_rows
from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores.database import open_database_store
from cacheapp.stores.protocol import Lease, Store
from esassistant.shared_values import Values
from tests.support.fakes import A_MAPPING
from tests.support.fixtures import Figure
from tests.support.states import FIRST, LONG, load, take
from tests.support.stores import Backend

JUNK_DATE = "'2026-99-99 00:00:00'"
NO_DATE = "'yesterday'"
FUTURE = "'2999-01-01 00:00:00'"
INDEX, ALIAS, BODY = "cacheapp_indexmapping", "cacheapp_alias", "cacheapp_mappingbody"
PUBLISHED, REPORT = "cacheapp_published", "cacheapp_instancereport"

EVERYWHERE = [
    (INDEX, "confirmed_at", FUTURE, "name = 'a'", "indices"),
    (INDEX, "mapping_hash", "'short'", "name = 'a'", "indices"),
    (INDEX, "field_count", "-1", "name = 'a'", "indices"),
    (INDEX, "name", "'No index at all'", "name = 'a'", "indices"),
    (ALIAS, "indices", "'5'", "name = 'x'", "aliases"),
    (ALIAS, "indices", """'{"a": 1}'""", "name = 'x'", "aliases"),
    (ALIAS, "indices", """'["a", 5]'""", "name = 'x'", "aliases"),
    (ALIAS, "indices", """'["../etc"]'""", "name = 'x'", "aliases"),
    (PUBLISHED, "unread", "'[]'", "id = 1", "unread"),
    (PUBLISHED, "unread", """'{"names": ["a"]}'""", "id = 1", "unread"),
    (PUBLISHED, "confirmed_at", FUTURE, "id = 1", "all"),
    (PUBLISHED, "generation", "-5", "id = 1", "all"),
]
SQLITE = [
    (INDEX, "confirmed_at", JUNK_DATE, "name = 'a'", "indices"),
    (INDEX, "confirmed_at", NO_DATE, "name = 'a'", "indices"),
    (INDEX, "mapping_hash", "x'ff'", "name = 'a'", "indices"),
    (INDEX, "uuid", "x'ff'", "name = 'a'", "indices"),
    (INDEX, "field_count", "'many'", "name = 'a'", "indices"),
    (ALIAS, "indices", "5", "name = 'x'", "aliases"),
    (ALIAS, "indices", "'no JSON'", "name = 'x'", "aliases"),
    (BODY, "body", "'text'", "1 = 1", "bodies"),
    (BODY, "body", "x'7b7d'", "1 = 1", "bodies"),
    (PUBLISHED, "unread", "'no JSON'", "id = 1", "unread"),
    (PUBLISHED, "confirmed_at", JUNK_DATE, "id = 1", "all"),
    (PUBLISHED, "confirmed_at", NO_DATE, "id = 1", "all"),
    (PUBLISHED, "generation", "'many'", "id = 1", "all"),
]
POSTGRESQL = [
    (INDEX, "confirmed_at", "'infinity'", "name = 'a'", "indices"),
    (BODY, "body", r"'\x7b7d'", "1 = 1", "bodies"),
    (PUBLISHED, "confirmed_at", "'infinity'", "id = 1", "all"),
]


async def execute(store: Any, *statements: str) -> None:
    def run() -> None:
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":  # as in a file of before Django had these constraints
                cursor.execute("PRAGMA ignore_check_constraints = ON")
            for statement in statements:
                cursor.execute(statement)

    await store._thread.run(run)


def ignored() -> int:
    return ignored_rows.total(STORE_MODELS)


async def is_ignored(store: Store, table: str, column: str, value: str, where: str, what: str) -> None:
    """Publish, edit, load; publish again, load again."""
    await store.publish(FIRST, await take(store))
    await execute(store, f"UPDATE {table} SET {column} = {value} WHERE {where}")  # noqa: S608  (a test's own)
    before = ignored()
    loaded = await store.load(())
    assert ignored() > before
    if what == "all":
        assert loaded is None
    else:
        assert loaded is not None
        state = loaded.state
        assert ("a" in state.indices, "b" in state.indices) == (what != "indices", True)
        assert ("x" in state.aliases) == (what != "aliases")
        assert bool(state.bodies) == (what != "bodies")
        assert state.unread == frozenset()
    await store.publish(FIRST, await take(store))
    mended = (await load(store)).state
    assert mended.indices.keys() == FIRST.indices.keys()
    assert (mended.aliases, mended.bodies) == (FIRST.aliases, FIRST.bodies)
    after = ignored()
    await load(store)
    assert ignored() == after


@pytest.mark.django_db(transaction=True)
async def test_case_63_rows_of_the_store_in_sqlite(sqlite: Backend, figure: Figure) -> None:
    """Dates that are none, JSON of another shape, blobs, texts in the place of numbers, names that can't be any."""
    edits = [*EVERYWHERE, *SQLITE]
    async with sqlite.open() as store:
        for edit in edits:
            await is_ignored(store, *edit)
    figure(63, f"SQLite: {len(edits)} edited rows of the store ignored, counted and replaced")


async def test_case_63_rows_of_the_store_in_postgresql(postgresql: Backend, figure: Figure) -> None:
    """What PostgreSQL lets in: JSON of another shape, times without an end, blobs, names."""
    edits = [*EVERYWHERE, *POSTGRESQL]
    async with postgresql.open() as store:
        for edit in edits:
            await is_ignored(store, *edit)
    figure(63, f"PostgreSQL: {len(edits)} edited rows of the store ignored, counted and replaced")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("token", "'many'"),
        ("token", "-1"),
        ("holder", "x'ff'"),
        ("ttl_seconds", "'long'"),
        ("ttl_seconds", "1e300"),
        ("ttl_seconds", "9e9"),
        ("expires_at", JUNK_DATE),
        ("expires_at", NO_DATE),
    ],
)
async def test_case_63_a_lease(column: str, value: str, figure: Figure) -> None:
    """Who asks for it next gets it, with a token that no earlier holder has; the earlier one can't publish any more."""
    async with open_database_store() as store:
        lease = await take(store, "one")
        await execute(store, f"UPDATE cacheapp_leaserow SET {column} = {value}")  # noqa: S608  (a test's own)
        before = ignored()
        taken = await store.lease("refresh", "two", LONG)
        assert isinstance(taken, Lease)
        assert taken.token > lease.token
        assert ignored() == before + 1
        assert await store.publish(FIRST, taken) == 1
        assert isinstance(await store.lease("refresh", "one", LONG), float)
    figure(63, f"a lease with {column} {value}: given anew")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("value", [JUNK_DATE, NO_DATE])
async def test_case_63_an_attempt(value: str, figure: Figure) -> None:
    """It counts as none."""
    async with open_database_store() as store:
        assert await store.attempt("refresh", LONG) == 0
        assert await store.attempt("refresh", LONG) > 0
        await execute(store, f"UPDATE cacheapp_attempt SET at = {value}")  # noqa: S608  (a test's own)
        before = ignored()
        assert await store.attempt("refresh", LONG) == 0
        assert ignored() == before + 1
        assert await store.attempt("refresh", LONG) > 0
    figure(63, "an attempt at no time: none")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("column", "value"),
    [("report", "'text'"), ("report", "zeroblob(300000)"), ("at", JUNK_DATE), ("at", NO_DATE), ("at", FUTURE)],
)
async def test_case_63_a_report(column: str, value: str, figure: Figure) -> None:
    """The others are read; the instance's own next one takes its place."""
    async with open_database_store() as store:
        await store.report("one", b"{}", LONG)
        await store.report("two", b"{}", LONG)
        await execute(store, f"UPDATE {REPORT} SET {column} = {value} WHERE name = 'one'")  # noqa: S608  (a test's own)
        before = ignored()
        assert list(await store.reports()) == ["two"]
        assert ignored() == before + 1
        await store.report("one", b"{}", LONG)
        assert list(await store.reports()) == ["one", "two"]
        await execute(store, f"UPDATE {REPORT} SET expires_at = {FUTURE} WHERE name = 'one'")  # noqa: S608
        await store.report("two", b"{}", LONG)
        assert list(await store.reports()) == ["two"]
    figure(63, f"a report with {column} {value}: ignored")


@pytest.mark.django_db(transaction=True)
async def test_case_63_a_mapping_that_can_not_be_removed(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file that is only read, an edited mapping stays, and is ignored each time."""
    async with open_database_store() as store:
        await store.publish(FIRST, await take(store))
        edited = mapping_hash(A_MAPPING)
        await execute(store, f"UPDATE {BODY} SET body = x'7b7d' WHERE mapping_hash = '{edited}'")  # noqa: S608
        with monkeypatch.context() as patched:
            name = connection.settings_dict["NAME"]
            patched.setitem(connection.settings_dict, "NAME", f"file:{name}?mode=ro")
            for _ in range(2):
                assert edited not in (await load(store)).state.bodies
        assert edited not in (await load(store)).state.bodies
    figure(63, "an edited mapping in a read-only file: ignored")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("value", ["'text'", "7", "zeroblob(1000000)"])
async def test_case_63_a_shared_value(value: str, figure: Figure) -> None:
    """What nobody of ours wrote counts as none, is counted, and is replaced by the next change."""

    def change(values: Values, _now: int) -> tuple[Values, Values]:
        return {"a": b"new"}, values

    async with open_database_store() as store:
        assert await store.change(["a"], change, 60.0) == {}
        await execute(store, f"UPDATE cacheapp_sharedvalue SET value = {value}")  # noqa: S608  (a test's own)
        before = ignored()
        assert await store.change(["a"], change, 60.0) == {}
        assert ignored() == before + 1
        assert await store.change(["a"], change, 60.0) == {"a": b"new"}
    figure(63, f"a shared value edited to {value}: ignored, counted, replaced")
