"""Send events to one target by HTTP: only to checked addresses, within deadlines, and almost without reading the
answers.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from cacheapp.webhooks.events import Event, headers
from cacheapp.webhooks.policy import AT_ONCE, Attempt, Outcome, attempt_of
from esassistant.clock import now_utc
from esassistant.config.webhooks import Target
from esassistant.connection_causes import Cause, connection_cause, sentence
from esassistant.units import as_seconds

KEEP_SECONDS: Final = 10.0
"""An idle connection is closed after this time, sooner than most receivers do."""
LOOKUPS_AT_ONCE: Final = 2
NO_HOST: Final = "nothing can be sent to its url, which is not one of a host"
MAX_READ_BYTES: Final = 65_536
"""How many bytes of an answer are read and thrown away, so that its connection can be used again. If there are more,
the connection is closed.
"""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Deadlines in seconds: for one attempt until its answer begins, for a connection, and for the rest of the
    answer.
    """

    attempt: float = 15.0
    connect: float = 5.0
    rest: float = 2.0


DEADLINES: Final = Deadlines()


class ForbiddenAddress(Exception):
    """The host has an address that must not be connected to."""


class OwnThreads(AbstractResolver):
    """Looks up names in threads of its own. The event loop has few threads, and others would wait for them while a name
    server doesn't answer. Lives as long as its executor.
    """

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raise `OSError` if it has none, or if they can't be looked up."""
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._executor, look_up)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Do nothing: the executor belongs to somebody else."""


class CheckedResolver(AbstractResolver):
    """Looks up names, and returns only addresses that the target may have. Connections are made to exactly these
    addresses. So it has no effect if the name stands for another address a moment later (DNS rebinding).
    """

    def __init__(self, target: Target, inner: AbstractResolver) -> None:
        self._target = target
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises `ForbiddenAddress` if any of them is forbidden, and `OSError` if there
        are none.
        """
        try:
            found = await self._inner.resolve(host, port, family)
        except ValueError as error:  # a name that can't be encoded, such as one with an empty part
            raise socket.gaierror(socket.EAI_NONAME, "no such name") from error
        for one in found:
            check_address(self._target, one["host"])
        return found

    async def close(self) -> None:
        await self._inner.close()


def check_address(target: Target, address: str) -> None:
    """Raise `ForbiddenAddress` if the target may not have this address."""
    if (refusal := target.refusal_of(address)) is not None:
        raise ForbiddenAddress(f"its host stands for an address that is not allowed: {refusal}")


class Sender:
    """Sends events to one target. Lives from `open_sender()` to the end of its block."""

    def __init__(
        self, target: Target, session: aiohttp.ClientSession, now: Callable[[], datetime], deadlines: Deadlines
    ) -> None:
        self._target = target
        self._session = session
        self._now = now
        self._deadlines = deadlines

    async def send(self, event: Event) -> Attempt:
        """Send an event once, and return the outcome. Errors of the network, names and URLs aren't raised: they are
        outcomes.
        """
        try:
            # If the host is an address, aiohttp doesn't ask the resolver, so it is checked here.
            if (address := self._target.address) is not None:
                check_address(self._target, address)
        except ForbiddenAddress as error:
            return Attempt(Outcome.FORBIDDEN, str(error))
        except ValueError:
            return Attempt(Outcome.FORBIDDEN, NO_HOST)
        try:
            return await self._post(event)
        except ForbiddenAddress as error:
            return Attempt(Outcome.FORBIDDEN, str(error))
        except TimeoutError:
            return Attempt(Outcome.TIMED_OUT, f"it did not answer within {as_seconds(self._deadlines.attempt)}")
        except aiohttp.ClientConnectionError as error:
            return Attempt(Outcome.UNREACHABLE, _why(error))
        except aiohttp.InvalidURL:
            return Attempt(Outcome.FORBIDDEN, NO_HOST)
        except aiohttp.ClientError:
            return Attempt(Outcome.FAILED, "what it answered is not HTTP")

    async def _post(self, event: Event) -> Attempt:
        body, at = event.body(), self._now()
        signed = headers(event.message_id, at, body, self._target.secrets)
        async with asyncio.timeout(self._deadlines.attempt):
            response = await self._session.post(self._target.url, data=body, headers=signed, allow_redirects=False)
        async with response:
            attempt = attempt_of(response.status, response.headers.get("retry-after"), at)
            await self._throw_away(response)
        return attempt

    async def _throw_away(self, response: aiohttp.ClientResponse) -> None:
        """Read the rest of a small answer. If it is large or slow, close its connection. It doesn't matter what the
        answer contains, or whether it is complete.
        """
        left = MAX_READ_BYTES
        try:
            async with asyncio.timeout(self._deadlines.rest):
                while left > 0 and not response.content.at_eof():
                    left -= len(await response.content.readany())
        except (TimeoutError, aiohttp.ClientError):
            left = 0
        if left <= 0:
            response.close()


def _why(error: aiohttp.ClientConnectionError) -> str:
    cause = Cause.CLOSED if isinstance(error, aiohttp.ServerDisconnectedError) else connection_cause(error)
    return sentence(cause, "the receiver", "url", "SSL_CERT_FILE", ("http://", "https://"))


@asynccontextmanager
async def open_sender(
    target: Target,
    *,
    now: Callable[[], datetime] = now_utc,
    resolver: AbstractResolver | None = None,
    deadlines: Deadlines = DEADLINES,
) -> AsyncIterator[Sender]:
    """Open a sender for the length of the block. Does no I/O until it is used.

    Proxies of the environment aren't used, because they would look up names themselves. Redirects aren't followed,
    cookies aren't kept, and answers aren't decompressed.
    """
    executor = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="webhook-names")
    connector = aiohttp.TCPConnector(
        resolver=CheckedResolver(target, OwnThreads(executor) if resolver is None else resolver),
        use_dns_cache=False,
        limit=AT_ONCE,
        keepalive_timeout=KEEP_SECONDS,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=deadlines.attempt + deadlines.rest, sock_connect=deadlines.connect),
        headers={"user-agent": "esassistant"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )
    try:
        async with session:
            yield Sender(target, session, now, deadlines)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
