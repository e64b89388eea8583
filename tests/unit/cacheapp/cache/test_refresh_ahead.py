"""The rule of what is made anew after a change: the newest first, within a share of a processor."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from cacheapp.cache.refresh_ahead import ProcessorShare, RefreshAhead, Room, Shelf
from cacheapp.state.asked_for import AskedFor
from tests.support.fakes import FakeClock


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.001, 2)), min_size=1, max_size=30))
def test_never_more_than_the_share(works: list[tuple[float, float]]) -> None:
    """Who waits as told spends at most the share of the time, and what was saved up of a minute; one work may be longer
    than what is left, and the next waits for it.
    """
    now, spent, longest = 0.0, 0.0, 0.0
    budget = ProcessorShare(now)
    for pause, seconds in works:
        now += pause
        now += budget.wait_seconds(now)
        assert spent <= 0.02 * (now + 60) + longest + 1e-9
        assert budget.wait_seconds(now) <= 1e-9
        budget.spend(seconds)
        spent, longest, now = spent + seconds, max(longest, seconds), now + seconds


def test_nothing_to_wait_for() -> None:
    """A minute's share may be spent at once; then it takes fifty times as long as it was used."""
    budget = ProcessorShare(0.0)
    assert budget.wait_seconds(0.0) == 0.0
    budget.spend(1.2)
    assert budget.wait_seconds(0.0) == 0.0
    budget.spend(0.1)
    assert abs(budget.wait_seconds(0.0) - 5.0) < 1e-9
    assert abs(budget.wait_seconds(4.0) - 1.0) < 1e-9
    assert budget.wait_seconds(6.0) == 0.0


def test_room() -> None:
    """Each shelf takes what comes until it is full, the last one whatever its size; what is there counts once."""
    room = Room(10, 5)
    for key in ("a", "a", "b"):
        assert room.has(Shelf.MAPPINGS)
        room.take(Shelf.MAPPINGS, key, 6)
    assert [room.has(shelf) for shelf in Shelf] == [False, True]
    assert not room.is_full
    room.take(Shelf.TEXTS, "c", 5)
    assert room.is_full


@dataclass
class Ahead:
    """A refresh ahead whose rebuilding takes a second of a clock that waiting moves too."""

    clock: FakeClock = field(default_factory=FakeClock)
    rebuilt: list[str] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    size_bytes: int = 1
    change_during: str = ""

    def __post_init__(self) -> None:
        self.asked: AskedFor[str] = AskedFor(self.clock)
        self.ahead = RefreshAhead(
            self.asked, self.rebuild, new_room=lambda: Room(100, 100), clock=self.clock, sleep=self.sleep
        )

    async def rebuild(self, _kind: str, name: str, room: Room) -> None:
        for shelf in Shelf:
            room.take(shelf, (shelf, name), self.size_bytes)
        self.clock.advance(1.0)
        self.rebuilt.append(name)
        if name == self.change_during:
            self.change_during = ""
            self.asked.note("fields", "late")
            self.ahead.note_change()

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)


async def test_the_newest_first_within_the_share() -> None:
    """Everything that was asked for lately is made anew, and it takes as long as the share of a processor asks for."""
    made = Ahead()
    for name in ("a", "b", "c", "d"):
        made.asked.note("fields", name)
    began_at = made.clock.now
    await made.ahead.catch_up()
    assert made.rebuilt == ["d", "c", "b", "a"]
    assert made.ahead.rebuilt_seconds_total == 4.0
    # 1.2 s are saved up; so the third waits until 2 s have been earned, the fourth for one more.
    assert made.clock.now - began_at >= (3 - 1.2) / 0.02


async def test_a_change_meanwhile_begins_anew() -> None:
    """What was asked for last is first again."""
    made = Ahead(change_during="b")
    for name in ("a", "b"):
        made.asked.note("fields", name)
    await made.ahead.catch_up()
    assert made.rebuilt == ["b"]
    await made.ahead.catch_up()
    assert made.rebuilt == ["b", "late", "b", "a"]


async def test_only_while_there_is_room() -> None:
    """What wouldn't be kept until it is asked for isn't made."""
    made = Ahead(size_bytes=60)
    for name in ("a", "b", "c"):
        made.asked.note("fields", name)
    await made.ahead.catch_up()
    assert made.rebuilt == ["c", "b"]


async def test_it_runs_after_each_change() -> None:
    """Nothing happens before one; two before it had its turn count once."""
    made = Ahead()
    made.asked.note("fields", "a")
    task = asyncio.create_task(made.ahead.run())
    await asyncio.sleep(0.01)
    assert made.rebuilt == []
    made.ahead.note_change()
    made.ahead.note_change()
    await asyncio.sleep(0.01)
    made.ahead.note_change()
    await asyncio.sleep(0.01)
    assert made.rebuilt == ["a", "a"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
