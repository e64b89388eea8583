"""Work that would hold the event loop: in pieces between which others have their turn, or in a thread."""

import asyncio
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar, TypeVarTuple

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


Arguments = TypeVarTuple("Arguments")

LARGE_BYTES = 65_536
"""So much is decompressed, taken apart or hashed in about a tenth of a millisecond, which is what a thread costs."""


async def in_thread_if_large(size_bytes: int, function: "Callable[[*Arguments], T]", *arguments: *Arguments) -> T:
    """What `function` returns; called in a thread when it works on many bytes, else right here."""
    if size_bytes < LARGE_BYTES:
        return function(*arguments)
    return await asyncio.to_thread(function, *arguments)
