"""Requests of one token at once: as many as its entry permits, and whose they are is noted."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from esassistant.asgi_types import Receive, Scope, Send
from esassistant.config.tokens import Right, ScopedToken, digest_of
from esassistant.http.counters import Counters, note_of
from esassistant.http.statistics import HttpStatistics
from esassistant.http.token_limits import TokenLimits
from tests.support.asgi import Asked, Got, ask

API = "first-token-0123456789"
PAST = datetime(2020, 1, 1, tzinfo=UTC)


def scoped(name: str, **more: Any) -> ScopedToken:
    return ScopedToken(name, digest_of(f"token-of-{name}".encode()), frozenset(Right), ("*",), **more)


@pytest.fixture(scope="module", autouse=True)
def some_tokens() -> Iterator[None]:
    tokens = (
        scoped("one", max_in_flight=1),
        scoped("two", max_in_flight=2),
        scoped("any"),
        scoped("old", expires=PAST),
    )
    config = replace(django_settings.ESASSISTANT, api_tokens=(API,), scoped_tokens=tokens)
    with override_settings(ESASSISTANT=config):
        yield


class Application:
    """Answers when it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.names: list[str | None] = []
        self.statistics = HttpStatistics()
        self.limits = TokenLimits(self._answer)
        self.app = Counters(self.limits, self.statistics, None)

    async def _answer(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.names.append(note_of(scope).token if scope["type"] == "http" else "no http")
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    def ask(self, *authorization: str, **more: Any) -> "asyncio.Task[Got]":
        headers = tuple((b"authorization", value.encode()) for value in authorization)
        return asyncio.create_task(ask(self.app, Asked("/a", **{"headers": headers, **more})))


async def until_under_way(application: Application, number: int) -> None:
    async with asyncio.timeout(5):
        while len(application.names) < number:  # noqa: ASYNC110  (nothing is signalled, and it takes moments)
            await asyncio.sleep(0)


async def test_one_too_many() -> None:
    """Beyond its number a token is refused at once, with what it may do; others are not, and it is again when one has
    ended.
    """
    application = Application()
    allowed = [application.ask("Bearer token-of-two") for _ in range(2)]
    await until_under_way(application, 2)
    refused = await application.ask("Bearer token-of-two")
    problem = json.loads(refused.body)
    assert (refused.status, refused.header("retry-after"), refused.header("connection")) == (429, "1", None)
    assert problem["title"] == "Too many requests of this token"
    assert "max_in_flight" in problem["detail"]
    others = [application.ask(f"Bearer {token}") for token in ("token-of-one", "token-of-any", "token-of-any", API)]
    await until_under_way(application, 6)
    application.may_answer.set()
    assert {(await one).status for one in allowed + others} == {200}
    assert (await application.ask("Bearer token-of-two")).status == 200
    counted = application.statistics.report().tokens
    assert (counted["two"].requests_total, counted["two"].statuses, counted["two"].refused_total) == (
        4,
        {"2xx": 3, "4xx": 1},
        1,
    )
    assert counted["api"].requests_total == counted["one"].requests_total == 1
    assert application.limits._in_flight == {}


async def test_whose_body_still_comes() -> None:
    """Who is refused before its body was read is sent away, as nobody would read it."""
    application = Application()
    first = application.ask("Bearer token-of-one")
    await until_under_way(application, 1)
    headers = ((b"authorization", b"Bearer token-of-one"), (b"content-length", b"9"))
    refused = await application.ask(headers=headers, method="POST")
    assert (refused.status, refused.header("connection")) == (429, "close")
    application.may_answer.set()
    await first


async def test_one_that_fails_or_leaves_has_ended() -> None:
    """A request that is cancelled gives its place back."""
    application = Application()
    first = application.ask("Bearer token-of-one")
    await until_under_way(application, 1)
    first.cancel()
    await asyncio.wait([first])
    application.may_answer.set()
    assert (await application.ask("Bearer token-of-one")).status == 200


@pytest.mark.parametrize(
    ("authorization", "name"),
    [
        ((), None),
        (("Basic dTpw",), None),
        (("Bearer wrong",), None),
        (("Bearer token-of-one", "Bearer token-of-two"), None),
        (("Bearer token-of-one",), "one"),
        (("Bearer token-of-old",), "old"),
        ((f"bearer {API}",), "api"),
    ],
)
async def test_whose_request_it_is(authorization: tuple[str, ...], name: str | None) -> None:
    """The name of a token of ours is noted, an expired one's too; nobody's is nobody's."""
    application = Application()
    application.may_answer.set()
    await application.ask(*authorization)
    assert application.names == [name]
    assert list(application.statistics.report().tokens) == ([name] if name else [])


async def test_other_protocols_go_on() -> None:
    """The lifespan is nobody's here."""
    application = Application()
    application.may_answer.set()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    nothing: Any = None
    await application.app({"type": "lifespan"}, nothing, send)
    assert application.names == ["no http"]
