"""A gate: so many at once, so many more wait, and nobody is forgotten."""

import asyncio

import pytest

from esassistant.http.gate import PER_TURN, Gate

TURNS = 5
"""Of the loop: more than anything here takes that doesn't wait for a clock."""


async def settle() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def entered(gate: Gate, count: int) -> list["asyncio.Task[bool]"]:
    tasks = [asyncio.create_task(gate.enter()) for _ in range(count)]
    await settle()
    return tasks


def results(tasks: list["asyncio.Task[bool]"]) -> list[bool | None]:
    return [task.result() if task.done() else None for task in tasks]


async def test_so_many_at_once_and_so_many_wait() -> None:
    """Two enter, two wait, the fifth is refused at once; a place goes to who has waited the longest."""
    gate = Gate(2, 2)
    tasks = await entered(gate, 5)
    assert results(tasks) == [True, True, None, None, False]
    gate.leave()
    late = await entered(gate, 1)
    assert results(tasks + late) == [True, True, True, None, False, None]
    gate.leave()
    gate.leave()
    await settle()
    assert results(tasks + late) == [True, True, True, True, False, True]


async def test_waiting_has_an_end() -> None:
    """Who has waited long enough is refused, and takes no place later."""
    gate = Gate(1, 1, seconds=0.01)
    tasks = await entered(gate, 2)
    assert await asyncio.wait_for(tasks[1], 1) is False
    gate.leave()
    assert results(await entered(gate, 1)) == [True]


@pytest.mark.parametrize("handed_over", [False, True])
async def test_who_is_cancelled_leaves_no_place_taken(handed_over: bool) -> None:
    """Whether it still waits, or was given its place in the same turn of the loop."""
    gate = Gate(1, 2)
    tasks = await entered(gate, 2)
    if handed_over:
        gate.leave()
    tasks[1].cancel()
    await settle()
    assert tasks[1].cancelled()
    if not handed_over:
        gate.leave()
    assert results(await entered(gate, 2)) == [True, None]


async def test_who_is_cancelled_on_entering_leaves_no_place_taken() -> None:
    """It had a place already, and not yet gone on."""
    gate = Gate(1, 1)
    task = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    task.cancel()
    await settle()
    assert task.cancelled()
    assert results(await entered(gate, 1)) == [True]


@pytest.mark.parametrize("at_once", [3, 30])
async def test_what_never_waits_is_let_through_in_turns(at_once: int) -> None:
    """However many come in one turn of the loop, and whether they wait for a place or not: few run before others get
    theirs.
    """
    gate, ran = Gate(at_once, 100), 0

    async def request() -> None:
        nonlocal ran
        assert await gate.enter()
        ran += 1
        gate.leave()

    tasks = [asyncio.create_task(request()) for _ in range(30)]
    most = 0
    while ran < 30:
        before = ran
        await asyncio.sleep(0)
        most = max(most, ran - before)
    await asyncio.gather(*tasks)
    assert most <= PER_TURN


async def test_who_is_cancelled_before_its_turn_is_passed_over() -> None:
    """More entered in one turn of the loop than one turn lets go on; one of the rest leaves before its own turn."""
    gate = Gate(PER_TURN + 2, 0)
    tasks = [asyncio.create_task(gate.enter()) for _ in range(PER_TURN + 2)]
    await asyncio.sleep(0)
    tasks[-1].cancel()
    tasks[0].cancel()
    await settle()
    assert [task.cancelled() for task in tasks] == [True, *[False] * PER_TURN, True]
    assert all(task.result() for task in tasks[1:-1])
    assert results(await entered(gate, 3)) == [True, True, False]


async def test_a_wait_that_ends_as_its_place_comes() -> None:
    """The place came first in the same turn of the loop as the end of the wait: it is taken, and lost to nobody."""
    gate = Gate(1, 1, seconds=0.0)
    tasks = [asyncio.create_task(gate.enter()) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the timer is due in this turn, after what runs here
    gate.leave()
    await settle()
    assert results(tasks) == [True, True]
    gate.leave()
    assert results(await entered(gate, 1)) == [True]


async def test_a_place_goes_past_who_has_just_left() -> None:
    """Who is cancelled in the turn in which a place becomes free is passed over."""
    gate = Gate(1, 2)
    tasks = await entered(gate, 3)
    tasks[1].cancel()
    gate.leave()
    await settle()
    assert (tasks[1].cancelled(), tasks[2].done() and tasks[2].result()) == (True, True)
