"""The model of a process: what it counts, shares and chooses, over a store in memory."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.demand.askers import ASKER, Asker
from cacheapp.demand.exchange import SHARED
from cacheapp.demand.learner import SHOWN_FAMILIES, DemandLearner
from cacheapp.demand.policy import WARM_SECONDS, Why
from cacheapp.state.readings import Listing
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from esassistant.config.model import Predict
from esassistant.errors import StoreUnavailable
from esassistant.shared_values import keep_exchanging
from tests.support.demand import DAY, MONDAY, SNAPSHOT, demand_learner, office_weeks
from tests.support.fakes import FakeClock, MemoryStore

COLD = WARM_SECONDS + 600


class World:
    """A deployment of processes that share a store."""

    def __init__(self) -> None:
        self.clock = FakeClock(MONDAY)
        self.store = MemoryStore(self.clock)
        self.ages: dict[str, float] = {}

    def process(self, mode: Predict = Predict.RULE, **more: Any) -> DemandLearner:
        return demand_learner(self.store, self.clock, mode, ages=lambda: self.ages, **more)


@pytest.fixture
def world() -> World:
    return World()


async def test_names_become_families(world: World) -> None:
    """An index of a series or an alias counts for it; names that are unknown or begin with a dot count for nothing."""
    one = world.process()
    for name in ("orders", "orders-1", "logs-2026.11.01", "logs-2026.11.02", "plain", ".system", "absent"):
        one.note(name)
    await one.exchange()
    other = world.process()
    await other.exchange()
    assert other.report().families == 3
    assert set(other.ranked()) == {"orders", "logs*", "plain"}
    assert other.choose({}, room_for_new=True).keys() == {"orders", "logs*", "plain"}


async def test_callers_by_kind(world: World) -> None:
    """By what the door said of them."""
    one = world.process()
    one.note("plain")
    for asker in (Asker.PERSON, Asker.AGENT, Asker.AGENT):
        token = ASKER.set(asker)
        one.note("plain")
        ASKER.reset(token)
    await one.exchange()
    family = one._demand.state.families["plain"]
    assert (family.last_day, family.persons, family.agents) == (4.0, 0.25, 0.5)


async def test_restart(world: World) -> None:
    """A new process knows what was learnt before it started."""
    one = world.process()
    for hour in range(30):
        one.note("plain")
        await one.exchange()
        world.clock.advance(3_600 if hour % 2 else 600)
    before = one.report()
    after_restart = world.process()
    assert after_restart.report().families == 0
    await after_restart.exchange()
    found = after_restart.report()
    assert found.families == 1
    assert 0 < before.examples_ever <= found.examples_ever <= before.examples_ever + 1
    assert found.learning_seconds is not None
    assert found.learning_seconds > DAY / 2


async def test_what_waits_is_chosen_at_once(world: World) -> None:
    """What was asked for since the last exchange, before the store knows of it; the newest first."""
    one = world.process(Predict.OFF)
    one.note("plain")
    world.clock.advance(5)
    one.note("orders-1")
    assert dict(one.choose({}, room_for_new=True)) == {"orders": Why.ASKED, "plain": Why.ASKED}
    assert list(one.choose({"orders": 60.0}, room_for_new=True)) == ["plain"]
    assert list(one.choose({"orders": COLD}, room_for_new=False)) == ["orders"]
    await one.exchange()
    assert list(one.choose({}, room_for_new=True)) == ["orders", "plain"]


async def test_modes(world: World) -> None:
    """Cold values are gathered ahead by the rule for a day; by the model if that is likely; otherwise on demand."""
    processes = {mode: world.process(mode) for mode in Predict}
    processes[Predict.OFF].note("plain")
    for one in processes.values():
        await one.exchange()
    world.clock.advance(COLD)
    chosen = {mode: list(one.choose({"plain": COLD - 60}, room_for_new=True)) for mode, one in processes.items()}
    assert chosen == {Predict.OFF: [], Predict.RULE: ["plain"], Predict.MODEL: []}
    model = processes[Predict.MODEL]
    model._demand.state.weights[0] = 10.0
    assert dict(model.choose({"plain": COLD - 60}, room_for_new=True)) == {"plain": Why.MODEL}
    world.clock.advance(DAY)
    assert list(processes[Predict.RULE].choose({"plain": DAY}, room_for_new=True)) == []


async def test_a_store_that_is_away(world: World) -> None:
    """What was counted waits for it, bounded, and isn't counted twice."""
    one = world.process(max_pending=2)
    one.note("plain")
    world.store.down = True
    with pytest.raises(StoreUnavailable):
        await one.exchange()
    one.note("plain")
    one.note("orders")
    one.note("logs-2026.11.01")
    assert one.report().uncounted_total == 1
    world.store.down = False
    await one.exchange()
    await one.exchange()
    assert one._demand.state.families["plain"].last_day == 2.0
    assert set(one.ranked()) == {"plain", "orders"}


async def test_noted_while_the_store_fails(world: World) -> None:
    """What comes while a failing exchange waits is added to what was taken."""
    one = world.process()
    one.note("plain")
    original = world.store.change

    async def failing(*arguments: object) -> None:
        one.note("plain")
        one.note("orders")
        raise StoreUnavailable("away")

    world.store.change = failing  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreUnavailable):
        await one.exchange()
    world.store.change = original  # type: ignore[method-assign]
    await one.exchange()
    assert one._demand.state.families["plain"].last_day == 2.0
    assert one._demand.state.families["orders"].last_day == 1.0


async def test_changes_of_mappings(world: World) -> None:
    """Another mapping of any index of a family is a change, seen by the next exchange; the same ones are none."""
    snapshots = [SNAPSHOT]
    one = world.process(snapshot=lambda: snapshots[0])
    one.note("orders")
    for _ in range(3):
        await one.exchange()
        world.clock.advance(60)
    assert one._demand.state.families["orders"].changes == 0
    changed = {**SNAPSHOT.indices, "orders-2": IndexEntry("u", "another", 0.0, Source.MEMORY)}
    snapshots[0] = Snapshot(indices=changed, aliases=SNAPSHOT.aliases)
    await one.exchange()
    assert one._demand.state.families["orders"].changes == 1.0


async def test_first_reads(world: World) -> None:
    """Names that were asked for since the start come first, then the likeliest; with the model off in no order."""
    listing = Listing("", dict.fromkeys(SNAPSHOT.indices, "u"), SNAPSHOT.aliases, frozenset())
    before = world.process()
    before.note("plain")
    await before.exchange()
    world.clock.advance(60)
    one = world.process()
    one.note("logs-2026.11.01")
    assert await one.first_indices(listing) == ["logs-2026.11.01", "logs-2026.11.02", "plain"]
    assert await world.process(Predict.MODEL).first_indices(listing) == [
        *("logs-2026.11.02", "logs-2026.11.01", "plain")
    ]
    off = world.process(Predict.OFF)
    off.note("plain")
    assert await off.first_indices(listing) == []


async def test_first_reads_without_a_store(world: World) -> None:
    """Names that were asked for since the start come first; nothing waits for the store longer than a moment."""
    listing = Listing("", dict.fromkeys(SNAPSHOT.indices, "u"), SNAPSHOT.aliases, frozenset())
    world.store.down = True
    one = world.process()
    one.note("plain")
    assert await one.first_indices(listing) == ["plain"]


async def test_an_exchange_that_is_given_up_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first pass no longer waits for is shared by the next exchange, with what was asked for meanwhile."""
    begun = asyncio.Event()

    async def hang(*_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    one = world.process()
    one.note("plain")
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "change", hang)
        exchange = asyncio.create_task(one.exchange())
        await begun.wait()
        one.note("plain")
        exchange.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange
    await one.exchange()
    assert one._demand.state.families["plain"].last_day == 2.0


async def test_report(world: World) -> None:
    """Families with values, those asked for last first, each with its reason; a bound on their number."""
    names = [f"family{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    snapshot = Snapshot(indices={name: IndexEntry("u", name, 0.0, Source.MEMORY) for name in names})
    one = world.process(snapshot=lambda: snapshot)
    empty = one.report()
    assert (empty.learning_seconds, empty.skill_percent, empty.asked_percent, empty.warmed) == (None, None, None, ())
    for name in names:
        one.note(name)
        world.clock.advance(1)
    await one.exchange()
    found = one.report()
    assert [row.family for row in found.warmed] == names[::-1][:SHOWN_FAMILIES]
    assert found.warmed[0].reason == "Asked for 1 s ago, within the last 24 h."
    assert (found.warmed[0].is_warm, found.warmed[0].missed_total, found.fates["missed"]) == (False, 1, 26)
    assert (found.shadow["rule"].asks_total, found.shadow["rule"].warm_percent) == (26, 0.0)


async def test_what_cannot_be_used_is_said(world: World) -> None:
    """In the report; and it begins anew."""
    await world.store.change((SHARED,), lambda _, __: ({SHARED: b"{"}, None), 1.0)
    one = world.process()
    await one.exchange()
    assert one.report().refused_state == "DecodeError"


async def test_skill(world: World) -> None:
    """By how much it errs less than whoever expects what is usual."""
    one = world.process()
    one._demand = office_weeks()
    found = one.report()
    assert found.skill_percent is not None
    assert 30 < found.skill_percent < 100
    assert found.asked_percent is not None
    assert 0 < found.asked_percent < 50


async def test_it_exchanges_each_minute(world: World) -> None:
    """Also after the store was away."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.clock.advance(seconds)
        world.store.down = len(slept) == 1
        if len(slept) == 3:
            raise asyncio.CancelledError

    one = world.process()
    one.note("plain")
    with suppress(asyncio.CancelledError):
        await keep_exchanging(one.exchange, sleep=sleep)
    assert slept == [60.0] * 3
    assert one.report().families == 1


@given(st.permutations(("plain", "orders", "logs-2026.11.01")), st.sampled_from(Predict))
def test_the_order_of_asks_within_a_moment_does_not_matter(names: list[str], mode: Predict) -> None:
    """Whichever came first in the same moment, the same is chosen."""

    async def chosen(in_order: list[str]) -> dict[str, Why]:
        world = World()
        one = world.process(mode)
        for name in in_order:
            one.note(name)
        await one.exchange()
        return dict(one.choose({}, room_for_new=True))

    assert list(asyncio.run(chosen(names)).items()) == list(asyncio.run(chosen(sorted(names))).items())
