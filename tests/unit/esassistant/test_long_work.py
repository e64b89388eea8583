"""Long work in pieces, and what is too large for the loop."""

import asyncio
import threading
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.long_work import LARGE_BYTES, at_once, batched, in_thread_if_large, in_turns


@given(st.lists(st.integers()), st.integers(1, 10))
def test_batches(items: list[int], size: int) -> None:
    """Batches have all items in their order, none is empty, and all but the last are full."""
    batches = list(batched(items, size))
    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(batches)


def work(steps: int) -> Generator[None, None, str]:
    for _ in range(steps):
        yield
    return f"done in {steps}"


@pytest.mark.parametrize("steps", [0, 1, 5])
async def test_others_get_a_turn_at_each_step(steps: int) -> None:
    """In turns, something else runs between each two steps; the result is that of the work at once."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    assert await in_turns(work(steps)) == at_once(work(steps)) == f"done in {steps}"
    task.cancel()
    assert turns == steps


@pytest.mark.parametrize("size", [LARGE_BYTES - 1, LARGE_BYTES])
async def test_large_work_leaves_the_loop(size: int) -> None:
    """From a certain size on a function runs in a thread; its result and its errors are the same."""
    threads: list[int] = []

    def divide(over: int, under: int) -> float:
        threads.append(threading.get_ident())
        return over / under

    assert await in_thread_if_large(size, divide, 6, 3) == 2
    with pytest.raises(ZeroDivisionError):
        await in_thread_if_large(size, divide, 1, 0)
    assert {thread == threading.get_ident() for thread in threads} == {size < LARGE_BYTES}
