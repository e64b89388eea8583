"""The lifespan: opens the registry when the server starts, drains, and closes the registry when the server stops.

uvicorn closes its listeners as soon as it gets a signal, before any load balancer could notice. So we hold the first
signal back: `/readyz` turns 503 while requests are still served, and after `drain_seconds` the signal is passed on to
the server. A second signal is passed on at once. (The protocol is handled as in Starlette's `Router.lifespan`.)
"""

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from esassistant.asgi_types import ASGIApp, Receive, Scope, Send
from esassistant.registry import Registry, State

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
PARENT_POLL_SECONDS = 1.0


class Lifespan:
    """ASGI wrapper around the whole application. Lives as long as the process."""

    def __init__(
        self,
        app: ASGIApp,
        registry: Registry,
        drain_seconds: float,
        *,
        before_end: Callable[[], None] = lambda: None,
        parent_poll_seconds: float = PARENT_POLL_SECONDS,
    ) -> None:
        """
        Args:
            before_end: Called on the loop when the drain is over. From then on the server waits for open requests, so
                this must end those that would never end by themselves.
        """
        self._app = app
        self._registry = registry
        self._drain_seconds = drain_seconds
        self._before_end = before_end
        self._parent_poll_seconds = parent_poll_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._app(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        opening = asyncio.current_task()
        assert opening is not None
        started = False
        with self._held_back_signals(opening):
            try:
                async with self._registry.open():
                    watch = asyncio.create_task(_end_with_parent(self._parent_poll_seconds), name="lifespan:parent")
                    started = True
                    # All objects that exist now stay alive. Without them, each garbage collection saves some 20 ms.
                    gc.collect()
                    gc.freeze()
                    await send({"type": "lifespan.startup.complete"})
                    try:
                        await receive()  # lifespan.shutdown
                    finally:
                        gc.unfreeze()
                        watch.cancel()
            except Exception as error:
                logger.exception("the registry could not be %s", "closed" if started else "opened")
                await send({"type": f"lifespan.{'shutdown' if started else 'startup'}.failed", "message": str(error)})
            except asyncio.CancelledError:
                if started:
                    raise
                await send({"type": "lifespan.startup.failed", "message": "ended by a signal while starting"})
            else:
                await send({"type": "lifespan.shutdown.complete"})

    @contextmanager
    def _held_back_signals(self, opening: asyncio.Task[Any]) -> Iterator[None]:
        """Wrap the server's signal handlers during the block. Does nothing in other threads than the main one, as they
        get no signals.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        wrapped: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
        seen = 0
        first_number = 0
        in_worker = multiprocessing.parent_process() is not None
        held_back: asyncio.TimerHandle | None = None

        def pass_on(number: int, frame: FrameType | None) -> None:
            if held_back is not None:
                held_back.cancel()
            self._before_end()
            if callable(server := wrapped[number]):
                server(number, frame)

        def on_signal(number: int, frame: FrameType | None) -> None:
            # This runs between two bytecodes of the main thread: it may only note things and wake the loop.
            nonlocal seen, first_number
            if in_worker and number == first_number:
                return  # a signal to the process group arrives twice: from its sender, and from the parent
            first_number = first_number or number
            seen += 1
            loop.call_soon_threadsafe(hold_back if seen == 1 else pass_on, number, frame)

        def hold_back(number: int, frame: FrameType | None) -> None:
            nonlocal held_back
            if self._registry.state is State.OPENING:
                opening.cancel()
                pass_on(number, frame)
                return
            logger.info("draining for %.1f s: /readyz answers 503, requests are still served", self._drain_seconds)
            self._registry.start_draining()
            held_back = loop.call_later(self._drain_seconds, pass_on, number, frame)

        for number in SIGNALS:
            signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number in SIGNALS:
                signal.signal(number, wrapped[number])


async def _end_with_parent(poll_seconds: float) -> None:
    """Stop this worker when its parent process is gone, for whatever reason. A worker without its parent would keep the
    port in use and keep calling the cluster.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    while os.getppid() == parent.pid:  # noqa: ASYNC110  (nothing tells of it but asking)
        await asyncio.sleep(poll_seconds)
    logger.error("the parent process is gone; this worker ends")
    signal.raise_signal(signal.SIGTERM)
