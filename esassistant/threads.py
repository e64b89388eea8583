"""What takes long, off the event loop."""

import asyncio
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

LARGE_BYTES = 65_536
"""So much is decompressed, taken apart or hashed in about a tenth of a millisecond, which is what a thread costs."""


async def in_thread_if_large(size_bytes: int, function: "Callable[[*Arguments], T]", *arguments: *Arguments) -> T:
    """What `function` returns; called in a thread when it works on many bytes, else right here."""
    if size_bytes < LARGE_BYTES:
        return function(*arguments)
    return await asyncio.to_thread(function, *arguments)
