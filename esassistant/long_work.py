"""Runs long work without blocking the event loop: in pieces, between which other tasks run, or in a thread."""

import asyncio
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar, TypeVarTuple

T = TypeVar("T")

TURN: Final = 2_000
"""How many small items take about a millisecond."""


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` items; the last one may be shorter. (`itertools.batched` needs Python 3.12.)"""
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some


def at_once(work: Generator[None, None, T]) -> T:
    """Run a generator to its end without a break, and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


async def in_turns(work: Generator[None, None, T]) -> T:
    """Run a generator and return its result. At each `yield`, other tasks of the loop run."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)


Arguments = TypeVarTuple("Arguments")

LARGE_BYTES = 65_536
"""Decompressing, parsing or hashing this much takes about a tenth of a millisecond, as much as starting a thread."""


async def in_thread_if_large(
    size_bytes: int, function: "Callable[[*Arguments], T]", *arguments: *Arguments, large_bytes: int = LARGE_BYTES
) -> T:
    """Return the result of `function`. It is called in a thread if it works on `large_bytes` or more, else directly."""
    if size_bytes < large_bytes:
        return function(*arguments)
    return await asyncio.to_thread(function, *arguments)
