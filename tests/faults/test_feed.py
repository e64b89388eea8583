"""Case 67, as far as who follows the changes: hundreds of subscribers, while the process that reads the cluster is
killed, and their own server with it.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.event_stream import Event, EventStream, following
from dev.servers.redis import RedisServer
from tests.support.deployments import LEASE_SECONDS, add_field, locked_database, two_servers
from tests.support.fixtures import Figure

pytestmark = pytest.mark.django_db(transaction=True)

SUBSCRIBERS = 500
QUICK_CHANGES = 6
COME_BACK_SECONDS = (0.1, 1.0)
HEARD_SECONDS = 3 * LEASE_SECONDS


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


class Follower:
    """A client that comes back with the id of its last event, to another server each time, as a browser would do behind
    a load balancer.
    """

    def __init__(self, urls: Sequence[str], turn: int) -> None:
        self._urls = urls
        self._turn = turn
        self._streams: list[EventStream] = []
        self.last_event_id = ""

    @property
    def events(self) -> list[Event]:
        return [event for stream in self._streams for event in stream.events]

    @property
    def fields(self) -> list[str]:
        """What was added, and the kinds of other changes, in the order they came."""
        return [field for event in self.events for field in (event.data["added"] or [event.data["kind"]])]

    async def follow(self) -> None:
        """Until it is cancelled."""
        while True:
            url = f"{self._urls[self._turn % len(self._urls)]}/api/changes"
            with suppress(OSError, TimeoutError):
                async with following(url, last_event_id=self.last_event_id) as stream:
                    self._streams.append(stream)
                    if stream.status == 200:
                        await stream.ended
                    self.last_event_id = stream.last_event_id or self.last_event_id
            self._turn += 1
            await asyncio.sleep(random.uniform(*COME_BACK_SECONDS))

    @property
    def is_placed(self) -> bool:
        return any(stream.last_event_id for stream in self._streams)


async def until_all(followers: Sequence[Follower], fields: Sequence[str]) -> float:
    """Wait until each has heard of these, and of nothing else; returns how long that took."""
    began_at = time.monotonic()
    wanted = list(fields)
    async with asyncio.timeout(HEARD_SECONDS):
        while any(follower.fields != wanted for follower in followers):
            for follower in followers:
                assert follower.fields == wanted[: len(follower.fields)], follower.fields
            await asyncio.sleep(0.05)
    return time.monotonic() - began_at


async def test_case_67_subscribers(redis: RedisServer, node: Node, cluster: Elasticsearch, figure: Figure) -> None:
    """500 follow two servers. The one that watches publishes a change, and is killed before it can write it: all hear
    of it once the other has read it, those of the killed one too, each once and in order, and go on from there.
    """
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "date"}}})
    with two_servers(node.url, redis.url, redis.url) as (one, two):
        followers = [Follower((one.url, two.url), number) for number in range(SUBSCRIBERS)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(follower.follow()) for follower in followers]
            async with asyncio.timeout(60):
                while not all(follower.is_placed for follower in followers):  # noqa: ASYNC110  (they are many)
                    await asyncio.sleep(0.05)
            fields, seconds = [], []
            for number in range(QUICK_CHANGES):
                fields.append(f"f{number}")
                await asyncio.to_thread(add_field, cluster, fields[-1])
                acknowledged = time.monotonic()
                await until_all(followers, fields)
                seconds += [max(0.0, follower.events[-1].at - acknowledged) for follower in followers]
            with locked_database():
                await asyncio.to_thread(add_field, cluster, "owed")
                await asyncio.sleep(3)  # it is published by then, and can't be written
                one.kill()
            await asyncio.to_thread(add_field, cluster, "later")
            fields_told = [*fields, "owed", "later"]
            taken_over = await heard(followers, fields_told)
            ids = {tuple(event.id for event in follower.events) for follower in followers}
            assert len(ids) == 1
            for task in tasks:
                task.cancel()
    p95 = statistics.quantiles(seconds, n=20)[-1]
    figure(
        67,
        f"{SUBSCRIBERS} subscribers: {QUICK_CHANGES} changes told after {p95 * 1000:.0f} ms (p95); the server that "
        f"owed one killed: all were told it, once, {taken_over:.1f} s later",
    )


async def heard(followers: Sequence[Follower], fields: Sequence[str]) -> float:
    """Wait until each has heard of all of these, once each; returns how long that took. Two changes that are read
    together are told together, in whatever order their names have.
    """
    began_at = time.monotonic()
    async with asyncio.timeout(HEARD_SECONDS):
        while any(len(follower.fields) < len(fields) for follower in followers):  # noqa: ASYNC110  (they are many)
            await asyncio.sleep(0.05)
    await asyncio.sleep(1)  # what would come twice has come
    for follower in followers:
        assert sorted(follower.fields) == sorted(fields)
    return time.monotonic() - began_at
