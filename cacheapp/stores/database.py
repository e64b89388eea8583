"""The database store: processes share mappings through Django's database, which may be SQLite or any other.

All times are those of the database (`Now()`), so that the machines of a deployment need not agree on theirs.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

import msgspec
from django.db import models
from django.db.models import Max
from django.db.models.functions import Coalesce, Now

from cacheapp.models import Alias, Attempt, IndexMapping, InstanceReport, LeaseRow, MappingBody, Published, SharedValue
from cacheapp.rows import ignored_rows
from cacheapp.state.published import HistoryMark, Loaded, StoredIndex, StoredState
from cacheapp.stores.database_rows import (
    AHEAD,
    NEVER,
    history_mark,
    is_alias,
    is_body,
    is_count,
    is_index,
    is_lease,
    is_published,
    is_report,
    is_value,
    listed_names,
)
from cacheapp.stores.database_thread import DEADLINE_SECONDS, DatabaseThread, open_database_thread
from cacheapp.stores.protocol import MAX_INSTANCES, Lease, StoredReport, check_report
from esassistant.clock import monotonic
from esassistant.errors import StaleToken, StoreUnavailable
from esassistant.shared_values import Values

T = TypeVar("T")

ROWS_AT_ONCE = 500
PUBLISHED_ROW = 1
INDEX_COLUMNS = ("name", "uuid", "mapping_hash", "confirmed_at", "field_count")


class DatabaseStore:
    """Implements `cacheapp.stores.protocol.Store`. Lives from `open_database_store()` to the end of its block."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread

    async def generation(self) -> int:
        # A single statement: without a transaction it takes no lock, however often all processes ask.
        return await self._thread.run(_generation, atomic=False)

    async def load(self, known_hashes: Collection[str]) -> Loaded | None:
        known = frozenset(known_hashes)
        loaded, edited = await self._thread.run(lambda: _load(known))
        if edited:
            # The rows are deleted so that the next publication writes them anew. In a read-only database they stay.
            with suppress(StoreUnavailable):
                await self._thread.run(lambda: _delete(MappingBody.objects, edited))
        return loaded

    async def publish(self, state: StoredState, lease: Lease) -> int:
        asked_at = monotonic()
        # The ages in the state also grow while this waits for the thread and for the lock.
        return await self._thread.run(lambda: _publish(state, lease, asked_at))

    async def lease(self, name: str, holder: str, ttl_seconds: float) -> Lease | float:
        return await self._thread.run(lambda: _lease(name, holder, ttl_seconds))

    async def release(self, lease: Lease) -> None:
        await self._thread.run(lambda: _release(lease))

    async def attempt(self, name: str, interval_seconds: float) -> float:
        return await self._thread.run(lambda: _attempt(name, interval_seconds))

    async def report(self, instance: str, report: bytes, ttl_seconds: float) -> None:
        check_report(report)
        await self._thread.run(lambda: _report(instance, report, ttl_seconds))

    async def reports(self) -> dict[str, StoredReport]:
        return await self._thread.run(_reports, atomic=False)

    async def change(
        self,
        names: Collection[str],
        function: Callable[[Values, int], tuple[Values, T]],
        kept_seconds: float,  # noqa: ARG002  (there are few rows)
    ) -> T:
        return await self._thread.run(lambda: _change(sorted(names), function))

    async def wait_for_change(self, longest_seconds: float) -> None:
        await asyncio.sleep(longest_seconds)  # a database tells nobody: the caller asks for the generation


@asynccontextmanager
async def open_database_store(*, deadline_seconds: float = DEADLINE_SECONDS) -> AsyncIterator[DatabaseStore]:
    """Open a store for the length of the block. Does no I/O until the store is used; it opens even if the database is
    away.
    """
    async with open_database_thread("database-store", deadline_seconds=deadline_seconds) as thread:
        yield DatabaseStore(thread)


def _now() -> datetime:
    # An aggregate, because it gives a row even if the table is empty.
    now: datetime = LeaseRow.objects.aggregate(now=Coalesce(Max(Now()), Now()))["now"]
    return now


def _generation() -> int:
    generation: Any = Published.objects.filter(pk=PUBLISHED_ROW).values_list("generation", flat=True).first()
    return int(generation) if is_count(generation, 1) else 0


def _load(known_hashes: frozenset[str]) -> tuple[Loaded | None, list[str]]:
    """Return the published state, and the hashes of stored mappings that somebody edited."""
    # Loading takes several queries. Outside SQLite, another process may publish between two of them; the state would
    # then be mixed, so it is loaded again.
    loaded, edited = _load_once(known_hashes)
    while loaded is not None and loaded.generation != _generation():
        loaded, edited = _load_once(known_hashes)
    return loaded, edited


def _load_once(known_hashes: frozenset[str]) -> tuple[Loaded | None, list[str]]:
    published = Published.objects.filter(pk=PUBLISHED_ROW).annotate(now=Now()).first()
    if published is None:
        return None, []
    now: datetime = published.now
    if not is_published(published, now):
        ignored_rows.note(Published)
        return None, []
    indices = {
        name: StoredIndex(
            uuid, mapping_hash, None if confirmed_at is None else _seconds(now - confirmed_at), field_count
        )
        for name, uuid, mapping_hash, confirmed_at, field_count in _index_rows(now)
    }
    aliases: dict[str, tuple[str, ...]] = {}
    data_streams: set[str] = set()
    for name, members, is_data_stream in _alias_rows():
        aliases[name] = members
        if is_data_stream:
            data_streams.add(name)
    bodies, edited = _bodies(known_hashes)
    unread, closed, hidden = (
        listed_names(column, published.generation, key)
        for column, key in ((published.unread, "names"), (published.marked, "closed"), (published.marked, "hidden"))
    )
    try:
        history = history_mark(published)
    except ValueError:
        # An unreadable mark counts as "not all changes are recorded": the next process that reads the cluster compares.
        unread, history = None, HistoryMark()
    if unread is None or closed is None or hidden is None:
        ignored_rows.note(Published)
    state = StoredState(
        _seconds(now - published.confirmed_at),
        indices,
        aliases,
        bodies,
        frozenset(data_streams),
        published.cluster_uuid,
        published.cluster_urls,
        None if published.listed_at is None else _seconds(now - published.listed_at),
        unread or frozenset(),
        closed or frozenset(),
        hidden or frozenset(),
        history,
    )
    return Loaded(published.generation, state), edited


def _index_rows(now: datetime) -> Iterator[tuple[Any, ...]]:
    is_undated = models.ExpressionWrapper(models.Q(confirmed_at__isnull=True), models.BooleanField())
    for *row, undated in IndexMapping.objects.values_list(*INDEX_COLUMNS, is_undated):
        if is_index(tuple(row), undated, now):
            yield tuple(row)
        else:
            ignored_rows.note(IndexMapping)


def _alias_rows() -> Iterator[tuple[str, tuple[str, ...], bool]]:
    for name, members, is_data_stream in Alias.objects.values_list("name", "indices", "is_data_stream"):
        if is_alias(name, members, is_data_stream):
            yield name, tuple(members), is_data_stream
        else:
            ignored_rows.note(Alias)


def _bodies(known_hashes: frozenset[str]) -> tuple[dict[str, bytes], list[str]]:
    """Return the mappings that aren't known yet, by their hashes; and the hashes of rows whose mapping doesn't have
    that hash.
    """
    lacking = [known for known in MappingBody.objects.values_list("pk", flat=True) if known not in known_hashes]
    bodies: dict[str, bytes] = {}
    edited: list[str] = []
    for start in range(0, len(lacking), ROWS_AT_ONCE):
        for row in MappingBody.objects.filter(pk__in=lacking[start : start + ROWS_AT_ONCE]):
            if is_body(row.mapping_hash, row.body):
                bodies[row.mapping_hash] = bytes(row.body)
            else:
                ignored_rows.note(MappingBody)
                edited.append(row.mapping_hash)
    return bodies, edited


def _publish(state: StoredState, lease: Lease, asked_at: float) -> int:
    check_lease(lease, "Another process took over the refresh lease; its result stands.")
    now = _now()
    asked = now - timedelta(seconds=monotonic() - asked_at)
    _write_indices(state, asked)
    _write_aliases(state)
    _write_bodies(state)
    generation = _generation() + 1
    listed_age, mark = state.listed_age_seconds, state.history
    replace_row(
        Published(
            pk=PUBLISHED_ROW,
            generation=generation,
            confirmed_at=asked - timedelta(seconds=state.age_seconds),
            listed_at=None if listed_age is None else asked - timedelta(seconds=listed_age),
            cluster_uuid=state.cluster_uuid,
            cluster_urls=state.cluster_urls,
            unread={"generation": generation, "names": sorted(state.unread)} if state.unread else None,
            marked={"generation": generation, "closed": sorted(state.closed), "hidden": sorted(state.hidden)}
            if state.closed or state.hidden
            else None,
            history=None if mark is None else {"generation": generation, **msgspec.to_builtins(mark)},
        )
    )
    return generation


def replace_row(row: models.Model) -> None:
    """Insert a row, or replace the one with the same key, without reading that: somebody may have edited it."""
    key, *others = [field.name for field in row._meta.concrete_fields]  # noqa: SLF001  (Django's name for it is public)
    type(row)._default_manager.bulk_create(  # noqa: SLF001
        [row], update_conflicts=True, unique_fields=[key], update_fields=others
    )


def _write_indices(state: StoredState, now: datetime) -> None:
    present = {row[0]: row[1:] for row in _index_rows(now)}
    changed = [
        IndexMapping(
            name=name,
            uuid=stored.uuid,
            mapping_hash=stored.mapping_hash,
            confirmed_at=None if stored.age_seconds is None else now - timedelta(seconds=stored.age_seconds),
            field_count=stored.field_count,
        )
        for name, stored in state.indices.items()
        if stored.age_seconds is not None
        or present.get(name) != (stored.uuid, stored.mapping_hash, None, stored.field_count)
    ]
    IndexMapping.objects.bulk_create(
        changed,
        batch_size=ROWS_AT_ONCE,
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=list(INDEX_COLUMNS[1:]),
    )
    _delete(IndexMapping.objects, [name for name in _keys(IndexMapping) if name not in state.indices])


def _write_aliases(state: StoredState) -> None:
    present = {name: (members, is_data_stream) for name, members, is_data_stream in _alias_rows()}
    Alias.objects.bulk_create(
        [
            Alias(name=name, indices=list(members), is_data_stream=name in state.data_streams)
            for name, members in state.aliases.items()
            if present.get(name) != (members, name in state.data_streams)
        ],
        batch_size=ROWS_AT_ONCE,
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["indices", "is_data_stream"],
    )
    _delete(Alias.objects, [name for name in _keys(Alias) if name not in state.aliases])


def _write_bodies(state: StoredState) -> None:
    present = set(_keys(MappingBody))
    MappingBody.objects.bulk_create(
        [MappingBody(mapping_hash=known, body=body) for known, body in state.bodies.items() if known not in present],
        batch_size=ROWS_AT_ONCE,
    )
    used = {stored.mapping_hash for stored in state.indices.values()}
    _delete(MappingBody.objects, [known for known in present if known not in used])


def _keys(model: type[Any]) -> Iterable[Any]:
    """Return the keys of all rows, even of rows that can't be read otherwise."""
    return cast("Iterable[Any]", model.objects.values_list("pk", flat=True))


def _delete(rows: models.Manager[Any], keys: list[str]) -> None:
    for start in range(0, len(keys), ROWS_AT_ONCE):
        rows.filter(pk__in=keys[start : start + ROWS_AT_ONCE]).delete()


def _lease(name: str, holder: str, ttl_seconds: float) -> Lease | float:
    # First the row, then the lock on it, then the time: so two processes that are the first at the same time find the
    # same row.
    _ensure(LeaseRow(name=name, token=0, holder="", expires_at=NEVER, ttl_seconds=ttl_seconds))
    row = LeaseRow.objects.select_for_update().filter(name=name).first()
    now = _now()
    if row is None or not is_lease(row):
        ignored_rows.note(LeaseRow, row is not None)
        # This is larger than any token that was reached by counting.
        row = LeaseRow(name=name, token=int(now.timestamp() * 1000), holder="", expires_at=NEVER, ttl_seconds=0.0)
    if row.holder != holder:
        # If the row expires later than its length allows, the clock was set back since it was written, and the row
        # doesn't count.
        if now < row.expires_at <= now + timedelta(seconds=row.ttl_seconds):
            return _seconds(row.expires_at - now)
        row.token += 1
        row.holder = holder
    row.ttl_seconds = ttl_seconds
    row.expires_at = now + timedelta(seconds=ttl_seconds)
    row.save()
    return Lease(name, row.token, ttl_seconds)


def check_lease(lease: Lease, otherwise: str) -> None:
    """Lock the row of a lease for the rest of the transaction, so that no later holder comes before its commit.

    Args:
        lease: The lease to check.
        otherwise: The error's text if there is a later holder.

    Raises:
        StaleToken: There is a later holder.
    """
    if not LeaseRow.objects.select_for_update().filter(name=lease.name, token=lease.token).exists():
        raise StaleToken(otherwise)


def _ensure(row: LeaseRow | Attempt) -> None:
    """Insert a row unless there is one with its key."""
    rows: Any = type(row).objects
    if not rows.filter(pk=row.pk).exists():
        rows.bulk_create([row], ignore_conflicts=True)


def _release(lease: Lease) -> None:
    LeaseRow.objects.filter(name=lease.name, token=lease.token).update(expires_at=Now(), holder="")


def _attempt(name: str, interval_seconds: float) -> float:
    _ensure(Attempt(name=name, at=NEVER))
    row = Attempt.objects.select_for_update().filter(name=name).first()
    now = _now()
    if row is None or not isinstance(row.at, datetime):
        ignored_rows.note(Attempt, row is not None)
        row = Attempt(name=name, at=NEVER)
    if row.at <= now:
        wait = interval_seconds - _seconds(now - row.at)
        if wait > 0:
            return wait
    row.at = now
    row.save()
    return 0.0


def _change(names: list[str], function: Callable[[Values, int], tuple[Values, T]]) -> T:
    # First the rows, then the locks on them, in the same order in all processes, then the time.
    SharedValue.objects.bulk_create([SharedValue(name=name, value=b"") for name in names], ignore_conflicts=True)
    rows = {row.name: row for row in SharedValue.objects.select_for_update().filter(pk__in=names).order_by("pk")}
    there: dict[str, bytes] = {}
    for name, row in rows.items():
        if not is_value(row.value):
            ignored_rows.note(SharedValue)
        elif row.value:
            there[name] = bytes(row.value)
    replaced, result = function(there, int(_now().timestamp() * 1000))
    for name, value in replaced.items():
        SharedValue.objects.filter(pk=name).update(value=value)
    return result


def _report(instance: str, report: bytes, ttl_seconds: float) -> None:
    now = _now()
    replace_row(InstanceReport(name=instance, at=now, expires_at=now + timedelta(seconds=ttl_seconds), report=report))
    over = models.Q(expires_at__lt=now) | models.Q(expires_at__gt=now + AHEAD)  # no report is kept that long
    InstanceReport.objects.filter(over).delete()


def _reports() -> dict[str, StoredReport]:
    rows = InstanceReport.objects.filter(expires_at__gte=Now()).annotate(now=Now()).order_by("name")[:MAX_INSTANCES]
    found: dict[str, StoredReport] = {}
    for row in rows:
        if is_report(row.name, row.at, row.report, row.now):
            found[row.name] = StoredReport(_seconds(row.now - row.at), bytes(row.report))
        else:
            ignored_rows.note(InstanceReport)
    return found


def _seconds(delta: timedelta) -> float:
    # The database's clock is a wall clock. If it was set back, an age is at least 0.
    return max(0.0, delta.total_seconds())
