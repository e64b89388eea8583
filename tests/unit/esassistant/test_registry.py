"""The registry opens in the order of needs, closes in reverse, and gives nothing away while it isn't open."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.errors import RegistryNotOpen, UnknownResource
from esassistant.metrics import Kind, Metric
from esassistant.registry import OpenFailed, Registry, State
from esassistant.resource import Health, PingResult


def noting(journal: list[str], name: str) -> Callable[[Registry], AbstractAsyncContextManager[str]]:
    """A factory of resource "live <name>" that notes when it opens and closes."""

    @asynccontextmanager
    async def factory(_: Registry) -> AsyncIterator[str]:
        journal.append(f"open {name}")
        yield f"live {name}"
        journal.append(f"close {name}")

    return factory


async def forever() -> None:
    await asyncio.Event().wait()


async def test_opens_by_needs_and_closes_in_reverse(own_registry: Registry) -> None:
    """What a resource needs is open before it and closed after it, whatever the order of declaration."""
    journal: list[str] = []
    own_registry.register("cache", noting(journal, "cache"), needs=("store", "client"))
    own_registry.register("store", noting(journal, "store"))
    own_registry.register("client", noting(journal, "client"), needs=("store",))
    async with own_registry.open():
        assert journal == ["open store", "open client", "open cache"]
    assert journal[3:] == ["close cache", "close client", "close store"]
    assert [resource.name for resource in own_registry.declared()] == ["cache", "store", "client"]


@given(data=st.data())
def test_any_graph_of_needs_opens(data: st.DataObject) -> None:
    """Every acyclic graph opens each resource once, after all that it needs."""
    count = data.draw(st.integers(1, 8))
    needs = {
        number: data.draw(st.sets(st.integers(0, number - 1)) if number else st.just(set())) for number in range(count)
    }
    journal: list[str] = []
    registry = Registry()
    for number in data.draw(st.permutations(range(count))):
        needed = tuple(str(need) for need in needs[number])
        registry.register(str(number), noting(journal, str(number)), needs=needed)

    async def open_all() -> list[str]:
        async with registry.open():
            return list(journal)

    opened = [int(entry.removeprefix("open ")) for entry in asyncio.run(open_all())]
    assert sorted(opened) == list(range(count))
    assert all(opened.index(need) < opened.index(number) for number in needs for need in needs[number])
    assert [entry.removeprefix("close ") for entry in journal[count:]] == [str(number) for number in reversed(opened)]


async def test_only_opens_what_is_named_and_needed(own_registry: Registry) -> None:
    """`only` leaves the others closed, and asking for one of them says so."""
    journal: list[str] = []
    own_registry.register("store", noting(journal, "store"))
    own_registry.register("client", noting(journal, "client"), needs=("store",))
    own_registry.register("watch", noting(journal, "watch"))
    async with own_registry.open(only=["client"]):
        assert journal == ["open store", "open client"]
        assert own_registry.get("client") == "live client"
        with pytest.raises(RegistryNotOpen, match="'watch' is not open"):
            own_registry.get("watch")
        with pytest.raises(UnknownResource, match="registered are: store, client, watch"):
            own_registry.get("unheard")


async def test_live_only_while_open(own_registry: Registry) -> None:
    """Before and after the block the error names the remedy; the registry can be opened again."""
    own_registry.register("client", noting([], "client"), stats=str)
    for _ in range(2):
        for closed in (own_registry.get, own_registry.read):
            with pytest.raises(RegistryNotOpen, match=r"manage\.py serve"):
                closed("client")
        with pytest.raises(RegistryNotOpen):
            own_registry.tasks()
        with pytest.raises(RegistryNotOpen):
            own_registry.spawn(forever, name="a", owner="client")
        assert repr(own_registry) == "<Registry closed: client>"
        async with own_registry.open() as opened:
            assert opened is own_registry
            assert own_registry.get("client") == "live client"
            assert repr(own_registry) == "<Registry open: client>"
    assert repr(Registry()) == "<Registry closed: nothing declared>"


async def test_open_once_at_a_time(own_registry: Registry) -> None:
    """A second `open` is refused and leaves the first alone."""
    own_registry.register("client", noting([], "client"))
    async with own_registry.open():
        with pytest.raises(RuntimeError, match="the registry is open"):
            await own_registry.open().__aenter__()
        assert own_registry.get("client") == "live client"


def test_names_are_unique(own_registry: Registry) -> None:
    """A name is declared once, so that no app replaces another's resource unnoticed."""
    own_registry.register("client", noting([], "client"))
    with pytest.raises(ValueError, match="'client' is already registered"):
        own_registry.register("client", noting([], "client"))


@pytest.mark.parametrize(
    ("needs", "error", "message"),
    [
        ({"a": ("b",), "b": ("c",), "c": ("b",)}, ValueError, "a → b → c → b"),
        ({"a": ("b",)}, UnknownResource, "no resource named 'b' is registered; registered are: a"),
    ],
)
async def test_bad_needs(
    own_registry: Registry, needs: dict[str, tuple[str, ...]], error: type[Exception], message: str
) -> None:
    """Circles and unknown needs are named before anything opens, and leave the registry closed."""
    journal: list[str] = []
    for name, needed in needs.items():
        own_registry.register(name, noting(journal, name), needs=needed)
    with pytest.raises(error, match=message):
        await own_registry.open().__aenter__()
    assert (own_registry.state, journal) == (State.CLOSED, [])


async def test_states(own_registry: Registry) -> None:
    """The registry says where in its life it is; draining starts only from open, and everything is still served."""
    states: list[State] = []

    @asynccontextmanager
    async def factory(registry: Registry) -> AsyncIterator[str]:
        states.append(registry.state)
        yield "live"
        states.append(registry.state)

    own_registry.register("a", factory)
    own_registry.start_draining()
    states.append(own_registry.state)
    async with own_registry.open():
        states.append(own_registry.state)
        own_registry.start_draining()
        states.append(own_registry.state)
        assert own_registry.get("a") == "live"
    states.append(own_registry.state)
    expected = [State.CLOSED, State.OPENING, State.OPEN, State.DRAINING, State.CLOSING, State.CLOSED]
    assert states == expected


async def test_failed_opening_closes_what_was_open(own_registry: Registry) -> None:
    """When a factory fails, what was open is closed, its tasks end, and the error names the resource and no more."""
    journal: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def broken(registry: Registry) -> AsyncIterator[None]:
        tasks.append(registry.spawn(forever, name="loop", owner="broken"))
        raise OSError("password=secret")
        yield

    own_registry.register("store", noting(journal, "store"))
    own_registry.register("broken", broken)
    with pytest.raises(OpenFailed, match=r"^resource broken failed to open$") as caught:
        await own_registry.open().__aenter__()
    assert isinstance(caught.value.__cause__, OSError)
    assert journal == ["open store", "close store"]
    assert tasks[0].cancelled()
    assert own_registry.state is State.CLOSED


async def test_opening_has_a_deadline() -> None:
    """A factory that hangs is given up at the deadline."""
    own_registry = Registry(open_seconds=0.02)

    @asynccontextmanager
    async def hanging(_: Registry) -> AsyncIterator[None]:
        await forever()
        yield

    own_registry.register("hanging", hanging)
    with pytest.raises(OpenFailed, match="resource hanging did not open within"):
        await own_registry.open().__aenter__()


async def test_a_factorys_own_timeout_is_a_failure(own_registry: Registry) -> None:
    """A `TimeoutError` of the factory's own making isn't passed off as the deadline for opening."""

    @asynccontextmanager
    async def broken(_: Registry) -> AsyncIterator[None]:
        raise TimeoutError("connect")
        yield

    own_registry.register("broken", broken)
    with pytest.raises(OpenFailed, match="failed to open"):
        await own_registry.open().__aenter__()


async def test_cancelled_opening_leaves_nothing_behind(own_registry: Registry) -> None:
    """Cancelling a hanging start-up (SIGTERM) closes what was open and ends the tasks that were spawned."""
    journal: list[str] = []
    tasks: list[asyncio.Task[None]] = []
    hanging_now = asyncio.Event()

    @asynccontextmanager
    async def hanging(registry: Registry) -> AsyncIterator[None]:
        tasks.append(registry.spawn(forever, name="loop", owner="hanging"))
        hanging_now.set()
        await forever()
        yield

    own_registry.register("store", noting(journal, "store"))
    own_registry.register("hanging", hanging)
    opening = asyncio.create_task(own_registry.open().__aenter__())
    await hanging_now.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert journal == ["open store", "close store"]
    assert own_registry.state is State.CLOSED
    assert tasks[0].done()


async def test_failing_to_close_is_isolated(own_registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """A resource that fails to close is logged, and the others close all the same."""
    journal: list[str] = []

    @asynccontextmanager
    async def broken(_: Registry) -> AsyncIterator[None]:
        yield
        raise OSError("boom")

    own_registry.register("store", noting(journal, "store"))
    own_registry.register("broken", broken)
    async with own_registry.open():
        pass
    assert journal == ["open store", "close store"]
    assert [record.getMessage() for record in caplog.records] == ["resource broken failed to close"]


async def test_closing_has_a_deadline(caplog: pytest.LogCaptureFixture) -> None:
    """A resource that hangs while it closes is given up at the deadline."""
    own_registry = Registry(close_seconds=0.02)

    @asynccontextmanager
    async def hanging(_: Registry) -> AsyncIterator[None]:
        yield
        await forever()

    own_registry.register("hanging", hanging)
    async with asyncio.timeout(2), own_registry.open():
        pass
    assert own_registry.state is State.CLOSED
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "resource hanging failed to close")


async def test_cancelled_closing_still_closes(own_registry: Registry) -> None:
    """A resource is closed also when the closing is cancelled while it waits for the resource's tasks."""
    journal: list[str] = []
    resisting, release = asyncio.Event(), asyncio.Event()

    async def resist() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            resisting.set()
            await release.wait()

    own_registry.register("store", noting(journal, "store"))

    async def serve() -> None:
        async with own_registry.open():
            own_registry.flight(resist, name="a", owner="store")
            await asyncio.sleep(0)

    serving = asyncio.create_task(serve())
    await resisting.wait()
    serving.cancel()
    await asyncio.wait([serving])
    release.set()
    assert serving.cancelled()
    assert journal == ["open store", "close store"]


async def test_tasks_end_before_their_resource_closes(own_registry: Registry) -> None:
    """No background task works on a resource that is closed already."""
    journal: list[str] = []

    @asynccontextmanager
    async def factory(registry: Registry) -> AsyncIterator[None]:
        async def work(name: str) -> None:
            try:
                await forever()
            finally:
                journal.append(f"end {name}")

        registry.spawn(lambda: work("background"), name="loop", owner="a")
        registry.flight(lambda: work("flight"), name="one", owner="a")
        await asyncio.sleep(0)
        yield
        journal.append("close")

    own_registry.register("a", factory)
    async with own_registry.open():
        assert [(report.name, report.owner, report.running) for report in own_registry.tasks()] == [("loop", "a", True)]
        assert journal == []
    assert sorted(journal[:2]) == ["end background", "end flight"]
    assert journal[2:] == ["close"]


async def test_errors_in_the_block_pass_through(own_registry: Registry) -> None:
    """An error in the block reaches its caller after everything is closed."""
    journal: list[str] = []
    own_registry.register("store", noting(journal, "store"))
    with pytest.raises(KeyError):
        async with own_registry.open():
            raise KeyError
    assert journal == ["open store", "close store"]
    assert own_registry.state is State.CLOSED


async def test_a_factory_is_any_context_manager(own_registry: Registry) -> None:
    """A factory may be a class: what counts is the context manager's protocol."""

    class Resource(AbstractAsyncContextManager["Resource"]):
        closed = False

        async def __aexit__(self, *_: Any) -> None:
            self.closed = True

    own_registry.register("resource", lambda _: Resource())
    async with own_registry.open():
        resource = own_registry.get("resource")
    assert resource.closed


async def test_announcements(own_registry: Registry) -> None:
    """Who listens hears the name of each resource that announces a change, until the registry closes; a registry opened
    again has no listeners, and one that isn't open takes none.
    """
    heard: list[str] = []
    async with own_registry.open():
        own_registry.announce("nobody listens")
        own_registry.listen(heard.append)
        own_registry.listen(lambda name: heard.append(f"{name}!"))
        own_registry.announce("elasticsearch")
    async with own_registry.open():
        own_registry.announce("elasticsearch")
    own_registry.announce("nobody is there")
    assert heard == ["elasticsearch", "elasticsearch!"]
    with pytest.raises(RegistryNotOpen):
        own_registry.listen(heard.append)


METRIC = Metric(Kind.GAUGE, "size", "Its size.", "size")


@asynccontextmanager
async def client(_: Registry) -> AsyncIterator[str]:
    yield "live client"


@pytest.mark.parametrize("about", [{"metrics": (METRIC,)}, {"rules": (lambda _: (),)}])
def test_metrics_and_rules_are_about_a_report(own_registry: Registry, about: dict[str, Any]) -> None:
    """Metrics and rules without a report that they could be about are a mistake, told at the declaration."""
    with pytest.raises(ValueError, match="'client' has metrics, rules or a panel, but no stats"):
        own_registry.register("client", client, **about)
    assert own_registry.declared() == ()
    own_registry.register("client", client, stats=str, **about)
    [declared] = own_registry.declared()
    assert (declared.metrics, declared.rules) == (about.get("metrics", ()), about.get("rules", ()))


async def test_checks(own_registry: Registry) -> None:
    """A check is a resource with a ping and nothing else, whose `run` may use what it needs; its name is its own."""

    async def run() -> PingResult:
        return PingResult(Health.DEGRADED, own_registry.get("client"))

    own_registry.check("quota", run, needs=("client",), critical=True)
    own_registry.register("client", client)
    [quota, _] = own_registry.declared()
    assert (quota.name, quota.needs, quota.critical, quota.stats) == ("quota", ("client",), True, None)
    assert quota.ping is not None
    async with own_registry.open(only=["quota"]):
        assert await quota.ping(own_registry.get("quota")) == PingResult(Health.DEGRADED, "live client")
        with pytest.raises(UnknownResource, match="gives no report"):
            own_registry.read("quota")
    with pytest.raises(ValueError, match="'quota' is already registered"):
        own_registry.check("quota", run)


async def test_checks_are_seldom_critical(own_registry: Registry) -> None:
    """Without a word a check needs nothing, and its failure is no outage."""

    async def run() -> PingResult:
        return PingResult(Health.HEALTHY)

    own_registry.check("quota", run)
    [quota] = own_registry.declared()
    assert (quota.needs, quota.critical) == ((), False)
