"""The addresses of streams, and those that are open: which request is one, and how they end with their owner."""

import asyncio
from typing import Any

import pytest

from esassistant.asgi_types import Message
from esassistant.config.tokens import Right
from esassistant.http.callers import API_CALLER
from esassistant.http.streams import EVENT_STREAM, Stop, StreamCall, StreamRoute, Streams
from tests.support.asgi import Asked

HOST = (b"host", b"testserver")


async def nothing(_: StreamCall) -> None:
    """A source that is never asked here."""


def route(template: str, **options: Any) -> StreamRoute:
    return StreamRoute(
        template,
        nothing,
        **{"rights": (Right.READ,), "methods": ("GET",), "media_type": None, "lasts": True, **options},
    )


async def unsent(_: Message) -> None:
    raise AssertionError


def call(scope: dict[str, Any] | None = None) -> StreamCall:
    return StreamCall(scope or Asked("/f").scope(), "", API_CALLER, unsent, 1)


@pytest.mark.parametrize(
    ("template", "path", "name"),
    [
        ("/f", "/f", ""),
        ("/f", "/f/", None),
        ("/f/{name}", "/f/a", "a"),
        ("/f/{name}", "/f/", None),
        ("/f/{name}", "/f/a/b", None),
        ("/f/{name}", "/f/a\nb", None),
        ("/f/{name}/g", "/f/a/g", "a"),
        ("/f/{name}/g", "/f/a", None),
        ("/f/{name}/g", "/x/a/g", None),
    ],
)
def test_names_in_addresses(template: str, path: str, name: str | None) -> None:
    """A name is one segment on one line; an address without one is that address alone."""
    assert route(template).name_in(path) == name


@pytest.mark.parametrize(
    ("method", "accept", "media_type", "takes"),
    [
        ("GET", None, None, True),
        ("DELETE", None, None, True),
        ("OPTIONS", None, None, False),
        ("GET", b"text/event-stream", EVENT_STREAM, True),
        ("GET", b"application/json, TEXT/event-stream;q=0.9", EVENT_STREAM, True),
        ("GET", b"text/event-streams", EVENT_STREAM, False),
        ("GET", b"*/*", EVENT_STREAM, False),
        ("GET", None, EVENT_STREAM, False),
        ("POST", b"text/event-stream", EVENT_STREAM, False),
    ],
)
def test_whose_a_request_is(method: str, accept: bytes | None, media_type: str | None, takes: bool) -> None:
    """An address of this door alone is its own but for CORS; one that a view has too, for whom the type is meant."""
    headers = (HOST,) if accept is None else (HOST, (b"accept", accept))
    assert route("/f", media_type=media_type).takes(Asked("/f", method, headers=headers).scope()) == takes


async def test_addresses_are_there_as_long_as_their_owner() -> None:
    """Also under a prefix, which the server says."""
    streams = Streams()
    async with streams.answering("/f", nothing), streams.answering("/g/{name}", nothing):
        found = streams.find(Asked("/g/a").scope())
        assert found is not None
        assert (found[0].template, found[1]) == ("/g/{name}", "a")
        assert streams.find(Asked("/app/f", more={"root_path": "/app"}).scope()) is not None
        assert streams.find(Asked("/h").scope()) is None
    assert streams.find(Asked("/f").scope()) is None


async def test_the_end_of_an_owner() -> None:
    """Its streams are told to end, and stopped when they don't; it waits until each is closed. Other owners' go on."""
    streams = Streams(ending_seconds=0.01)
    mine, others = call(), call()

    async def door() -> None:
        assert await mine.stopped is Stop.ENDED
        assert mine.ending.is_set()
        streams.closed(mine)

    async with streams.answering("/g", nothing):
        async with streams.answering("/f", nothing):
            for one, path in ((mine, "/f"), (others, "/g")):
                found = streams.find(Asked(path).scope())
                assert found is not None
                streams.opened(one, found[0])
            serving = asyncio.create_task(door())
        assert serving.done()
        assert not others.ending.is_set()
        assert streams.report().open == 1
        streams.closed(others)


async def test_the_end_of_the_server() -> None:
    """All are told to, once; until it begins again there are no new ones."""
    streams = Streams(ending_seconds=0.01)
    one = call()
    streams.opened(one, route("/f"))
    streams.end()
    streams.end()
    assert (streams.is_ending, one.ending.is_set(), one.stopped.done()) == (True, True, False)
    assert await one.stopped is Stop.ENDED
    streams.begin()
    assert not streams.is_ending


async def test_who_wants_to_know_of_the_end() -> None:
    """Each is called once, when a stream is told to end; at once, if it has been."""
    one, heard = call(), []
    one.when_ending(lambda: heard.append("before"))
    assert heard == []
    one.end(1)
    one.end(1)
    one.when_ending(lambda: heard.append("after"))
    assert heard == ["before", "after"]


async def test_the_bound() -> None:
    """As many as there are places."""
    streams = Streams(1)
    assert not streams.is_full
    one = call()
    streams.opened(one, route("/f"))
    assert streams.is_full
    streams.closed(one)
    assert (streams.is_full, one.closed.is_set()) == (False, True)


async def test_reasons_to_stop() -> None:
    """The first one counts; that a client left which has its whole answer is none."""
    one = call()
    one.stop(Stop.STALLED)
    one.stop(Stop.LEFT)
    assert one.stopped.result() is Stop.STALLED
    whole = call()
    whole.is_complete = True
    whole.stop(Stop.LEFT)
    assert not whole.stopped.done()
    whole.stop(Stop.ENDED)
    assert whole.stopped.result() is Stop.ENDED
