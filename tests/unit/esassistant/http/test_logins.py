"""Logins that fail: where they are counted, what is said of them, what is reported."""

import asyncio
import logging
from typing import Any

import pytest

from esassistant.advice import Recommendation
from esassistant.http import logins as module
from esassistant.http.logins import (
    LINES_AT_ONCE,
    MAX_REMEMBERED,
    NOTE,
    REMEMBERED_SECONDS,
    Begun,
    LoginNote,
    Logins,
    login_rules,
    note_success,
    refusal_of,
)
from tests.support.asgi import Asked
from tests.support.fakes import FakeClock, MemoryStore

LOGGER = "esassistant.http.logins"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def logins(clock: FakeClock) -> Logins:
    return Logins(clock)


def scope(host: str | None = "203.0.113.1", *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    client = None if host is None else (host, 4711)
    return Asked("/admin/login/", "POST", headers=headers, more={"client": client}).scope()


async def begin(logins: Logins, name: str = "operator", host: str | None = "203.0.113.1") -> Begun:
    return await logins.begin(*logins.attempt(scope(host), name))


async def fail(logins: Logins, name: str = "operator", host: str | None = "203.0.113.1") -> None:
    await logins.end(await begin(logins, name, host), succeeded=False, failed=True)


async def is_refused(logins: Logins, name: str = "operator", host: str = "203.0.113.1") -> bool:
    return (await begin(logins, name, host)).verdict.refused_seconds is not None


async def test_two_processes_count_together(clock: FakeClock) -> None:
    """What fails at one is known at the other; after a success at either both begin anew."""
    store = MemoryStore(clock)
    one, other = Logins(clock), Logins(clock)
    with one.shared_by(store), other.shared_by(store):
        for logins in (one, other, one, other):
            await fail(logins)
        await other.end(await begin(other), succeeded=True, failed=False)
        for logins in (one, other, one, other, one):
            assert not await is_refused(logins)
        assert await is_refused(one)
        assert await is_refused(other)
    assert (one.report().failed_total, one.report().refused_total, one.report().unshared_total) == (2, 1, 0)


async def test_without_a_store(clock: FakeClock, logins: Logins) -> None:
    """Where the store is away a process counts for itself, and takes back where it counted."""
    store = MemoryStore(clock)
    with logins.shared_by(store):
        store.down = True
        begun = await begin(logins)
        store.down = False
        await logins.end(begun, succeeded=False, failed=False)
        store.down = True
        for _ in range(5):
            assert not await is_refused(logins)
        assert await is_refused(logins)
        assert logins.report().unshared_total == 7
        store.down = False
        begun = await begin(logins, "other")
        store.down = True
        await logins.end(begun, succeeded=True, failed=False)  # stays counted there
        assert logins.report().unshared_total == 8


async def test_a_refusal_is_remembered(clock: FakeClock, logins: Logins) -> None:
    """For some seconds this process repeats it without asking the store, with the seconds that are left; the refusal of
    an address is that of all names from there.
    """
    attempt, _ = logins.attempt(scope(), "operator")
    assert logins.refused_seconds(attempt) is None
    for _ in range(6):
        await begin(logins)
    assert logins.refused_seconds(attempt) == 900
    clock.advance(REMEMBERED_SECONDS - 1)
    assert logins.refused_seconds(attempt) == 900 - (REMEMBERED_SECONDS - 1)
    assert logins.refused_seconds(logins.attempt(scope(), "other")[0]) is None
    clock.advance(1)
    assert logins.refused_seconds(attempt) is None
    for number in range(16):
        await begin(logins, f"name-{number}")
    assert logins.refused_seconds(logins.attempt(scope(), "other")[0]) is not None
    assert logins.report().refused_total == 5


async def test_few_refusals_are_remembered(logins: Logins) -> None:
    """Strangers with many addresses don't fill the memory."""
    for number in range(MAX_REMEMBERED + 5):
        attempt, _ = logins.attempt(scope(f"2001:db8:0:{number:x}::1"), "operator")
        verdict = (await begin(logins, "operator", f"2001:db8:0:{number:x}::1")).verdict
        logins.remember(attempt, verdict, 900.0)
    assert logins.refused_seconds(logins.attempt(scope("2001:db8::1"), "operator")[0]) is None
    last = f"2001:db8:0:{MAX_REMEMBERED + 4:x}::1"
    assert logins.refused_seconds(logins.attempt(scope(last), "operator")[0]) == 900.0


async def test_a_line_for_each_while_they_are_few(logins: Logins, caplog: pytest.LogCaptureFixture) -> None:
    """With the address and what it has left, without the name; when they are many, one line a minute says how many."""
    caplog.set_level(logging.WARNING, LOGGER)
    await fail(logins, "secret-in-the-wrong-field")
    assert caplog.messages == [
        "failed login from 203.0.113.1: 1 of 5 for this name and address, 1 of 20 for this address, in 15 minutes"
    ]
    for number in range(100):
        await fail(logins, "secret-in-the-wrong-field", f"198.51.100.{number}")
    assert len(caplog.messages) == LINES_AT_ONCE
    logins.say_unsaid()
    assert caplog.messages[LINES_AT_ONCE:] == [
        f"{101 - LINES_AT_ONCE} more failed logins in the last minute; 101 since the start, 0 refused, 1 slowed"
    ]
    logins.say_unsaid()
    assert len(caplog.messages) == LINES_AT_ONCE + 1
    await fail(logins, "secret-in-the-wrong-field", None)
    assert caplog.messages[-1] == "failed login from an unknown address"
    assert "secret" not in caplog.text


async def test_it_is_said_every_minute(caplog: pytest.LogCaptureFixture) -> None:
    """The background task says what was left unsaid, after a minute and again."""
    slept: list[float] = []
    ended = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            ended.set()
            await asyncio.Event().wait()

    logins = Logins(FakeClock(), sleep)
    for _ in range(LINES_AT_ONCE + 1):
        await fail(logins, host=None)
    task = asyncio.create_task(logins.keep_saying())
    await ended.wait()
    task.cancel()
    assert slept == [60, 60, 60]
    assert [message for message in caplog.messages if "more failed logins" in message] == [
        f"1 more failed logins in the last minute; {LINES_AT_ONCE + 1} since the start, 0 refused, 1 slowed"
    ]


@pytest.mark.parametrize(
    ("host", "proxy", "said"),
    [
        ("10.0.0.7", "10.0.0.7", "nobody is refused there"),
        ("127.0.0.1", "127.0.0.1", "nobody is refused there"),
        ("8.8.8.8", None, "all who come from there count as one client"),
        ("2a00:1450::1", None, "all who come from there count as one client"),
    ],
)
async def test_a_proxy_is_said_once(
    logins: Logins, caplog: pytest.LogCaptureFixture, host: str, proxy: str | None, said: str
) -> None:
    """An address that logs in for others is said once, with what to do. One of the internet is refused all the same:
    else a header would be all that anybody needs.
    """
    for number in range(PER_ADDRESS_AND_MORE):
        forwarded = scope(host, (b"x-forwarded-for", b"198.51.100.%d" % number))
        begun = await logins.begin(*logins.attempt(forwarded, f"name-{number}"))
    assert (begun.verdict.refused_seconds is None) == (proxy is not None)
    assert logins.report().proxy == proxy
    assert len(caplog.messages) == 1
    assert said in caplog.messages[0]
    assert f"serve --forwarded-allow-ips {host}" in caplog.messages[0]
    advice = list(login_rules(logins.report()))
    assert [one.metric for one in advice] == ([] if proxy is None else ["logins.proxy"])
    assert all(isinstance(one, Recommendation) and f"--forwarded-allow-ips {proxy}" in one.why for one in advice)


PER_ADDRESS_AND_MORE = 21


async def test_a_second_proxy_is_not_said(logins: Logins, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the addresses: one line, and the advice names the first."""
    for host in ("8.8.8.8", "10.0.0.7", "10.0.0.8"):
        logins.attempt(scope(host, (b"x-forwarded-for", b"198.51.100.1")), "operator")
    assert len(caplog.messages) == 1
    assert logins.report().proxy == "10.0.0.7"


def test_a_success_is_noted_for_logins_under_way() -> None:
    """Django's signal finds the note in the scope; where there is none, as with another server or view, it does
    nothing.
    """

    class Request:
        def __init__(self, scope: dict[str, Any]) -> None:
            self.scope = scope

    note = LoginNote()
    note_success(Request({NOTE: note}))
    assert note.succeeded
    note_success(Request({}))
    note_success(None)


def test_one_for_the_process() -> None:
    """Whoever asks gets the same."""
    assert module.logins() is module.logins()


def test_the_refusal_says_how_long() -> None:
    """In its text and for `Retry-After`."""
    error = refusal_of(12.2)
    assert (error.status, error.retry_after_seconds) == (429, 12.2)
    assert error.detail == "Too many logins failed. Try again in 13 s."
