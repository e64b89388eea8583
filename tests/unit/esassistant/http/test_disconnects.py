"""Requests whose client leaves: what is being done for it ends, and nothing else does."""

import asyncio

import pytest

from esassistant.asgi_types import Message
from esassistant.http.disconnects import WATCHED_AFTER_SECONDS, unless_left, whole_body


class Client:
    """Sends what a test says, then nothing until it leaves."""

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)
        self.watched = asyncio.Event()
        self.leaves = asyncio.Event()

    async def receive(self) -> Message:
        if self._messages:
            return self._messages.pop(0)
        self.watched.set()
        await self.leaves.wait()
        return {"type": "http.disconnect"}


def part(body: bytes | None = None, *, more: bool = False) -> Message:
    return {"type": "http.request", **({} if body is None else {"body": body}), "more_body": more}


@pytest.mark.parametrize(
    ("messages", "body"),
    [
        ([part(b"ab")], b"ab"),
        ([{"type": "http.request"}], b""),
        ([part(b"ab", more=True), part(more=True), part(b"cd")], b"abcd"),
        ([{"type": "http.disconnect"}], None),
        ([part(b"ab", more=True), {"type": "http.disconnect"}], None),
    ],
)
async def test_bodies(messages: list[Message], body: bytes | None) -> None:
    """A body in one part or several; none of a client that leaves before its end."""
    assert await whole_body(Client(*messages).receive) == body


async def test_quick_work_has_no_watch() -> None:
    """What is done at once never asks whether the client is there."""
    client = Client()

    async def work() -> int:
        await asyncio.sleep(0)
        return 3

    assert await unless_left(work(), client.receive) == 3
    await asyncio.sleep(2 * WATCHED_AFTER_SECONDS)
    assert not client.watched.is_set()


class Work:
    """Begins, and goes on until it is told to end."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ends = asyncio.Event()
        self.was_cancelled = False

    async def run(self) -> str:
        self.began.set()
        try:
            await self.ends.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return "done"


async def test_long_work_ends_with_its_client() -> None:
    """A client that leaves cancels it; the task goes on, and isn't cancelled itself."""
    client, work = Client(), Work()

    async def request() -> str | None:
        found = await unless_left(work.run(), client.receive)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        return found

    asked = asyncio.create_task(request())
    await work.began.wait()
    client.leaves.set()
    assert await asked is None
    assert work.was_cancelled


async def test_long_work_for_a_client_that_stays() -> None:
    """It gives its result, and no watch is left."""
    client, work = Client(), Work()
    asked = asyncio.create_task(unless_left(work.run(), client.receive))
    await client.watched.wait()
    tasks = len(asyncio.all_tasks())
    work.ends.set()
    assert await asked == "done"
    assert len(asyncio.all_tasks()) == tasks - 2


@pytest.mark.parametrize("leaves", [False, True])
async def test_who_else_cancels_is_obeyed(leaves: bool) -> None:
    """The server ends a request: its task is cancelled, also when its client leaves at the same time."""
    client, work = Client(), Work()
    asked = asyncio.create_task(unless_left(work.run(), client.receive))
    await client.watched.wait()
    if leaves:
        client.leaves.set()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert work.was_cancelled


async def test_errors_pass() -> None:
    """What goes wrong is told to who asked."""

    async def work() -> None:
        raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        await unless_left(work(), Client().receive)
