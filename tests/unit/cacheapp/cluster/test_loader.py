"""Misses that arrive together: one request for all, each with its own answer or error."""

import asyncio
import gc
import weakref

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import ApiError

from cacheapp.cluster.loader import MAX_TOGETHER, TogetherReader
from cacheapp.errors import MappingNotFound
from esassistant.elasticsearch.errors import AnswerTooLarge
from esassistant.errors import ClusterUnavailable
from tests.support.fakes import A_MAPPING, B_MAPPING, FakeReader, no_answer, settle, spawn


def meta(status: int) -> ApiResponseMeta:
    return ApiResponseMeta(status, "1.1", HttpHeaders(), 0.0, NodeConfig("http", "es", 9200))


@pytest.fixture
def cluster() -> FakeReader:
    reader = FakeReader({"a": A_MAPPING, "b": B_MAPPING})
    reader.cluster_aliases["both"] = ("a", "b")
    return reader


async def test_together_is_one_request(cluster: FakeReader) -> None:
    """Different names asked for at once travel in one request, and each caller gets his own."""
    together = TogetherReader(cluster, spawn)
    answers = await asyncio.gather(together.mapping("a"), together.mapping("b"), together.mapping("a"))
    assert list(answers) == [
        {"a": A_MAPPING},
        {"b": B_MAPPING},
        {"a": A_MAPPING},
    ]
    assert cluster.asked == [("a", "b")]


async def test_alone_is_asked_alone(cluster: FakeReader) -> None:
    """A single miss is asked for by its name, so that an alias is told from an index in one request."""
    assert await TogetherReader(cluster, spawn).mapping("both") == {"a": A_MAPPING, "b": B_MAPPING}
    assert cluster.asked == ["both"]


async def test_aliases_and_absent_names(cluster: FakeReader) -> None:
    """What an answer for several doesn't tell is asked for once more, alone."""
    together = TogetherReader(cluster, spawn)
    both, a, absent = await asyncio.gather(
        together.mapping("both"), together.mapping("a"), together.mapping("absent"), return_exceptions=True
    )
    assert both == {"a": A_MAPPING, "b": B_MAPPING}
    assert a == {"a": A_MAPPING}
    assert isinstance(absent, MappingNotFound)
    assert cluster.asked == [("both", "a", "absent"), "both", "absent"]


async def test_a_failure_is_everybodys(cluster: FakeReader) -> None:
    """When the request fails, each who waits gets the error; who comes later asks anew."""
    together = TogetherReader(cluster, spawn)
    cluster.failure = no_answer()
    failed = await asyncio.gather(together.mapping("a"), together.mapping("b"), return_exceptions=True)
    assert all(isinstance(error, ClusterUnavailable) for error in failed)
    cluster.failure = None
    assert await together.mapping("a") == {"a": A_MAPPING}


async def test_many_are_several_requests() -> None:
    """A request has a bounded number of names."""
    names = [f"i{number}" for number in range(MAX_TOGETHER + 1)]
    cluster = FakeReader(dict.fromkeys(names, A_MAPPING))
    together = TogetherReader(cluster, spawn)
    await asyncio.gather(*map(together.mapping, names))
    assert [len(asked) for asked in cluster.asked if isinstance(asked, tuple)] == [MAX_TOGETHER]
    assert cluster.asked[-1] == names[-1]


ROOT = {"type": "cluster_block_exception", "reason": "index [b] blocked by: [FORBIDDEN/9/index metadata (api)];"}
BLOCKED = {"error": {**ROOT, "root_cause": [ROOT]}, "status": 403}


@pytest.mark.parametrize(
    "cause",
    [
        ApiError("x", meta(500), {}),
        ApiError("x", meta(403), BLOCKED),
        AnswerTooLarge(64_000_000),
    ],
)
async def test_one_bad_name_fails_alone(cluster: FakeReader, cause: Exception) -> None:
    """A mapping that can't be rendered, an index with a block, mappings too large together: others get theirs."""
    cluster.broken["b"] = ClusterUnavailable("x")
    cluster.broken["b"].__cause__ = cause
    together = TogetherReader(cluster, spawn)
    assert (await asyncio.gather(together.mapping("a"), together.mapping("b")))[0] == {"a": A_MAPPING}
    assert cluster.asked == [("a", "b"), "a", "b"]


async def test_nobody_is_left_waiting(cluster: FakeReader) -> None:
    """When the owner ends the task that gathers, those who wait are let go."""
    tasks: list[asyncio.Task[None]] = []

    def keep(function: object) -> asyncio.Task[None]:
        tasks.append(spawn(function))  # type: ignore[arg-type]
        return tasks[-1]

    cluster.gate.clear()
    waiting = asyncio.create_task(TogetherReader(cluster, keep).mapping("a"))
    await settle()
    tasks[0].cancel()
    await settle()
    assert waiting.cancelled()


class Body:
    """Something large that a failing read works on."""


class FailingReader(FakeReader):
    """Fails with a body of its answer in hand."""

    body: "weakref.ref[Body]"

    async def mapping(self, name: str) -> dict[str, bytes]:
        body = Body()
        self.body = weakref.ref(body)
        raise ClusterUnavailable(f"{name} can't be read")


async def test_a_failure_keeps_nothing_alive() -> None:
    """What was read is let go with the call that failed, without waiting for the garbage collector."""
    reader = FailingReader({})
    gc.disable()
    try:
        with pytest.raises(ClusterUnavailable):
            await TogetherReader(reader, spawn).mapping("a")
        assert reader.body() is None
    finally:
        gc.enable()
