"""Single-flight: one call for many callers, and nobody notices when another caller leaves."""

import asyncio
import gc
import traceback
import weakref
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.errors import ClusterUnavailable, RegistryNotOpen
from esassistant.single_flight import SingleFlight, SingleFlightReport
from esassistant.tasks import Tasks
from tests.support.fakes import FakeClock


class Source:
    """Something to call: counts its calls and answers when it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.answer = asyncio.Event()
        self.error: BaseException | None = None

    async def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        await self.answer.wait()
        if self.error is not None:
            raise self.error
        return number


@pytest.fixture
async def source() -> Source:
    return Source()


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


@pytest.fixture
def flights(tasks: Tasks, fake_clock: FakeClock) -> SingleFlight[str, int]:
    return SingleFlight(partial(tasks.flight, name="flight", owner="test"), remembered_failures=2, clock=fake_clock)


async def begun(*coroutines: asyncio.Task[int]) -> list[asyncio.Task[int]]:
    for _ in range(3):
        await asyncio.sleep(0)
    return list(coroutines)


async def test_one_call_for_all(flights: SingleFlight[str, int], source: Source) -> None:
    """Callers of one key share one call and its result; a later caller starts a new one."""
    callers = await begun(*(asyncio.create_task(flights.do("a", source)) for _ in range(50)))
    assert flights.report() == SingleFlightReport(
        flights_total=1, shared_total=49, remembered_failures_total=0, in_flight=1
    )
    source.answer.set()
    assert await asyncio.gather(*callers) == [1] * 50
    assert await flights.do("a", source) == 2
    assert flights.report() == SingleFlightReport(2, 49, 0, 0)


async def test_keys_are_apart(flights: SingleFlight[str, int], source: Source) -> None:
    """Different keys are different flights, under way at the same time."""
    callers = await begun(*(asyncio.create_task(flights.do(key, source)) for key in "ab"))
    assert (source.calls, flights.report().in_flight) == (2, 2)
    source.answer.set()
    assert sorted(await asyncio.gather(*callers)) == [1, 2]


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_every_call_is_counted_once(keys: list[str]) -> None:
    """Whatever comes, each call either makes a flight or shares one, and each key in the air has one flight."""

    async def run() -> None:
        source = Source()
        flights = SingleFlight[str, int](partial(Tasks().flight, name="flight", owner="test"))
        callers = await begun(*(asyncio.create_task(flights.do(key, source)) for key in keys))
        stats = flights.report()
        assert stats.flights_total == stats.in_flight == source.calls == len(set(keys))
        assert stats.flights_total + stats.shared_total == len(keys)
        source.answer.set()
        await asyncio.gather(*callers)
        assert flights.report().in_flight == 0

    asyncio.run(run())


@pytest.mark.parametrize("leaver", [0, 1])
async def test_any_caller_may_leave(flights: SingleFlight[str, int], source: Source, leaver: int) -> None:
    """A cancelled caller, the first one included, ends alone: the others get the result of the same call."""
    callers = await begun(*(asyncio.create_task(flights.do("a", source)) for _ in range(3)))
    callers[leaver].cancel()
    await asyncio.wait([callers[leaver]])
    assert callers.pop(leaver).cancelled()
    source.answer.set()
    assert await asyncio.gather(*callers) == [1, 1]
    assert source.calls == 1


async def test_a_flight_goes_on_without_callers(flights: SingleFlight[str, int], source: Source) -> None:
    """When all callers have left, the flight still lands, and whoever comes meanwhile joins it."""
    [caller] = await begun(asyncio.create_task(flights.do("a", source)))
    caller.cancel()
    await asyncio.wait([caller])
    flight = flights.start("a", source)
    source.answer.set()
    assert await flight == 1
    assert flights.report() == SingleFlightReport(1, 1, 0, 0)


async def test_a_failure_is_shared_and_remembered(
    flights: SingleFlight[str, int], source: Source, fake_clock: FakeClock
) -> None:
    """All callers get the failure; so do those of the next second, without a call; then it is forgotten."""
    source.error = OSError("boom")
    source.answer.set()
    failed = await asyncio.gather(*(flights.do("a", source) for _ in range(3)), return_exceptions=True)
    assert failed == [source.error] * 3
    fake_clock.now += 0.9
    with pytest.raises(OSError, match="boom"):
        await flights.do("a", source)
    with pytest.raises(OSError, match="boom"):
        flights.start("a", source)
    assert (source.calls, flights.report()) == (1, SingleFlightReport(1, 2, 2, 0))
    fake_clock.now += 0.1
    source.error = None
    assert await flights.do("a", source) == 2
    assert await flights.do("a", source) == 3


async def test_remembered_failures_do_not_grow(flights: SingleFlight[str, int], source: Source) -> None:
    """Raising a remembered failure again and again doesn't lengthen its traceback."""
    source.error = OSError("boom")
    source.answer.set()
    lengths = set()
    for _ in range(20):
        with pytest.raises(OSError, match="boom") as caught:
            await flights.do("a", source)
        lengths.add(len(traceback.extract_tb(caught.value.__traceback__)))
    assert source.calls == 1
    assert len(lengths) <= 2  # of the flight itself, and of a memory


async def test_failures_kept_are_bounded(flights: SingleFlight[str, int], source: Source) -> None:
    """Beyond the bound the oldest failure is forgotten: its key is tried again, the newer ones are not."""
    source.error = OSError("boom")
    source.answer.set()
    for key in ("a", "b", "c", "b", "c", "a"):
        with pytest.raises(OSError, match="boom"):
            await flights.do(key, source)
    assert (source.calls, flights.report().remembered_failures_total) == (4, 2)


@pytest.mark.parametrize("error", [None, OSError("boom")])
async def test_old_failures_are_not_kept(
    tasks: Tasks, source: Source, fake_clock: FakeClock, error: OSError | None
) -> None:
    """What is not remembered any more, nor asked for again, goes with the next flights that land, whichever way."""
    flights: SingleFlight[int, int] = SingleFlight(
        partial(tasks.flight, name="flight", owner="test"), remembered_failures=100, clock=fake_clock
    )
    source.error = OSError("boom")
    source.answer.set()
    await asyncio.gather(*(flights.do(key, source) for key in range(10)), return_exceptions=True)
    fake_clock.now += 1.0
    source.error = error
    await asyncio.gather(*(flights.do(key, source) for key in (10, 11)), return_exceptions=True)
    assert list(flights._failures) == ([] if error is None else [10, 11])


async def test_flights_ended_by_their_owner(flights: SingleFlight[str, int], tasks: Tasks, source: Source) -> None:
    """When the owner closes, waiting callers get an error that says so, not a cancellation; it isn't remembered."""
    callers = await begun(*(asyncio.create_task(flights.do("a", source)) for _ in range(2)))
    await tasks.cancel("test", 1)
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RegistryNotOpen, RegistryNotOpen]
    source.answer.set()
    assert await flights.do("a", source) == 2


async def test_a_caller_cancelled_with_its_flight(
    flights: SingleFlight[str, int], tasks: Tasks, source: Source
) -> None:
    """A caller that is itself cancelled while the owner closes stays cancelled."""
    [caller] = await begun(asyncio.create_task(flights.do("a", source)))
    flight = flights.start("a", source)
    flight.cancel()
    caller.cancel()
    await asyncio.wait([caller, flight])
    assert (caller.cancelled(), flight.cancelled()) == (True, True)


class Body:
    """Something large that a failing call works on."""


async def test_a_remembered_failure_keeps_nothing_alive(tasks: Tasks, fake_clock: FakeClock) -> None:
    """What was under way where a known error was raised, or what it was raised from, is let go with the call."""
    bodies: list[weakref.ref[Body]] = []

    async def fail() -> None:
        body = Body()
        bodies.append(weakref.ref(body))
        try:
            int("no number")
        except ValueError as error:
            raise ClusterUnavailable("no answer") from error

    spawn = partial(tasks.flight, name="flight", owner="test")
    flights: SingleFlight[str, None] = SingleFlight(spawn, clock=fake_clock)
    for _ in range(2):
        with pytest.raises(ClusterUnavailable) as caught:
            await flights.do("a", fail)
        assert isinstance(caught.value.__cause__, ValueError)
        del caught
        gc.collect()
        assert [body() for body in bodies] == [None]
    assert flights.report().remembered_failures_total == 1
