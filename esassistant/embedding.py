"""For another Django project: the wrapper for its asgi.py, which answers our addresses and passes on all others."""

import asyncio
import logging

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from esassistant.addresses import prefix
from esassistant.application import new_embedded_application
from esassistant.asgi_types import ASGIApp, Message, Receive, Scope, Send
from esassistant.http.mount import Mount
from esassistant.http.streams import streams
from esassistant.lifespan import Lifespan
from esassistant.registry import registry

logger = logging.getLogger(__name__)

NO_PREFIX = (
    "The addresses of esassistant need a fixed prefix of their own in this project. In its urls.py: "
    'path("assistant/", include("esassistant.urls")).'
)


class Embedded:
    """ASGI application of a project that embeds this service. Lives as long as the process. In the project's asgi.py:
    `application = Embedded(get_asgi_application())`.

    Requests below our prefix are answered as our own server would. All other requests and WebSockets go unchanged to
    the project's application. The lifespan goes to both.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Raise `ImproperlyConfigured` if our addresses are not included below a prefix."""
        if not apps.ready:
            raise ImproperlyConfigured("Wrap what get_asgi_application() returns: Embedded(get_asgi_application()).")
        if not (at := prefix()):
            raise ImproperlyConfigured(NO_PREFIX)
        mount = Mount(new_embedded_application(), at, app)
        self._own = Lifespan(mount, registry, settings.ESASSISTANT.drain_seconds, before_end=streams.end)
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self._own(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run both lifespans. The project's application starts before our resources open, and stops after they are
        closed.
        """
        host = HostLifespan(self._app, scope)
        try:
            starting = await receive()
            if (failure := await host.start(starting)) is not None:
                await send(failure)
                return

            async def own_send(message: Message) -> None:
                if message["type"] != "lifespan.startup.complete":  # all others are the end
                    failure = await host.stop()
                    message = failure if failure is not None and message["type"].endswith("complete") else message
                await send(message)

            await self._own(scope, _first(starting, receive), own_send)
        finally:
            await host.drop()


def _first(message: Message, receive: Receive) -> Receive:
    """Return a `receive` that first gives a message that was received already, and then the following ones."""
    waiting = [message]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


class HostLifespan:
    """The lifespan of the project's application, if it has one. Django's own application has none, and
    raises an error.
    """

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self._app = app
        self._scope = scope
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self, message: Message) -> Message | None:
        """Start the lifespan. Return the failure message if it can't start; None if it started, or if there is no
        lifespan.
        """
        self._sent.put_nowait(message)
        self._task = asyncio.create_task(self._run(), name="host-lifespan")
        return await self._failure()

    async def stop(self) -> Message | None:
        """Stop the lifespan. Return the failure message if that failed, else None."""
        self._sent.put_nowait({"type": "lifespan.shutdown"})
        return await self._failure()

    async def drop(self) -> None:
        """Cancel the lifespan's task if it still runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._sent.get, self._said.put)
        except Exception as error:  # noqa: BLE001  (as servers do: an application without a lifespan raises what it likes)
            logger.debug("the project's application has no lifespan (%s)", type(error).__name__)

    async def _failure(self) -> Message | None:
        """Wait for the next message of the lifespan, or for its end. Return the message if it says that something
        failed.
        """
        assert self._task is not None
        word = asyncio.create_task(self._said.get())
        try:
            await asyncio.wait({word, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if not word.done() and self._said.empty():
                return None
            said = await word
        finally:
            word.cancel()
        return said if said["type"].endswith("failed") else None
