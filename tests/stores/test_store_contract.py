"""What every backend of `cacheapp.stores.protocol.Store` holds, each on its real server: SQLite, Redis, PostgreSQL."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from cacheapp.state.published import StoredIndex
from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores.protocol import MAX_INSTANCES, MAX_REPORT_BYTES, Lease, Store
from esassistant.errors import StaleToken, StoreUnavailable
from esassistant.shared_values import Values
from tests.support.states import A_MAPPING, B_MAPPING, C_MAPPING, FIRST, JITTER, LONG, A, B, C, load, state, take
from tests.support.stores import Backend


async def test_nothing_published(store: Store) -> None:
    """Before the first publication there is generation 0 and nothing to load."""
    assert await store.generation() == 0
    assert await store.load(()) is None


async def test_round_trip(store: Store, other_store: Store) -> None:
    """Another instance loads what was published: uuids and field counts or their absence, aliases in their order, data
    streams, bodies, the cluster.
    """
    generation = await store.publish(FIRST, await take(store))
    loaded = await load(other_store)
    assert loaded.generation == generation == await other_store.generation()
    assert loaded.state.indices == FIRST.indices
    assert loaded.state.aliases == FIRST.aliases
    assert loaded.state.bodies == FIRST.bodies
    assert loaded.state.data_streams == {"logs"}
    assert (loaded.state.cluster_uuid, loaded.state.cluster_urls) == ("cluster", "urls")


async def test_a_listing_of_its_own(store: Store, other_store: Store) -> None:
    """A change pass lists the cluster later than the full pass whose mappings it shares: both ages come out, and the
    next full pass is its own listing again.
    """
    lease = await take(store)
    await store.publish(replace(FIRST, age_seconds=100.0, listed_age_seconds=10.0), lease)
    loaded = (await load(other_store)).state
    assert 100.0 <= loaded.age_seconds < 100.0 + JITTER
    assert loaded.listed_age_seconds is not None
    assert 10.0 <= loaded.listed_age_seconds < 10.0 + JITTER
    await store.publish(FIRST, lease)
    assert (await load(other_store)).state.listed_age_seconds is None


async def test_closed_and_hidden_indices(store: Store, other_store: Store) -> None:
    """They come out as they were published, and are open and shown with the next state that says nothing of them."""
    lease = await take(store)
    await store.publish(replace(FIRST, closed=frozenset({"a", "ü"}), hidden=frozenset({"b"})), lease)
    loaded = (await load(other_store)).state
    assert (loaded.closed, loaded.hidden) == (frozenset({"a", "ü"}), frozenset({"b"}))
    await store.publish(FIRST, lease)
    loaded = (await load(other_store)).state
    assert (loaded.closed, loaded.hidden) == (frozenset(), frozenset())


async def test_names_that_were_listed_but_not_read(store: Store, other_store: Store) -> None:
    """They come out as they were published, and are gone with the next state that has none."""
    lease = await take(store)
    unread = frozenset({"unread", "ünread"})
    await store.publish(replace(FIRST, unread=unread), lease)
    loaded = (await load(other_store)).state
    assert (loaded.unread, loaded.indices) == (unread, FIRST.indices)
    await store.publish(replace(FIRST, indices={}, aliases={}, bodies={}, unread=unread), lease)
    assert (await load(other_store)).state.unread == unread
    await store.publish(FIRST, lease)
    assert (await load(other_store)).state.unread == frozenset()


async def test_many_indices(store: Store) -> None:
    """A cluster of more indices than go into one step is published, loaded and removed whole."""
    bodies = [b'{"n":%d}' % number for number in range(600)]
    indices = {
        f"index-{number:05}": StoredIndex(f"u-{number}", mapping_hash(bodies[number % 600])) for number in range(1_100)
    }
    many = state(indices, *bodies)
    lease = await take(store)
    await store.publish(many, lease)
    loaded = await load(store)
    assert loaded.state.indices == many.indices
    assert loaded.state.bodies == many.bodies
    await store.publish(state({}), lease)
    emptied = await load(store)
    assert (emptied.state.indices, emptied.state.bodies) == ({}, {})


async def test_large_bodies(store: Store) -> None:
    """Mappings of several megabytes are shared too."""
    bodies = [b'{"%d":"%s"}' % (number, b"x" * 1_500_000) for number in range(4)]
    large = state({f"i-{number}": StoredIndex(None, mapping_hash(body)) for number, body in enumerate(bodies)}, *bodies)
    await store.publish(large, await take(store))
    assert (await load(store)).state.bodies == large.bodies


async def test_known_bodies_are_left_out(store: Store) -> None:
    """Who names the hashes that it has is sent the others only."""
    await store.publish(FIRST, await take(store))
    assert (await load(store, A, "unknown")).state.bodies == {B: B_MAPPING}
    assert (await load(store, A, B)).state.bodies == {}


async def test_generation_grows_by_one(store: Store, other_store: Store) -> None:
    """Each publication is the next generation, also one that changes nothing, and also under another lease."""
    lease = await take(store)
    first = await store.publish(FIRST, lease)
    assert first > 0
    assert await store.publish(FIRST, lease) == first + 1
    await store.release(lease)
    assert await other_store.publish(FIRST, await take(other_store, "two")) == first + 2
    assert (await load(store)).generation == first + 2


async def test_publication_replaces(store: Store) -> None:
    """A publication changes and removes indices, aliases and bodies: nothing of the former state is left."""
    lease = await take(store)
    await store.publish(FIRST, lease)
    second = state(
        {"a": StoredIndex("u-a2", C), "c": StoredIndex("u-c", C)}, C_MAPPING, aliases={"logs": ("c",), "y": ("a",)}
    )
    await store.publish(second, lease)
    loaded = (await load(store)).state
    assert (loaded.indices, loaded.aliases) == (second.indices, second.aliases)
    assert (loaded.bodies, loaded.data_streams) == ({C: C_MAPPING}, frozenset())
    await store.publish(state({"c": StoredIndex("u-c", C)}), lease)
    loaded = (await load(store)).state
    assert (set(loaded.indices), loaded.aliases, loaded.bodies) == ({"c"}, {}, {C: C_MAPPING})


async def test_lost_body_comes_back(store: Store) -> None:
    """A body that went with its last index is there again when an index needs it again."""
    lease = await take(store)
    for body in (A_MAPPING, B_MAPPING, A_MAPPING):
        await store.publish(state({"a": StoredIndex("u", mapping_hash(body))}, body), lease)
        assert (await load(store)).state.bodies == {mapping_hash(body): body}


async def test_ages_by_the_stores_clock(store: Store) -> None:
    """Ages go on in the store: a state that was 100 s old when it was published is that old or older when loaded."""
    aged = state({"a": StoredIndex("u", A, 250.0), "b": StoredIndex("u", A)}, A_MAPPING, age=100.0)
    await store.publish(aged, await take(store))
    await asyncio.sleep(0.05)
    loaded = (await load(store)).state
    # A store's clock may tick in milliseconds.
    assert 100.048 <= loaded.age_seconds < 100.05 + JITTER
    own = loaded.indices["a"].age_seconds
    assert own is not None
    assert own - loaded.age_seconds == pytest.approx(150.0, abs=0.01)
    assert loaded.indices["b"].age_seconds is None


async def test_confirmation_clears_own_age(store: Store) -> None:
    """An index that a later pass confirms has no age of its own any more, and one that it misses gets one."""
    lease = await take(store)
    await store.publish(state({"a": StoredIndex("u", A, 250.0), "b": StoredIndex("u", A)}, A_MAPPING), lease)
    await store.publish(state({"a": StoredIndex("u", A), "b": StoredIndex("u", A, 30.0)}, A_MAPPING), lease)
    indices = (await load(store)).state.indices
    assert indices["a"].age_seconds is None
    assert indices["b"].age_seconds == pytest.approx(30.0, abs=JITTER)


async def test_lease_excludes(store: Store, other_store: Store) -> None:
    """While one holds a lease, another is told how long it runs; leases of other names are free."""
    lease = await take(store, "one")
    assert (lease.name, lease.ttl_seconds) == ("refresh", LONG)
    wait = await other_store.lease("refresh", "two", LONG)
    assert isinstance(wait, float)
    assert LONG - JITTER < wait <= LONG
    assert (await take(other_store, "two", name="other")).name == "other"


async def test_concurrent_takers(store: Store, other_store: Store) -> None:
    """Of many who ask at once, from several processes, one gets a lease that was taken before."""
    await store.release(await take(store))
    stores = (store, other_store) * 8
    taken = await asyncio.gather(*(one.lease("refresh", f"holder-{number}", LONG) for number, one in enumerate(stores)))
    assert sum(isinstance(lease, Lease) for lease in taken) == 1


async def test_renewal(store: Store) -> None:
    """The holder asks again and keeps its token; the lease then runs from that moment."""
    first = await take(store, "one", 1.0)
    renewed = await take(store, "one", LONG)
    assert renewed.token == first.token
    wait = await store.lease("refresh", "two", LONG)
    assert isinstance(wait, float)
    assert wait > 1.0


async def test_expiry_and_fencing(store: Store, other_store: Store) -> None:
    """A lease that ran out goes to whoever asks, with a larger token; the late write of its former holder is
    refused.
    """
    late = await take(store, "one", 0.05)
    await asyncio.sleep(0.1)
    current = await take(other_store, "two")
    assert current.token > late.token
    generation = await other_store.publish(FIRST, current)
    with pytest.raises(StaleToken):
        await store.publish(state({}), late)
    loaded = await load(store)
    assert (loaded.generation, loaded.state.indices) == (generation, FIRST.indices)


async def test_publishing_without_lease(store: Store) -> None:
    """A lease that was never granted publishes nothing."""
    with pytest.raises(StaleToken):
        await store.publish(FIRST, Lease("refresh", 1, LONG))
    assert await store.load(()) is None


async def test_release(store: Store) -> None:
    """A lease given back is free at once, for its former holder too; the token still grows."""
    first = await take(store, "one")
    await store.release(first)
    second = await take(store, "two")
    assert second.token > first.token
    await store.release(second)
    assert (await take(store, "one")).token > second.token


async def test_late_release(store: Store) -> None:
    """Giving back a lease that another has meanwhile, or that nobody ever had, leaves all as it is."""
    late = await take(store, "one", 0.05)
    await asyncio.sleep(0.1)
    await take(store, "two")
    await store.release(late)
    await store.release(Lease("never", 1, LONG))
    assert isinstance(await store.lease("refresh", "one", LONG), float)


async def test_attempts_are_limited(store: Store, other_store: Store) -> None:
    """An attempt within the interval of the last noted one is told how long to wait, and is not noted itself."""
    assert await store.attempt("refresh", LONG) == 0.0
    first = await other_store.attempt("refresh", LONG)
    assert LONG - JITTER < first <= LONG
    await asyncio.sleep(0.02)
    assert await store.attempt("refresh", LONG) < first
    assert await store.attempt("other", LONG) == 0.0


async def test_attempt_after_interval(store: Store) -> None:
    """After the interval the next attempt is free; an interval of 0 limits nothing."""
    assert await store.attempt("refresh", 0.05) == 0.0
    await asyncio.sleep(0.1)
    assert await store.attempt("refresh", 0.05) == 0.0
    assert await store.attempt("refresh", 0.0) == 0.0


async def test_concurrent_attempts(store: Store, other_store: Store) -> None:
    """Of many attempts at once, from several processes, one goes ahead where there was one before."""
    assert await store.attempt("refresh", 0.0) == 0.0
    await asyncio.sleep(0.05)
    waits = await asyncio.gather(*(one.attempt("refresh", 0.04) for one in (store, other_store) * 8))
    assert waits.count(0.0) >= 1
    waits = await asyncio.gather(*(one.attempt("refresh", LONG) for one in (store, other_store) * 8))
    assert waits.count(0.0) == 0


async def test_first_takers(store: Store, other_store: Store) -> None:
    """Of two processes that ask for a lease that nobody ever had, one gets it and the other is told to wait."""
    await asyncio.gather(store.generation(), other_store.generation())
    for number in range(20):
        taken = await asyncio.gather(
            *(one.lease(f"lease-{number}", holder, LONG) for one, holder in ((store, "one"), (other_store, "two")))
        )
        assert sum(isinstance(lease, Lease) for lease in taken) == 1


async def test_first_attempts(store: Store, other_store: Store) -> None:
    """Of two processes that attempt what nobody ever attempted, one goes ahead."""
    await asyncio.gather(store.generation(), other_store.generation())
    for number in range(20):
        waits = await asyncio.gather(*(one.attempt(f"attempt-{number}", LONG) for one in (store, other_store)))
        assert waits.count(0.0) == 1


async def test_reports(store: Store, other_store: Store) -> None:
    """What instances say of themselves is read by all, byte by byte and by name; before anybody spoke there is
    nothing.
    """
    assert await store.reports() == {}
    large = b"x" * MAX_REPORT_BYTES
    for instance, said in {"host:2": large, "host:1": b'{"\xc3\xbc":1}', "host:3": b""}.items():
        await store.report(instance, said, LONG)
    reports = await other_store.reports()
    assert [(name, report.report) for name, report in reports.items()] == [
        ("host:1", b'{"\xc3\xbc":1}'),
        ("host:2", large),
        ("host:3", b""),
    ]
    assert all(0.0 <= report.age_seconds < JITTER for report in reports.values())


async def test_reports_age(store: Store) -> None:
    """A report grows older by the store's clock, and a new one takes its place."""
    await store.report("one", b"first", LONG)
    await asyncio.sleep(0.05)
    report = (await store.reports())["one"]
    assert 0.048 <= report.age_seconds < 0.05 + JITTER
    await store.report("one", b"second", LONG)
    reports = await store.reports()
    assert (list(reports), reports["one"].report) == (["one"], b"second")
    assert reports["one"].age_seconds < report.age_seconds + JITTER


async def test_reports_are_forgotten(store: Store, other_store: Store) -> None:
    """An instance that says nothing more is forgotten after its time; those who speak stay."""
    await store.report("gone", b"gone", 0.1)
    await other_store.report("alive", b"alive", LONG)
    await asyncio.sleep(0.2)
    assert list(await store.reports()) == ["alive"]
    await store.report("alive", b"alive", 0.1)
    await asyncio.sleep(0.2)
    assert await store.reports() == {}


async def test_reports_are_bounded(store: Store) -> None:
    """So many instances are told at most; a report that is too large is refused and changes nothing."""
    for number in range(MAX_INSTANCES + 10):
        await store.report(f"i-{number:04}", b"%d" % number, LONG)
    reports = await store.reports()
    assert len(reports) == MAX_INSTANCES
    assert all(report.report == b"%d" % int(name[2:]) for name, report in reports.items())
    name, before = next(iter(reports.items()))
    with pytest.raises(ValueError, match="at most"):
        await store.report(name, b"x" * (MAX_REPORT_BYTES + 1), LONG)
    assert (await store.reports())[name].report == before.report


async def test_concurrent_publishers_and_readers(store: Store, other_store: Store) -> None:
    """Who publishes at once ends in one of the states, whole; who loads meanwhile sees whole states only."""
    bodies = [b'{"n":%d}' % number for number in range(8)]
    states = [
        state({f"i-{number}": StoredIndex("u", mapping_hash(body)), "all": StoredIndex("u", mapping_hash(body))}, body)
        for number, body in enumerate(bodies)
    ]
    lease = await take(store)
    first = await store.publish(states[0], lease)
    done = asyncio.Event()

    async def read() -> int:
        seen = 0
        while not done.is_set():
            loaded = (await load(other_store)).state
            assert any(loaded.indices == one.indices and loaded.bodies == one.bodies for one in states)
            seen += 1
        return seen

    reader = asyncio.create_task(read())
    publishers = ((store, other_store)[number % 2].publish(one, lease) for number, one in enumerate(states))
    generations = await asyncio.gather(*publishers)
    done.set()
    assert await reader > 0
    assert sorted(generations) == list(range(first + 1, first + 9))
    last = states[generations.index(max(generations))]
    loaded = await load(other_store)
    assert (loaded.generation, loaded.state.indices, loaded.state.bodies) == (first + 8, last.indices, last.bodies)


@pytest.mark.parametrize("backend", ["redis", "postgresql"], indirect=True)
async def test_stopped_server(backend: Backend) -> None:
    """While the server is away, every operation says that the store can't be reached; afterwards all goes on."""
    assert backend.stop is not None
    assert backend.start is not None
    async with backend.open() as store:
        lease = await take(store)
        await store.publish(FIRST, lease)
        await asyncio.to_thread(backend.stop)
        try:
            for operation in (
                *(store.generation(), store.load(()), store.publish(FIRST, lease), store.lease("refresh", "one", LONG)),
                *(store.release(lease), store.attempt("refresh", 1.0)),
                *(store.report("one", b"{}", LONG), store.reports()),
            ):
                with pytest.raises(StoreUnavailable) as caught:
                    await operation
                assert caught.value.retry_after_seconds is not None
        finally:
            await asyncio.to_thread(backend.start)
        await asyncio.sleep(1.1)
        assert await store.publish(FIRST, await take(store)) > 0


def appended(letter: bytes) -> Callable[[Values, int], tuple[Values, bytes]]:
    """A change that appends a letter to both values, and gives the first as it was."""

    def change(values: Values, now: int) -> tuple[Values, bytes]:
        assert now > 0
        return {name: values.get(name, b"") + letter for name in ("one", "two")}, values.get("one", b"")

    return change


async def test_values_change_one_after_the_other(store: Store, other_store: Store) -> None:
    """However many change values at once, no change is lost, and each sees both values of one moment."""
    letters = [bytes([letter]) for letter in b"abcdefgh"]
    stores = (store, other_store)
    seen = await asyncio.gather(
        *(stores[i % 2].change({"one", "two"}, appended(letter), LONG) for i, letter in enumerate(letters))
    )
    final: dict[str, bytes] = await store.change({"one", "two"}, lambda values, _: ({}, dict(values)), LONG)
    assert final["one"] == final["two"]
    assert sorted(final["one"]) == sorted(b"".join(letters))
    assert sorted(map(len, seen)) == list(range(8))


async def test_values_that_are_not_there(store: Store) -> None:
    """A value that nobody has written isn't among those that are given, and a change of nothing writes nothing."""
    for _ in range(2):
        assert await store.change({"none"}, lambda values, _: ({}, dict(values)), LONG) == {}


async def test_a_failed_change_changes_nothing(store: Store) -> None:
    """When the function fails, its error comes through and the values stay."""

    def fail(values: Values, now: int) -> tuple[Values, None]:
        raise LookupError(f"{len(values)} at {now}")

    await store.change({"one"}, lambda *_: ({"one": b"kept"}, None), LONG)
    with pytest.raises(LookupError):
        await store.change({"one"}, fail, LONG)
    assert await store.change({"one"}, lambda values, _: ({}, dict(values)), LONG) == {"one": b"kept"}
