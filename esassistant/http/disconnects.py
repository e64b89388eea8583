"""Clients that leave before they are answered: what they asked for may take long, and nobody waits for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from esassistant.asgi_types import Receive

WATCHED_AFTER_SECONDS = 0.05
"""A client that leaves sooner is noticed then."""

T = TypeVar("T")


async def whole_body(receive: Receive) -> bytes | None:
    """The body of a request; None when the client leaves before it is whole."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        return body
    parts = bytearray()
    while message["type"] != "http.disconnect":
        parts += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(parts)
        message = await receive()
    return None


async def unless_left(work: Coroutine[Any, Any, T], receive: Receive) -> T | None:
    """What `work` gives, or None when the client leaves first: then it is cancelled.

    Args:
        work: awaited here, in the task of the request.
        receive: of a request whose body has been received; what comes next is that its client has left.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    watching: asyncio.Task[None] | None = None
    has_left = False

    async def watch() -> None:
        nonlocal has_left
        await receive()
        has_left = True
        task.cancel()

    def begin() -> None:
        nonlocal watching
        watching = loop.create_task(watch())

    # A task for each request costs as much as the rest of the spine; most are answered before it would begin.
    timer = loop.call_later(WATCHED_AFTER_SECONDS, begin)
    try:
        return await work
    except asyncio.CancelledError:
        # As `asyncio.timeout` does it: who else cancelled this task is obeyed.
        if has_left and task.uncancel() <= cancelled_before:
            return None
        raise
    finally:
        timer.cancel()
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
