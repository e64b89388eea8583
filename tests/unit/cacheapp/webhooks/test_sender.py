"""Sending one event to a real receiver: that it arrives, what a bad answer means, and where nothing is sent."""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from cacheapp.webhooks.events import event_of, headers
from cacheapp.webhooks.policy import Attempt, Outcome
from cacheapp.webhooks.sender import MAX_READ_BYTES, CheckedResolver, Deadlines, OwnThreads, Sender, open_sender
from dev.ports import HOST
from esassistant.config.webhooks import Target
from tests.support.changes import NOW, change
from tests.support.clients import Certificate
from tests.support.receiver import KEY, Received, Reply, WebhookReceiver

EVENT = event_of(change(7, "orders"), "h")
LOOPBACK = (ipaddress.ip_network(f"{HOST}/32"),)


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


def target(url: str, *networks: str) -> Target:
    allowed = tuple(map(ipaddress.ip_network, networks)) if networks else LOOPBACK
    return Target("registry", url, (KEY,), ("*",), allow_networks=allowed)


class Names(AbstractResolver):
    """A name server that says what a test wants; `answers`: one list of addresses for each question."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        addresses = self.answers.pop(0)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        self.answers.clear()


@asynccontextmanager
async def opened(to: Target, names: Names | None = None) -> AsyncIterator[Sender]:
    async with open_sender(to, now=lambda: NOW, resolver=names, deadlines=Deadlines(1.0, 0.5, 0.2)) as sender:
        yield sender


async def sent(to: Target, names: Names | None = None) -> Attempt:
    async with opened(to, names) as sender:
        return await sender.send(EVENT)


async def test_it_arrives(receiver: WebhookReceiver) -> None:
    """The receiver gets the event, with its signature; connections are used again."""
    async with opened(target(f"{receiver.url}?key=1")) as sender:
        for _ in range(3):
            assert await sender.send(EVENT) == Attempt(Outcome.DELIVERED)
    [received, *_] = receiver.taken
    assert (received.path, received.body) == ("/hook?key=1", EVENT.body())
    expected = headers(EVENT.message_id, NOW, EVENT.body(), (KEY,))
    assert {name: received.headers[name] for name in expected} == expected
    assert received.headers["user-agent"] == "esassistant"
    assert not {"cookie", "authorization"} & set(received.headers)


@pytest.mark.parametrize(
    ("reply", "attempt"),
    [
        (Reply(200, body=b"thanks"), Attempt(Outcome.DELIVERED)),
        (Reply(500, body=b"secret of theirs"), Attempt(Outcome.FAILED, "it answered 500")),
        (Reply(429, {"retry-after": "30"}), Attempt(Outcome.REFUSED, "it answered 429", 30.0)),
        (Reply(410), Attempt(Outcome.GONE, "it answered 410: it wants no more events")),
        (Reply(200, {"content-encoding": "gzip"}, b"no gzip"), Attempt(Outcome.DELIVERED)),
        (Reply(200, {"set-cookie": "a=b"}), Attempt(Outcome.DELIVERED)),
        (Reply(raw=b"220 smtp.example.org\r\n"), Attempt(Outcome.FAILED, "what it answered is not HTTP")),
        (
            Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000),
            Attempt(Outcome.FAILED, "what it answered is not HTTP"),
        ),
        (
            Reply(raw=b""),
            Attempt(
                Outcome.UNREACHABLE,
                "the receiver could not be reached: it closed the connection without an answer. Look at its log, and "
                "at what stands before it.",
            ),
        ),
    ],
)
async def test_answers(receiver: WebhookReceiver, reply: Reply, attempt: Attempt) -> None:
    """The status decides; what else the receiver writes is neither read nor repeated."""
    receiver.answer = lambda _: reply
    assert await sent(target(receiver.url)) == attempt


async def test_redirects_are_not_followed(receiver: WebhookReceiver) -> None:
    """A receiver can't have an event sent to another place, such as one that only this service can reach."""
    receiver.answer = lambda received: Reply(307, {"location": "/inside"}) if received.path == "/hook" else Reply()
    attempt = await sent(target(receiver.url))
    assert attempt.outcome is Outcome.REDIRECTED
    assert "redirects aren't followed" in attempt.detail
    assert [received.path for received in receiver.tried] == ["/hook"]


async def test_slow_receivers(receiver: WebhookReceiver) -> None:
    """One that doesn't answer in time has failed; one whose answer has begun has the event, however long the rest
    takes or is.
    """

    def late(_: Received) -> Reply:
        receiver.ending.wait(5)
        return Reply()

    receiver.answer = late
    attempt = await sent(target(receiver.url))
    assert (attempt.outcome, attempt.detail) == (Outcome.TIMED_OUT, "it did not answer within 1 s")
    receiver.ending.set()
    receiver.answer = lambda _: Reply(200, {"content-length": "1000000000"})
    assert (await sent(target(receiver.url))).is_delivered
    receiver.answer = lambda _: Reply(200, body=b"x" * (20 * MAX_READ_BYTES))
    async with opened(target(receiver.url)) as sender:
        assert (await sender.send(EVENT)).is_delivered
        receiver.answer = lambda _: Reply(200)
        assert (await sender.send(EVENT)).is_delivered


async def test_nobody_there() -> None:
    """The cause is said, with its remedy, and neither host nor port."""
    attempt = await sent(target(f"http://{HOST}:9/"))
    assert attempt.outcome is Outcome.UNREACHABLE
    assert attempt.detail.startswith("the receiver could not be reached: the connection was refused.")
    attempt = await sent(target("http://hooks.example.org/"), Names([]))
    assert attempt.outcome is Outcome.UNREACHABLE
    assert "doesn't resolve" in attempt.detail


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "100.64.0.1"])
async def test_names_of_forbidden_addresses(receiver: WebhookReceiver, address: str) -> None:
    """A name that stands for an address which isn't public is refused, also if that is one of several."""
    to = replace(target(f"https://hooks.example.org:{receiver.port}/"), allow_networks=())
    for addresses in ([address], ["1.1.1.1", address], [address, "1.1.1.1"]):
        attempt = await sent(to, Names(addresses))
        assert attempt.outcome is Outcome.FORBIDDEN
        assert "its host stands for an address that is not allowed" in attempt.detail
    assert receiver.tried == []


@asynccontextmanager
async def counting() -> AsyncIterator[tuple[int, list[object]]]:
    """A port on which connections are accepted, by both families of addresses, and those that were."""
    accepted: list[object] = []

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer.get_extra_info("peername"))
        writer.close()

    has_both = socket.has_dualstack_ipv6()
    listening = socket.create_server(
        ("", 0), family=socket.AF_INET6 if has_both else socket.AF_INET, dualstack_ipv6=has_both
    )
    async with await asyncio.start_server(accept, sock=listening):
        yield listening.getsockname()[1], accepted


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_connections_are_counted(host: str) -> None:
    """Where it may be connected to it is, though no TLS comes of it: the test below would see it."""
    async with counting() as (port, accepted):
        attempt = await sent(target(f"https://{host}:{port}/", "127.0.0.0/8", "::1/128"))
        assert attempt.outcome is Outcome.UNREACHABLE
        assert accepted


@pytest.mark.parametrize(
    "host",
    [HOST, "[::1]", "[::ffff:127.0.0.1]", "0", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost"],
)
async def test_addresses_as_hosts(host: str) -> None:
    """This machine isn't connected to by any spelling of its address."""
    async with counting() as (port, accepted):
        attempt = await sent(replace(target(f"https://{host}:{port}/"), allow_networks=()))
        await asyncio.sleep(0)
        assert (attempt.outcome, accepted) == (Outcome.FORBIDDEN, [])


@pytest.mark.parametrize("host", ["hooks..example.org", ".example.org", f"{'a' * 64}.org"])
async def test_names_that_cannot_be_asked_for(host: str) -> None:
    """What the system's resolver can't encode is a name that isn't there: an outcome, not an error."""
    attempt = await sent(target(f"https://{host}/"))
    assert attempt.outcome is Outcome.UNREACHABLE
    assert "doesn't resolve" in attempt.detail


async def test_a_url_that_is_none() -> None:
    """What the library for HTTP can't read is an outcome, too."""
    attempt = await sent(target("https://a b:99999/"))
    assert attempt == Attempt(Outcome.FORBIDDEN, "nothing can be sent to its url, which is not one of a host")


@pytest.mark.parametrize("host", ["\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "\u2460\u2461\u2466.0.0.1"])
async def test_addresses_in_other_characters(receiver: WebhookReceiver, host: str) -> None:
    """What the library for HTTP reads as an address is checked as one, though Python's own parser takes it for a name:
    nothing is connected to.
    """
    attempt = await sent(replace(target(f"https://{host}:{receiver.port}/"), allow_networks=()))
    assert attempt == Attempt(
        Outcome.FORBIDDEN, "its host stands for an address that is not allowed: 127.0.0.1 is this machine"
    )


async def test_rebinding(receiver: WebhookReceiver) -> None:
    """The connection goes to the address that was checked: the name is looked up once for it, and what the name server
    says then doesn't matter. A later connection is checked anew.
    """
    names = Names([HOST], ["127.0.0.2"])
    async with opened(target(f"http://hooks.example.org:{receiver.port}/"), names) as sender:
        assert (await sender.send(EVENT)).is_delivered
        assert names.asked == ["hooks.example.org"]
        receiver.answer = lambda _: Reply(raw=b"")
        await sender.send(EVENT)
        assert (await sender.send(EVENT)).outcome is Outcome.FORBIDDEN
    assert names.asked == ["hooks.example.org"] * 2
    assert len(receiver.tried) == 2


async def test_names_are_looked_up_in_own_threads(receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that says nothing takes none of the loop's threads, which others wait for; the attempt ends in
    time, and the next finds a name server that is well again.
    """
    threads: list[str] = []
    look_up, is_silent = socket.getaddrinfo, True

    def slow(*arguments: Any, **options: Any) -> Any:
        threads.append(threading.current_thread().name)
        if is_silent:
            receiver.ending.wait(5)
        return look_up(*arguments, **options)

    to = target(f"http://localhost:{receiver.port}/", f"{HOST}/32", "::1/128")
    async with opened(to) as sender:
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        attempt = await sender.send(EVENT)
        assert attempt.outcome is Outcome.TIMED_OUT
        is_silent = False
        assert (await sender.send(EVENT)).is_delivered
        receiver.ending.set()
    assert len(threads) == 2
    assert all(name.startswith("webhook-names") for name in threads)


async def test_the_name_server_is_closed() -> None:
    """Who closes the checked one closes what it asks."""
    names = Names([HOST])
    await CheckedResolver(target("http://hooks.example.org/"), names).close()
    assert names.answers == []
    with ThreadPoolExecutor(1) as executor:
        await OwnThreads(executor).close()
        assert executor.submit(int).result() == 0  # which is its owner's


async def test_certificates_are_checked(certificate: Certificate) -> None:
    """https with a certificate that nobody trusts isn't sent to."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(greet, HOST, 0, ssl=certificate.server_context())
    async with server:
        port = server.sockets[0].getsockname()[1]
        attempt = await sent(target(f"https://{HOST}:{port}/"))
    assert attempt.outcome is Outcome.UNREACHABLE
    assert "certificate is not trusted" in attempt.detail


async def test_no_proxy_of_the_environment(receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would look names up itself, and reach what this service must not."""
    monkeypatch.setenv("HTTP_PROXY", f"http://{HOST}:9")
    assert (await sent(target(receiver.url))).is_delivered
