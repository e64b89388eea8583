"""Clients that leave before they are answered: what they asked for may take long, and nobody waits for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from esassistant.asgi_types import Receive

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
        work: it is run to its end, whatever happens.
        receive: of a request whose body has been received; what comes next is that its client has left.
    """
    answering = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(receive())
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        return await answering if answering.done() else None
    finally:
        answering.cancel()
        leaving.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)
