"""The way of a login: what is refused, slowed, checked, and what counts as failed."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

import pytest

from esassistant.asgi_types import Message, Receive, Scope, Send
from esassistant.http.counters import NOTE as REQUEST_NOTE
from esassistant.http.gate import Gate
from esassistant.http.login_lane import WAITING_SLOWED, LoginLane, login_name
from esassistant.http.logins import NOTE, Logins
from tests.support.asgi import Asked, Got, ask
from tests.support.fakes import FakeClock

FORM = (b"content-type", b"application/x-www-form-urlencoded")
MULTIPART = (b"content-type", b"multipart/form-data; boundary=x")
HOST = (b"host", b"testserver")


def body(name: str = "operator", password: str = "wrong") -> bytes:  # noqa: S107
    return urlencode({"username": name, "password": password}).encode()


def login(form: bytes | None = None, *headers: tuple[bytes, bytes], host: str = "203.0.113.1") -> Asked:
    sent = body() if form is None else form
    return Asked("/admin/login/", "POST", headers=(HOST, FORM, *headers), body=sent, more={"client": (host, 4711)})


class Django:
    """Answers with one status, and notes what it was given."""

    def __init__(self) -> None:
        self.status: int | None = 200
        self.succeeds = False
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        self.bodies.append(message["body"])
        if self.succeeds:
            scope[NOTE].succeeded = True
        if self.status is not None:
            await send({"type": "http.response.start", "status": self.status, "headers": []})
            await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def django() -> Django:
    return Django()


@pytest.fixture
def logins() -> Logins:
    return Logins(FakeClock())


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def lane(django: Django, logins: Logins, slept: list[float]) -> LoginLane:
    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    return LoginLane(django, Gate(1, 0), logins, sleep)


async def answers(lane: LoginLane, asked: Iterable[Asked]) -> list[int]:
    return [(await ask(lane, one)).status for one in asked]


async def test_five_are_checked(lane: LoginLane, django: Django, logins: Logins) -> None:
    """Django gets five with their bodies, and none of those that are refused: by the count, then by memory."""
    assert await answers(lane, [login()] * 8) == [200] * 5 + [429] * 3
    assert django.bodies == [body()] * 5
    assert (logins.report().failed_total, logins.report().refused_total) == (5, 3)


async def refused(lane: LoginLane, *headers: tuple[bytes, bytes], scheme: str = "http") -> Got:
    await answers(lane, [login()] * 5)
    asked = login(None, *headers)
    return await ask(
        lane, Asked(asked.path, "POST", headers=asked.headers, body=asked.body, more={**asked.more, "scheme": scheme})
    )


async def test_a_browser_gets_a_page(lane: LoginLane) -> None:
    """In the look of the login, with the time to wait; each time anew."""
    for seconds in (b"900", b"900"):
        got = await refused(lane, (b"accept", b"text/html,*/*"))
        assert got.status == 429
        assert got.header("retry-after") == seconds.decode()
        assert got.header("content-type") == "text/html; charset=utf-8"
        assert got.header("cache-control") == "no-store"
        assert got.header("x-frame-options") == "DENY"
        assert "default-src 'self'" in (got.header("content-security-policy") or "")
        assert b"Try again in 15 min." in got.body
        assert b"admin/css/login" in got.body
        assert got.header("content-length") == str(len(got.body))


async def test_others_get_a_problem(lane: LoginLane, settings: Any) -> None:
    """Who doesn't ask for a page gets what an API gives; over HTTPS with HSTS."""
    settings.SECURE_HSTS_SECONDS = 60
    got = await refused(lane, scheme="https")
    assert (got.status, got.header("content-type")) == (429, "application/problem+json")
    assert got.header("strict-transport-security") == "max-age=60"
    assert b"Try again in 15 min." in got.body


@pytest.mark.parametrize("status", [301, 400, 403, 500, 503])
async def test_what_was_not_checked_counts_for_nothing(
    lane: LoginLane, django: Django, logins: Logins, status: int
) -> None:
    """Whatever Django answers but the form, no password was looked at."""
    django.status = status
    assert await answers(lane, [login()] * 8) == [status] * 8
    assert logins.report().failed_total == 0


async def test_a_success_begins_anew(lane: LoginLane, django: Django, logins: Logins) -> None:
    """After four failures and a success five more may fail; the success is none."""
    await answers(lane, [login()] * 4)
    django.status, django.succeeds = 302, True
    assert await answers(lane, [login()]) == [302]
    django.status, django.succeeds = 200, False
    assert await answers(lane, [login()] * 6) == [200] * 5 + [429]
    assert logins.report().failed_total == 9


async def test_who_leaves_has_failed(lane: LoginLane, django: Django, logins: Logins) -> None:
    """Else whoever leaves before the answer would have as many tries as he likes."""
    django.status = None
    for _ in range(5):
        await lane(login().scope(), received(body()), sent([]))
    assert logins.report().failed_total == 5
    assert await answers(lane, [login()]) == [429]


def received(*parts: bytes | None) -> Receive:
    """The messages of a body in parts; None: the client leaves."""
    messages = [
        {"type": "http.disconnect"} if part is None else {"type": "http.request", "body": part, "more_body": more}
        for part, more in zip(parts, [*[True] * (len(parts) - 1), False], strict=True)
    ]

    async def receive() -> Message:
        return messages.pop(0)

    return receive


def sent(messages: list[Message]) -> Send:
    async def send(message: Message) -> None:
        messages.append(message)

    return send


async def test_a_body_in_parts(lane: LoginLane, django: Django) -> None:
    """Django gets the whole of it."""
    messages: list[Message] = []
    await lane(login().scope(), received(body()[:5], body()[5:]), sent(messages))
    assert django.bodies == [body()]
    assert messages[0]["status"] == 200


async def test_who_leaves_amid_the_body(lane: LoginLane, django: Django) -> None:
    """Is not answered, and gives back the place."""
    scope, messages = login().scope(), list[Message]()
    await lane(scope, received(b"user", None), sent(messages))
    assert messages == []
    assert django.bodies == []
    assert scope[REQUEST_NOTE].door == "refused"
    assert await answers(lane, [login()]) == [200]


async def test_what_has_no_name_goes_on_to_django(lane: LoginLane, django: Django, logins: Logins) -> None:
    """It says what is missing; nothing is counted, however often it is sent."""
    assert await answers(lane, [login(b"username=operator")] * 8) == [200] * 8
    assert len(django.bodies) == 8
    assert logins.report().failed_total == 0


async def test_no_place(django: Django, logins: Logins) -> None:
    """At a full gate nothing is read and nothing counted."""
    lane = LoginLane(django, Gate(0, 0), logins)
    got = await ask(lane, login())
    assert (got.status, got.header("retry-after")) == (503, "1")
    assert django.bodies == []


def from_a_proxy(number: int) -> Asked:
    """From an address that nobody is refused at, after five failures slowed."""
    return login(None, (b"x-forwarded-for", b"198.51.100.%d" % number), host="10.0.0.7")


async def test_the_slowed_wait_a_second(lane: LoginLane, django: Django, slept: list[float]) -> None:
    """After the fifth failure each waits once, and is checked."""
    assert await answers(lane, map(from_a_proxy, range(8))) == [200] * 8
    assert slept == [1.0] * 3
    assert len(django.bodies) == 8


class Sleepers:
    """Sleep until the test wakes them."""

    def __init__(self) -> None:
        self.count = 0
        self.awake = asyncio.Event()

    async def __call__(self, _: float) -> None:
        self.count += 1
        await self.awake.wait()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (nothing tells of it)
            await asyncio.sleep(0)


async def test_the_slowed_take_no_place(django: Django, logins: Logins) -> None:
    """While one waits the gate's only place is free; where too many wait, the next is sent away and not counted; who
    finds no place after the wait is sent away too.
    """
    sleepers, gate = Sleepers(), Gate(1, 0)
    lane = LoginLane(django, gate, logins, sleepers)
    assert await answers(lane, map(from_a_proxy, range(5))) == [200] * 5
    waiting = []
    for number in range(WAITING_SLOWED):
        waiting.append(asyncio.create_task(ask(lane, from_a_proxy(number))))
        await until(lambda number=number: sleepers.count == number + 1)  # type: ignore[misc]
    assert await answers(lane, [login()]) == [200]
    assert await answers(lane, [from_a_proxy(1)]) == [503]
    assert await gate.enter()
    sleepers.awake.set()
    assert {got.status for got in await asyncio.gather(*waiting)} == {503}
    gate.leave()
    assert await answers(lane, [login()]) == [200]
    assert logins.report().failed_total == 7


async def test_who_is_cancelled_amid_the_wait(django: Django, logins: Logins) -> None:
    """Gives nothing back twice: there is still the one place."""
    sleepers, gate = Sleepers(), Gate(1, 0)
    lane = LoginLane(django, gate, logins, sleepers)
    await answers(lane, map(from_a_proxy, range(5)))
    waiting = asyncio.create_task(ask(lane, from_a_proxy(6)))
    await until(lambda: sleepers.count == 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await gate.enter()
    assert not await gate.enter()


FIELDS = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'


@pytest.mark.parametrize(
    ("headers", "form", "name"),
    [
        ((FORM,), body(), "operator"),
        ((FORM,), body("  ü "), "  ü "),
        ((FORM,), body("a") + b"&username=b", "b"),
        ((FORM,), body("  "), None),
        ((FORM,), body(password=""), None),
        ((FORM,), b"password=x", None),
        ((FORM,), b"", None),
        ((), body(), None),
        ((FORM,), b"&".join(b"a%d=" % number for number in range(1100)), None),
        (((b"content-type", b"application/x-www-form-urlencoded; charset=nothing"),), body(), "operator"),
        ((MULTIPART,), FIELDS % (b"username", b"operator") + FIELDS % (b"password", b"x") + b"--x--\r\n", "operator"),
        ((MULTIPART,), b"nonsense", None),
        (((b"content-type", b"multipart/form-data"),), b"nonsense", None),
    ],
)
def test_the_name_is_what_django_reads(headers: tuple[tuple[bytes, bytes], ...], form: bytes, name: str | None) -> None:
    """Of several the last, of a form that Django refuses none, and none where no password would be checked."""
    length = (b"content-length", b"%d" % len(form))
    assert login_name(Asked("/admin/login/", "POST", headers=(HOST, length, *headers)).scope(), form) == name


def test_an_address_that_is_not_utf_8() -> None:
    """Such a request Django can't represent."""
    assert login_name(Asked("/admin/login/", "POST", query=b"\xff", headers=(HOST, FORM)).scope(), body()) is None
