"""Notices clients that leave before they are answered: their requests may take long, and nobody
waits for the answers.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from esassistant.asgi_types import Receive

WATCHED_AFTER_SECONDS = 0.05
"""How long after the start of the work the client begins to be watched. If it leaves earlier, that is noticed then."""

T = TypeVar("T")


async def whole_body(receive: Receive) -> bytes | None:
    """Return the body of a request, or None if the client leaves before it is complete."""
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
    """Return the result of `work`. If the client leaves first, cancel `work` and return None.

    Args:
        work: It is awaited here, in the task of the request.
        receive: The `receive` of a request whose body has been received. So the next message says that the client has
            left.
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

    # Start the task for the watch only later: it costs as much as all other layers together, and most requests are
    # answered before.
    timer = loop.call_later(WATCHED_AFTER_SECONDS, begin)
    try:
        return await work
    except asyncio.CancelledError:
        # As in `asyncio.timeout`: if somebody else cancelled this task too, obey.
        if has_left and task.uncancel() <= cancelled_before:
            return None
        raise
    finally:
        timer.cancel()
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
