"""Whether the store takes writes: what begins that it doesn't, and what ends it."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from cacheapp.state.published import StoredState
from cacheapp.stores.protocol import Lease, Store
from cacheapp.stores.writes import RecordingStore
from esassistant.errors import StaleToken, StoreRefused, StoreUnavailable
from tests.support.fakes import FakeClock

REFUSED = StoreRefused("Redis is full.", operator_detail="Redis at es:6379 is full.")
AWAY = StoreUnavailable("Redis is away.")
LEASE = Lease("refresh", 1, 30.0)
STATE = StoredState(0.0, {}, {}, {})


class OneAnswer:
    """A store that gives one answer to everything, or raises it."""

    def __init__(self) -> None:
        self.answer: Any = None

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def give(*_: object) -> Any:
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return give


WRITES: dict[str, tuple[Callable[[RecordingStore], Awaitable[object]], object]] = {
    "publish": (lambda store: store.publish(STATE, LEASE), 1),
    "lease": (lambda store: store.lease("refresh", "one", 30.0), LEASE),
    "report": (lambda store: store.report("one", b"{}", 15.0), None),
    "attempt": (lambda store: store.attempt("refresh", 60.0), 0.0),
}
"""Each write, and the answer that shows that it wrote."""
UNPROVEN: dict[str, tuple[Callable[[RecordingStore], Awaitable[object]], object]] = {
    "lease of another": (WRITES["lease"][0], 12.0),
    "attempt too early": (WRITES["attempt"][0], 12.0),
    "release": (lambda store: store.release(LEASE), None),
    "change": (lambda store: store.change(["one"], lambda *_: ({}, None), 60.0), None),
    "read": (lambda store: store.generation(), 1),
    "load": (lambda store: store.load(()), None),
    "reports": (lambda store: store.reports(), {}),
    "wait": (lambda store: store.wait_for_change(1.0), None),
}


@pytest.fixture
def inner() -> OneAnswer:
    return OneAnswer()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(inner: OneAnswer, clock: FakeClock) -> RecordingStore:
    return RecordingStore(cast("Store", inner), clock)


async def refuse(store: RecordingStore, inner: OneAnswer, error: Exception = REFUSED) -> None:
    inner.answer = error
    with pytest.raises(type(error)):
        await store.report("one", b"{}", 15.0)


@pytest.mark.parametrize("write", [*WRITES, "release", "change"])
async def test_a_refused_write_begins_it(store: RecordingStore, inner: OneAnswer, write: str) -> None:
    """Whatever was to be written: the cause is kept, and goes on to the caller."""
    inner.answer = REFUSED
    with pytest.raises(StoreRefused):
        await {**WRITES, **UNPROVEN}[write][0](store)
    assert store.refused is not None
    assert (store.refused.detail, store.refused.operator_detail) == (REFUSED.detail, REFUSED.operator_detail)
    assert store.refused_total == 1


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_that_wrote_ends_it(store: RecordingStore, inner: OneAnswer, write: str) -> None:
    """One is enough."""
    await refuse(store, inner)
    call, inner.answer = WRITES[write]
    assert await call(store) == inner.answer
    assert store.refused is None


@pytest.mark.parametrize("call", UNPROVEN)
async def test_what_may_have_written_nothing_ends_nothing(store: RecordingStore, inner: OneAnswer, call: str) -> None:
    """A read, or an answer that needs no write, says nothing of writes."""
    await refuse(store, inner)
    ask, inner.answer = UNPROVEN[call]
    await ask(store)
    assert store.refused is not None


@pytest.mark.parametrize("error", [AWAY, StaleToken("Another one has it.")], ids=["away", "stale token"])
async def test_other_failures_are_no_refusal(store: RecordingStore, inner: OneAnswer, error: Exception) -> None:
    """A store that is away neither begins nor ends it; nor does a lease that another process took over."""
    await refuse(store, inner, error)
    assert store.refused is None
    await refuse(store, inner)
    await refuse(store, inner, error)
    assert store.refused is not None
    assert store.refused_total == 1


async def test_a_refused_read_is_no_refused_write(store: RecordingStore, inner: OneAnswer) -> None:
    """Health asks by a read, and says then that the store can't be used at all."""
    inner.answer = REFUSED
    with pytest.raises(StoreRefused):
        await store.generation()
    assert store.refused is None


async def test_the_log_has_its_begin_and_its_end(
    store: RecordingStore, inner: OneAnswer, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Two lines however many writes were refused; the latest cause is kept, and since when the first was."""
    caplog.set_level(logging.INFO)
    await refuse(store, inner)
    first = store.refused
    assert first is not None
    clock.now += 65
    await refuse(store, inner, StoreRefused("It is read-only."))
    assert store.refused is not None
    assert (store.refused.detail, store.refused.since, store.refused.began) == (
        "It is read-only.",
        first.since,
        first.began,
    )
    inner.answer = None
    for _ in range(2):
        await store.report("one", b"{}", 15.0)
    assert [record.getMessage() for record in caplog.records] == [
        "Redis at es:6379 is full. What this process learns is not shared until a write succeeds.",
        "the store takes writes again, after 1 min 5 s",
    ]
