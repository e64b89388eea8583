"""The process-wide registry of resources: what `app.state` is in FastAPI.

Apps *declare* resources in `AppConfig.ready()`. The lifespan opens them, each after the resources that it needs, and
closes them in reverse order. An open registry belongs to one process and one event loop. A view gets a live resource
from `registry.get(handle)`. Code in other threads, such as a sync view, reads immutable reports from
`registry.read(handle)`.

    MAIL: Handle[Mail] = Handle("mail")

    registry.register(MAIL, open_mail, stats=Mail.report)     # in AppConfig.ready()
    mail = registry.get(MAIL)                                 # in an `async def` view: a Mail

If the type doesn't matter, the name is enough: `registry.get("mail")`.
"""

import asyncio
import enum
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

from esassistant.advice import Rule
from esassistant.errors import EsassistantError, RegistryNotOpen, UnknownResource, WrongLoop
from esassistant.metrics import Metric
from esassistant.program import PROGRAM
from esassistant.resource import Handle, Health, Panel, PingResult, ReportHandle, Reports, Resource
from esassistant.tasks import TaskReport, Tasks
from esassistant.units import as_seconds

__all__ = ["Handle", "Health", "OpenFailed", "PingResult", "Registry", "ReportHandle", "Resource", "State", "registry"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

OPEN_DEADLINE_SECONDS = 20.0
CLOSE_DEADLINE_SECONDS = 5.0
READ_DEADLINE_SECONDS = 2.0

NOT_OPEN = (
    f"The resources of this process are not open. Serve with `{PROGRAM} serve`, or with an ASGI server whose lifespan "
    "protocol is on; runserver and WSGI servers don't open them."
)


class State(enum.Enum):
    """The stage of life of the registry."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    DRAINING = "draining"
    CLOSING = "closing"


@dataclass(slots=True)
class _Opened:
    """The state that exists only while the registry is open."""

    loop: asyncio.AbstractEventLoop
    pid: int
    tasks: Tasks = field(default_factory=Tasks)
    values: dict[str, Any] = field(default_factory=dict)
    listeners: list[Callable[[str], None]] = field(default_factory=list)


class OpenFailed(EsassistantError):
    """A resource could not be opened. The registry has closed those that it had opened before."""


class Registry:
    """The declarations of resources and, while it is open, the live resources.

    The declarations live as long as the process. The live resources exist from `open()` to the end of its block, and
    can then be opened again.
    """

    def __init__(
        self,
        *,
        open_seconds: float = OPEN_DEADLINE_SECONDS,
        close_seconds: float = CLOSE_DEADLINE_SECONDS,
        read_seconds: float = READ_DEADLINE_SECONDS,
    ) -> None:
        """
        Args:
            open_seconds, close_seconds: How long one resource may take to open, and to close.
            read_seconds: How long another thread waits for a report.
        """
        self._declared: dict[str, Resource] = {}
        self._opened: _Opened | None = None
        self._open_seconds = open_seconds
        self._close_seconds = close_seconds
        self._read_seconds = read_seconds
        self.state = State.CLOSED

    def __repr__(self) -> str:
        return f"<Registry {self.state.value}: {', '.join(self._declared) or 'nothing declared'}>"

    def register(
        self,
        resource: Handle[T] | str,
        factory: Callable[["Registry"], AbstractAsyncContextManager[T]],
        *,
        needs: Iterable[Handle[Any] | ReportHandle[Any] | str] = (),
        ping: Callable[[T], Awaitable[PingResult]] | None = None,
        critical: bool = False,
        stats: Callable[[T], object] | None = None,
        metrics: tuple[Metric, ...] = (),
        rules: tuple[Rule, ...] = (),
        panel: Panel | None = None,
    ) -> None:
        """Declare a resource. Makes no I/O; call it from `AppConfig.ready()`.

        Args:
            resource: Its handle, or its name.
            factory: Called with the registry; returns an async context manager whose value is the resource. It must not
                wait for a service that may be absent.
            needs: The resources that it uses. They are opened before it and closed after it.
            ping: The health check of the resource, awaited by the health monitor.
            critical: True: if the ping fails, the whole service is unhealthy.
            stats: Returns the report of the resource, a frozen dataclass, without waiting.
            metrics: Numbers of the report that are exported.
            rules: Give advice from the report.
            panel: Shows the report on the status page.

        Raises:
            ValueError: The name is taken, or there are metrics, rules or a panel without `stats`.
        """
        name = _name_of(resource)
        if name in self._declared:
            raise ValueError(f"a resource named {name!r} is already registered")
        if stats is None and (metrics or rules or panel):
            raise ValueError(f"resource {name!r} has metrics, rules or a panel, but no stats that they could be about")
        self._declared[name] = Resource(
            name, factory, tuple(map(_name_of, needs)), ping, critical, stats, metrics, rules, panel
        )

    def check(
        self,
        name: str,
        run: Callable[[], Awaitable[PingResult]],
        *,
        needs: Iterable[Handle[Any] | ReportHandle[Any] | str] = (),
        critical: bool = False,
    ) -> None:
        """Declare a health check for something that is not a resource. The health monitor awaits `run`, which may call
        `get` for the resources that it `needs`.
        """

        async def ping(_: None) -> PingResult:
            return await run()

        self.register(name, lambda _: nullcontext(), needs=needs, ping=ping, critical=critical)

    def declared(self) -> tuple[Resource, ...]:
        """Return all declarations, in the order in which they were made."""
        return tuple(self._declared.values())

    @asynccontextmanager
    async def open(self, only: Iterable[Handle[Any] | str] | None = None) -> AsyncIterator["Registry"]:
        """Open the resources, and close them in reverse order at the end of the block.

        Args:
            only: Open only these resources and those that they need. None: open all.

        Raises:
            OpenFailed: A resource could not be opened in time. Those that were open are closed again.
        """
        if self.state is not State.CLOSED:
            raise RuntimeError(f"the registry is {self.state.value}; it can be opened once at a time")
        order = self._in_order_of_needs(self._declared if only is None else map(_name_of, only))
        self._opened = _Opened(asyncio.get_running_loop(), os.getpid())
        self.state = State.OPENING
        try:
            async with AsyncExitStack() as stack:
                for resource in order:
                    await self._open_one(resource, self._opened, stack)
                self.state = State.OPEN
                try:
                    yield self
                finally:
                    self.state = State.CLOSING
        finally:
            self._opened = None
            self.state = State.CLOSED

    async def _open_one(self, resource: Resource, opened: _Opened, stack: AsyncExitStack) -> None:
        context = resource.factory(self)
        try:
            async with asyncio.timeout(self._open_seconds) as deadline:
                opened.values[resource.name] = await context.__aenter__()
        except BaseException as error:
            # A factory may have spawned tasks before it failed, or was cancelled by a signal.
            await opened.tasks.cancel(resource.name, self._close_seconds)
            if not isinstance(error, Exception):
                raise
            reason = f"did not open within {as_seconds(self._open_seconds)}" if deadline.expired() else "failed to open"
            raise OpenFailed(f"resource {resource.name} {reason}") from error

        async def close() -> None:
            try:
                await opened.tasks.cancel(resource.name, self._close_seconds)
            finally:
                await leave()

        async def leave() -> None:
            try:
                async with asyncio.timeout(self._close_seconds):
                    await context.__aexit__(None, None, None)
            except Exception:
                # If one resource fails to close, the others must still be closed.
                logger.exception("resource %s failed to close", resource.name)
            finally:
                opened.values.pop(resource.name, None)

        stack.push_async_callback(close)

    def _in_order_of_needs(self, names: Iterable[str]) -> list[Resource]:
        order: dict[str, Resource] = {}

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                raise ValueError(f"resources need each other in a circle: {' → '.join((*path, name))}")
            resource = self._declaration(name)
            for need in resource.needs:
                visit(need, (*path, name))
            order.setdefault(name, resource)

        for name in names:
            visit(name, ())
        return list(order.values())

    def _declaration(self, name: str) -> Resource:
        try:
            return self._declared[name]
        except KeyError:
            known = ", ".join(self._declared) or "none"
            raise UnknownResource(f"no resource named {name!r} is registered; registered are: {known}") from None

    def _live(self) -> _Opened:
        opened = self._opened
        if opened is None or opened.pid != os.getpid():
            raise RegistryNotOpen(NOT_OPEN)
        return opened

    @overload
    def get(self, resource: Handle[T]) -> T: ...
    @overload
    def get(self, resource: str) -> Any: ...
    def get(self, resource: Handle[Any] | str) -> Any:
        """Return the live resource. Works only on the loop that opened the registry; elsewhere it raises `WrongLoop`,
        which says what to do instead.

        Raise `RegistryNotOpen` if the resources aren't open, and `UnknownResource` if none has this name.
        """
        name = _name_of(resource)
        return self._value(self._live_here(name), name)

    def _live_here(self, name: str) -> _Opened:
        opened = self._live()
        if not _is_running(opened.loop):
            raise WrongLoop(
                f"resource {name!r} belongs to another event loop: use it from an `async def` view, or read its "
                "report by `registry.read(name)`"
            )
        return opened

    def _value(self, opened: _Opened, name: str) -> Any:
        if name not in opened.values:
            self._declaration(name)
            raise RegistryNotOpen(f"resource {name!r} is not open (the registry is {self.state.value})")
        return opened.values[name]

    @overload
    def read(self, resource: ReportHandle[R]) -> R: ...
    @overload
    def read(self, resource: str) -> Any: ...
    def read(self, resource: ReportHandle[Any] | str) -> Any:
        """Return the immutable report of a resource, as its `stats` makes it. Works in any thread.

        The report is made on the registry's loop, so its numbers are consistent. Another thread waits for it for at
        most `read_seconds`. Raises `RegistryNotOpen`, also if the loop doesn't answer in time.
        """
        opened = self._live()
        name = _name_of(resource)
        stats = self._declaration(name).stats
        if stats is None:
            raise UnknownResource(f"resource {name!r} gives no report")
        return self._on_loop(opened, lambda: stats(self._value(opened, name)))

    def reports(self, resources: Iterable[ReportHandle[Any] | str]) -> Reports:
        """Return the reports of several resources, all made at the same moment. Works in any thread.

        A resource that isn't open is left out. So is one whose `stats` fails; the error is logged, and the other
        reports are still returned.
        """
        opened = self._live()
        wanted = {name: self._declaration(name).stats for name in map(_name_of, resources)}

        def all_reports() -> Reports:
            found = Reports()
            for name, stats in wanted.items():
                if stats is not None and name in opened.values:
                    try:
                        found[name] = stats(opened.values[name])
                    except Exception:
                        logger.exception("the report of resource %s failed", name)
            return found

        return self._on_loop(opened, all_reports)

    def tasks(self) -> tuple[TaskReport, ...]:
        """Return the reports of all background tasks. Works in any thread."""
        opened = self._live()
        return self._on_loop(opened, opened.tasks.reports)

    def _on_loop(self, opened: _Opened, function: Callable[[], T]) -> T:
        if _is_running(opened.loop):
            return function()

        async def call() -> T:
            return function()

        future = asyncio.run_coroutine_threadsafe(call(), opened.loop)
        try:
            return future.result(self._read_seconds)
        except TimeoutError:
            future.cancel()
            raise RegistryNotOpen(
                f"the event loop did not answer within {as_seconds(self._read_seconds)}", retry_after_seconds=1
            ) from None

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], *, name: str, owner: str) -> asyncio.Task[None]:
        """Start a supervised background task that ends when resource `owner` closes. See `Tasks.spawn`."""
        return self._live_here(owner).tasks.spawn(function, name=name, owner=owner)

    def flight(self, function: Callable[[], Coroutine[Any, Any, T]], *, name: str, owner: str) -> asyncio.Task[T]:
        """Start a task that runs once, and that ends at the latest when resource `owner` closes. See `Tasks.flight`."""
        return self._live_here(owner).tasks.flight(function, name=name, owner=owner)

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call `listener` whenever a resource announces that its health may have changed, with the name of the
        resource.

        This lasts as long as the registry is open. `listener` must neither wait nor raise.
        """
        self._live().listeners.append(listener)

    def announce(self, name: str) -> None:
        """Tell the listeners that the health of resource `name` may have changed, so that they need not wait for their
        next regular check. If the registry is closed, nothing happens.
        """
        for listener in () if self._opened is None else self._opened.listeners:
            listener(name)

    def start_draining(self) -> None:
        """Say that this process is about to stop: `/readyz` turns 503, and everything else goes on."""
        if self.state is State.OPEN:
            self.state = State.DRAINING


def _name_of(resource: Handle[Any] | ReportHandle[Any] | str) -> str:
    return resource if isinstance(resource, str) else resource.name


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Return True if the caller runs on `loop`."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


registry = Registry()
"""The registry of this process."""
