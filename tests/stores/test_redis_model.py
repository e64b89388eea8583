"""Any sequence of operations on the Redis store gives what a store in memory gives."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheapp.state.published import StoredIndex, StoredState
from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores.protocol import Lease, Store
from cacheapp.stores.redis.store import open_redis_store
from dev.servers.redis import RedisServer
from esassistant.clock import monotonic
from esassistant.errors import StaleToken
from tests.support.fakes import MemoryStore
from tests.support.states import JITTER, LONG
from tests.support.stores import PATIENT

BODIES = {mapping_hash(body): body for body in (b"{}", b'{"a":1}', b'{"b":2}')}
NAMES = st.sampled_from(["a", "b", "c", "ü", "x" * 255])
INDICES = st.builds(
    StoredIndex,
    st.none() | st.text(max_size=30),
    st.sampled_from(list(BODIES)),
    st.none() | st.floats(0, 1e6),
    st.none() | st.integers(0, 10_000),
)


@st.composite
def states(draw: st.DrawFn) -> StoredState:
    """A state, with some of the bodies that it needs or all of them."""
    indices = draw(st.dictionaries(NAMES, INDICES))
    aliases = draw(st.dictionaries(NAMES, st.lists(NAMES, max_size=3).map(tuple)))
    used = sorted({stored.mapping_hash for stored in indices.values()})
    is_partial = draw(st.booleans())
    bodies = {known: BODIES[known] for known in used if not is_partial or draw(st.booleans())}
    data_streams = frozenset(name for name in sorted(aliases) if draw(st.booleans()))
    age = draw(st.floats(0, 1e6))
    unread = draw(st.frozensets(NAMES)) - indices.keys()
    uuid = draw(st.text(max_size=20))
    closed, hidden = draw(st.frozensets(NAMES)), draw(st.frozensets(NAMES))
    return StoredState(
        *(age, indices, aliases, bodies, data_streams, uuid, "urls"), unread=unread, closed=closed, hidden=hidden
    )


LEASES = st.sampled_from(["refresh", "watch"])
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("lease"), LEASES, st.sampled_from(["one", "two", "three"])),
        st.tuples(st.just("release"), st.integers(0, 5)),
        st.tuples(st.just("publish"), st.integers(0, 5), states()),
        st.tuples(st.just("attempt"), LEASES, st.sampled_from([0.0, LONG])),
        st.tuples(st.just("load"), st.sets(st.sampled_from(list(BODIES)))),
    ),
    max_size=25,
)


def comparable(state: StoredState) -> tuple[object, ...]:
    """All of a state but its bodies and its ages, of those whether there are any."""
    indices = {
        name: (stored.uuid, stored.mapping_hash, stored.age_seconds is None, stored.field_count)
        for name, stored in state.indices.items()
    }
    return (
        *(indices, dict(state.aliases), state.data_streams, state.unread, state.closed, state.hidden),
        *(state.cluster_uuid, state.cluster_urls),
    )


class Both:
    """Does everything to both stores, and compares."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.model = MemoryStore(monotonic)
        self.leases: list[tuple[Lease, Lease]] = []
        self.offset: int | None = None

    async def lease(self, name: str, holder: str) -> None:
        real, modelled = await self.store.lease(name, holder, LONG), await self.model.lease(name, holder, LONG)
        if isinstance(real, Lease) and isinstance(modelled, Lease):
            tokens = [(one.token, other.token) for one, other in self.leases if one.name == name]
            assert all((one < real.token) == (other < modelled.token) for one, other in tokens)
            self.leases.append((real, modelled))
        else:
            assert isinstance(real, float)
            assert real == pytest.approx(modelled, abs=JITTER)

    async def release(self, which: int) -> None:
        if self.leases:
            real, modelled = self.leases[which % len(self.leases)]
            await self.store.release(real)
            await self.model.release(modelled)

    async def publish(self, which: int, state: StoredState) -> None:
        if not self.leases:
            return
        real, modelled = self.leases[which % len(self.leases)]
        try:
            expected = await self.model.publish(state, modelled)
        except StaleToken:
            with pytest.raises(StaleToken):
                await self.store.publish(state, real)
            return
        generation = await self.store.publish(state, real)
        self.offset = generation - expected if self.offset is None else self.offset
        assert generation == expected + self.offset == await self.store.generation()

    async def attempt(self, name: str, interval_seconds: float) -> None:
        real = await self.store.attempt(name, interval_seconds)
        modelled = await self.model.attempt(name, interval_seconds)
        assert (real == 0.0) == (modelled == 0.0)
        assert real == pytest.approx(modelled, abs=JITTER)

    async def load(self, known: set[str]) -> None:
        real, modelled = await self.store.load(known), await self.model.load(known)
        if real is None or modelled is None:
            assert real is modelled
            return
        assert comparable(real.state) == comparable(modelled.state)
        # More than these, where a publication that was refused had written them before: they are known by their hash.
        assert modelled.state.bodies.items() <= real.state.bodies.items()
        assert real.state.age_seconds == pytest.approx(modelled.state.age_seconds, abs=JITTER)
        for name, stored in real.state.indices.items():
            assert stored.age_seconds == pytest.approx(modelled.state.indices[name].age_seconds, abs=JITTER)


@given(operations=OPERATIONS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_like_a_store_in_memory(redis_session: RedisServer, operations: list[tuple[Any, ...]]) -> None:
    """Leases, tokens, generations, attempts and states come out the same, whatever came before."""
    redis_session.empty()
    async with open_redis_store(redis_session.url, timeouts=PATIENT) as store:
        both = Both(store)
        for operation, *arguments in operations:
            await getattr(both, operation)(*arguments)
        await both.load(set())
