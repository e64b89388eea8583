"""Which node is asked: pure choices, the rests of nodes that failed, and calls over real connections."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from elastic_transport import ConnectionError as ElasticConnectionError
from elastic_transport import ConnectionTimeout
from elasticsearch import AsyncElasticsearch

from dev.faults.proxy import FaultProxy, ProxyResponse
from esassistant.elasticsearch.client import new_client, two_nodes
from esassistant.elasticsearch.node_pool import (
    LONGEST_REST_SECONDS,
    TRIAL_SECONDS,
    NodeMarks,
    at_one_node,
    choose,
    first_seconds,
    only_at,
)
from tests.support.clients import elasticsearch_config, pools
from tests.support.fakes import FakeClock

URLS = ("a", "b", "c")


@pytest.fixture
def marks(fake_clock: FakeClock) -> NodeMarks:
    return NodeMarks(fake_clock)


def chosen(marks: NodeMarks, **about: Any) -> str:
    """The choice among three nodes, with nothing special but what is given."""
    return choose(URLS, marks, **{"tried": (), "pinned": None, "tries_out": False, "turn": 0, **about})


def test_in_turn(marks: NodeMarks) -> None:
    """Nodes that are well are asked one after the other."""
    assert [chosen(marks, turn=turn) for turn in range(4)] == ["a", "b", "c", "a"]


def test_a_node_that_failed_rests(marks: NodeMarks, fake_clock: FakeClock) -> None:
    """It is left alone for twice as long after each failure in a row, up to half a minute; an answer ends that."""
    rests = []
    for _ in range(7):
        marks.failed("a", fake_clock())
        rests.append(marks.rest_of("a"))
        assert chosen(marks, turn=0) == "b"
        fake_clock.advance(rests[-1])
    assert rests == [1, 2, 4, 8, 16, 30, LONGEST_REST_SECONDS]
    marks.answered("a")
    assert chosen(marks) == "a"


def test_calls_that_failed_together(marks: NodeMarks, fake_clock: FakeClock) -> None:
    """Ten calls that were under way when a node fell silent are one failure."""
    asked_at = fake_clock()
    fake_clock.advance(3.0)
    for _ in range(10):
        marks.failed("a", asked_at)
    assert marks.rest_of("a") == 1.0


def test_after_its_rest(marks: NodeMarks, fake_clock: FakeClock) -> None:
    """One of our own calls tries it out, and only one at a time; calls of others wait until it has answered."""
    marks.failed("a", fake_clock())
    fake_clock.advance(1.0)
    assert chosen(marks, tries_out=False, turn=0) == "b"
    assert chosen(marks, tries_out=True, turn=1) == "a"
    marks.try_out("a")
    assert chosen(marks, tries_out=True, turn=0) == "b"
    fake_clock.advance(TRIAL_SECONDS)
    assert chosen(marks, tries_out=True, turn=1) == "a"


def test_all_have_failed(marks: NodeMarks, fake_clock: FakeClock) -> None:
    """The one whose rest ends first is asked all the same, rather one that has not failed this very call."""
    for url in URLS:
        marks.failed(url, fake_clock())
        fake_clock.advance(0.1)
    assert chosen(marks) == "a"
    assert chosen(marks, tried=("a",)) == "b"
    assert chosen(marks, tried=URLS) == "a"


def test_a_pinned_node(marks: NodeMarks, fake_clock: FakeClock) -> None:
    """It is asked again and again, unless it rests, has just failed the call, or isn't ours."""
    assert {chosen(marks, pinned="b", turn=turn) for turn in range(3)} == {"b"}
    assert chosen(marks, pinned="b", tried=("b",)) == "a"
    assert chosen(marks, pinned="gone") == "a"
    marks.failed("b", fake_clock())
    assert chosen(marks, pinned="b") == "a"


@pytest.mark.parametrize(("allowed", "first"), [(10.0, 5.0), (2.0, 1.0), (1.5, 1.0), (0.5, 0.5)])
def test_the_time_of_the_first(allowed: float, first: float) -> None:
    """The first of two nodes has half of the time, but at least a second."""
    assert first_seconds(allowed) == first


@pytest.fixture
def nodes() -> Iterator[tuple[FaultProxy, ...]]:
    """Three nodes that answer `{}`."""
    with ExitStack() as stack:
        proxies = tuple(stack.enter_context(FaultProxy("http://127.0.0.1:9")) for _ in range(3))
        for proxy in proxies:
            proxy.respond("", lambda _: ProxyResponse("{}"))
        yield proxies


@pytest.fixture
async def new(nodes: tuple[FaultProxy, ...]) -> Callable[..., AsyncElasticsearch]:
    """Makes clients of the three nodes; the test closes them."""

    def make(marks: NodeMarks | None = None, request_timeout: float = 2.0, **about: Any) -> AsyncElasticsearch:
        config = elasticsearch_config("", urls=tuple(node.url for node in nodes))
        return new_client(
            config, pools(), request_timeout=request_timeout, max_retries=0, marks=marks or NodeMarks(), **about
        )

    return make


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a ping finds out."""
    async with asyncio.timeout(5.0):
        while not condition():  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0.01)


async def ask(client: AsyncElasticsearch, target: str = "/_cluster/health") -> Any:
    """One call that changes nothing."""
    return await client.perform_request("GET", target, headers={"accept": "application/json"})


@pytest.mark.parametrize("fault", [{"status": 503}, {"cut": True}, {"delay_seconds": 30.0}])
async def test_a_second_node_backs_up(
    nodes: tuple[FaultProxy, ...], new: Callable[..., AsyncElasticsearch], fault: dict[str, Any]
) -> None:
    """Whatever one node does, a call of our own is answered within its time, by a second one; a status alone doesn't
    let a node rest, silence does.
    """
    marks = NodeMarks()
    async with new(marks, backs_up=True) as client:
        with nodes[0].fault(**fault):
            for _ in range(3):
                await ask(client)
            assert nodes[0].count() in ((1, 2, 3) if "status" in fault else (1,))
            assert marks.is_marked(nodes[0].url) is ("status" not in fault)


async def test_calls_of_others_are_not_backed_up(
    nodes: tuple[FaultProxy, ...], new: Callable[..., AsyncElasticsearch]
) -> None:
    """A search that takes longer than it may is sent to no second node; its node is still asked if a ping is
    answered.
    """
    marks = NodeMarks()
    async with new(marks, request_timeout=0.3) as client:
        with ExitStack() as faults:
            for node in nodes:
                faults.enter_context(node.fault(path="_search", delay_seconds=30.0))
            with pytest.raises(ConnectionTimeout):
                await ask(client, "/a/_search")
            await until(lambda: sum(node.count(path="^/$") for node in nodes) == 1)
            assert sum(node.count(path="_search") for node in nodes) == 1
        await ask(client)
        assert not any(marks.is_marked(node.url) for node in nodes)


async def test_a_silent_node_is_found_by_a_ping(
    nodes: tuple[FaultProxy, ...], new: Callable[..., AsyncElasticsearch]
) -> None:
    """A search that timed out at a node that doesn't answer a ping either lets that node rest."""
    marks = NodeMarks()
    async with new(marks, request_timeout=0.1) as client:
        with ExitStack() as faults:
            for node in nodes:
                faults.enter_context(node.fault(cut=True, path="^/$"))
                faults.enter_context(node.fault(path="_search", delay_seconds=30.0))
            with pytest.raises(ConnectionTimeout):
                await ask(client, "/a/_search")
            await until(lambda: any(marks.is_marked(node.url) for node in nodes))


async def test_what_one_client_learns_spares_the_others(
    nodes: tuple[FaultProxy, ...], new: Callable[..., AsyncElasticsearch]
) -> None:
    """Clients that share their marks leave a node alone that one of them found silent."""
    marks = NodeMarks()
    async with new(marks, backs_up=True) as ours, new(marks) as public:
        with nodes[1].fault(cut=True):
            for _ in range(3):
                await ask(ours)
            asked = nodes[1].count()
            for _ in range(6):
                await ask(public)
            assert nodes[1].count() == asked


async def test_calls_of_a_block_stay_at_one_node(
    nodes: tuple[FaultProxy, ...], new: Callable[..., AsyncElasticsearch]
) -> None:
    """All are asked at the node of the first; when it fails they move together, which is told."""
    async with new(backs_up=True) as client:
        with at_one_node() as pin:
            for _ in range(5):
                with at_one_node() as inner:
                    await ask(client)
            assert inner is pin
            assert sorted(node.count() for node in nodes) == [0, 0, 5]
            assert not pin.moved
            [first] = [node for node in nodes if node.count()]
            with first.fault(cut=True):
                for _ in range(3):
                    await ask(client)
        assert pin.moved
        assert sorted(node.count() for node in nodes) == [0, 3, 6]


async def test_only_at_one_node(nodes: tuple[FaultProxy, ...], new: Callable[..., AsyncElasticsearch]) -> None:
    """No other node is asked in its place, and the call has its whole time."""
    async with new(backs_up=True) as client:
        with only_at(nodes[2].url), nodes[2].fault(cut=True), pytest.raises(ElasticConnectionError):
            await ask(client)
        with only_at(nodes[2].url), nodes[2].fault(delay_seconds=1.2):
            await ask(client)
        assert [node.count() for node in nodes] == [0, 0, 2]


async def test_two_nodes(nodes: tuple[FaultProxy, ...], new: Callable[..., AsyncElasticsearch]) -> None:
    """Those to wait at are two that didn't fail of late."""
    marks = NodeMarks()
    async with new(marks) as client:
        marks.failed(nodes[0].url, 1e9)
        assert set(two_nodes(client)) == {nodes[1].url, nodes[2].url}
