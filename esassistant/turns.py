"""Long work on the event loop in pieces, so that requests get their turn in between."""

import asyncio
from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")

TURN: Final = 2_000
"""So many small things are worked on in about a millisecond."""


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter (`itertools.batched` of Python 3.12)."""
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some


def at_once(work: Generator[None, None, T]) -> T:
    """The result of work that yields where others may have a turn, without giving any."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


async def in_turns(work: Generator[None, None, T]) -> T:
    """The result of the same, giving others a turn at each yield."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)
