"""The connection to one Redis server: short timeouts, few connections, a breaker, and the channel for messages.

Redis may be slow, frozen or gone, and those who share mappings through it must not wait for that. The first failed call
costs one short timeout. Then calls are refused at once, until one of them, after a pause, finds that Redis works again.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from esassistant.breaker import Breaker, BreakerPolicy, Outcome
from esassistant.clock import Clock
from esassistant.connection_causes import connection_cause, sentence
from esassistant.errors import StoreRefused, StoreUnavailable
from esassistant.units import as_seconds

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RedisTimeouts:
    """Timeouts in seconds. `call` is for a whole call; a new connection takes several steps, each of which may take
    `socket`.
    """

    socket: float = 0.25
    call: float = 0.35


TIMEOUTS = RedisTimeouts()
MAX_CONNECTIONS = 8
BREAKER = BreakerPolicy(
    failure_percent=0.0,
    minimum_calls=1,
    open_seconds=1.0,
    longest_open_seconds=5.0,
    jitter=0.0,
    # Each call has a shorter deadline of its own; a busy event loop may be late to notice it.
    probe_seconds=1.0,
)
"""One failure is enough to open the breaker, so that no second call waits in vain. Redis is tried again soon, because a
call costs it little.
"""

PREFIX = "esassistant:1:"
"""The beginning of every key. The 1 is the version of the layout, so that another layout can exist beside it."""

# The beginning of every script, whose text becomes the body of a function. If one of our keys holds another type,
# another program wrote it; such a key is deleted, because it must not stop us for good. The names of these keys are
# returned beside the answer.
COMMON = """
local foreign = {}
local function own(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then
    redis.call('UNLINK', key)
    foreign[#foreign + 1] = key
  end
  return key
end
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function exact(number) return string.format('%.0f', number) end
local function answer()
"""
ANSWER = "\nend\nlocal given = answer()\nreturn {foreign, given}"

OUTAGES = (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError)


class RedisLink:
    """Calls one Redis. Belongs to one loop; `close()` ends its connections."""

    def __init__(self, url: str, clock: Clock, timeouts: RedisTimeouts = TIMEOUTS) -> None:
        """Make a link; does no I/O. Raises `ValueError` if the URL isn't one of Redis; the error doesn't contain the
        URL.
        """
        pool = _pool(url, timeouts.socket)
        self._timeouts = timeouts
        self._client = Redis(connection_pool=pool)
        self._pool = pool
        self._clock = clock
        at = pool.connection_kwargs
        self.address = str(at["path"]) if "path" in at else f"{at.get('host', 'localhost')}:{at.get('port', 6379)}"
        # The breaker logs at the level DEBUG: those who share mappings log once that Redis is away, not at each probe.
        self.breaker = Breaker(
            f"Redis at {self.address}", BREAKER, self._not_asked, log_level=logging.DEBUG, clock=clock
        )
        self._last_failure: tuple[str, str] | None = None
        """The texts of the last outage: for callers, and for operators."""
        self._subscription: PubSub | None = None
        # After an outage a subscription may be dead without an error.
        self._doubtful = False
        self._listening = asyncio.Lock()
        self.poisoned_total = 0
        """How many values were ignored because this service didn't write them."""

    def __repr__(self) -> str:
        return f"<RedisLink {self.address}>"

    async def close(self) -> None:
        try:
            await self._unsubscribe()
        finally:
            # A frozen Redis doesn't answer the end of a connection either; the connection is closed all the same.
            with suppress(RedisError, OSError):
                await self._pool.aclose()

    async def call(self, function: Callable[[Redis], Awaitable[T]]) -> T:
        """Return what `function` returns. Raises `StoreUnavailable` if Redis fails, and at once while the breaker
        refuses calls.
        """
        task = asyncio.current_task()
        cancelled = task.cancelling() if task is not None else 0
        try:
            with _counted(self.breaker), _closed_is_an_outage():
                async with asyncio.timeout(self._timeouts.call):
                    result = await function(self._client)
        except (RedisError, *OUTAGES) as error:
            logger.debug("a call to Redis failed: %s", type(error).__name__)
            detail, operator_detail = (self._describe(error, at) for at in ("", self.address))
            if is_outage := isinstance(error, OUTAGES):
                self._doubtful = True
                self._last_failure = detail, operator_detail
            kind = StoreUnavailable if is_outage else StoreRefused
            raise kind(
                detail,
                retry_after_seconds=self.breaker.wait_seconds() or BREAKER.open_seconds,
                operator_detail=operator_detail,
            ) from None
        # In Python 3.11, `wait_for` (which redis-py uses to write) loses a cancellation that comes just as the write
        # ends.
        if task is not None and task.cancelling() > cancelled:
            raise asyncio.CancelledError
        return result

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any] = ()) -> Any:
        """Return what a Lua script answers; `COMMON` is put before it. Raises what `call` raises."""

        async def run(client: Redis) -> Any:
            return await client.register_script(COMMON + script + ANSWER)(keys, arguments)

        foreign, *given = await self.call(run)  # `given` is empty for nil, at which Lua arrays end
        for key in foreign:
            self.note_poison(key.decode(errors="replace"))
        return given[0] if given else None

    def note_poison(self, where: str) -> None:
        """Count a value at `where` that this service didn't write. The first one is logged as a warning."""
        log = logger.debug if self.poisoned_total else logger.warning
        log("%s at %s is not what this store writes, and is ignored", where, self.address)
        self.poisoned_total += 1

    async def wait_for_message(self, channel: str, longest_seconds: float) -> None:
        """Return when a message has come, when one may have been missed, or after `longest_seconds`. Never raises if
        Redis is away. A second caller waits until the first has finished.
        """
        deadline = self._clock() + longest_seconds
        async with self._listening:
            if self._doubtful:
                self._doubtful = False
                await self._unsubscribe()
            try:
                if self._subscription is None:
                    self._subscription = await self.call(
                        lambda client: _subscribe(client, channel, self._timeouts.socket)
                    )
                elif (left := deadline - self._clock()) > 0:
                    with _closed_is_an_outage():
                        await self._subscription.get_message(timeout=left)
            except (StoreUnavailable, RedisError, OSError):
                await self._unsubscribe()
            else:
                return
        # Messages before a new subscription are missed; the caller finds what they were about when it reads the
        # generation after this wait.
        await asyncio.sleep(max(0.0, deadline - self._clock()))

    async def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await _end(subscription)

    def _not_asked(self, _: str, wait_seconds: float) -> StoreUnavailable:
        # An outage opened the breaker; its text says more than that the breaker is open. It doesn't say when Redis is
        # asked again: health keeps it for longer than that takes.
        detail, operator_detail = self._last_failure or ("Redis failed.", f"Redis at {self.address} failed.")
        return StoreUnavailable(detail, retry_after_seconds=wait_seconds, operator_detail=operator_detail)

    def _describe(self, error: Exception, at: str) -> str:
        """Say what went wrong and what helps. The text for operators includes the address."""
        redis = f"Redis at {at}" if at else "Redis"
        match error:
            case TimeoutError() | RedisTimeoutError():
                return f"{redis} did not answer within {as_seconds(self._timeouts.call)}."
            case AuthenticationError() | AuthorizationError():
                return f"{redis} refused the credentials of REDIS_URL. Correct its user and password."
            case RedisConnectionError() | OSError():
                schemes = ("redis://", "rediss://")
                cause = connection_cause(error)
                return sentence(cause, "Redis", "REDIS_URL", "REDIS_URL (ssl_ca_certs=)", schemes, at)
            case _:
                return f"{redis} {refusal(error)}"


REFUSALS = {
    "READONLY": "takes no writes: it is a read-only replica (READONLY). Name the primary in REDIS_URL.",
    "OOM": "takes no writes: its memory is full (OOM). Raise its maxmemory, or remove what else it keeps.",
    "MISCONF": "takes no writes: it can't save its data to disk (MISCONF). Its log says why, such as a full disk.",
    "NOREPLICAS": "takes no writes: too few of its replicas are connected (NOREPLICAS). Start them.",
    "NOPERM": (
        "doesn't permit what the store needs (NOPERM). Grant the user of REDIS_URL ~esassistant:* &esassistant:* +@all "
        "-@admin."
    ),
}
"""Texts by the error code, which stands first in what Redis answers."""


def refusal(error: Exception) -> str:
    """Say why Redis, which does answer, doesn't do what it was asked for."""
    # redis-py removes some codes from the text. Within a script, Redis 6 puts them in the middle of it.
    text = f"{getattr(error, 'status_code', None) or ''} {error}"
    for code, why in REFUSALS.items():
        if re.search(rf"\b{code}\b", text):
            return why
    # The code is no secret; the rest of the text may be.
    first = re.match(r" ?([A-Z]{3,})(?= )", text)
    return f"failed ({first[1] if first else type(error).__name__})."


@contextmanager
def _counted(breaker: Breaker) -> Iterator[None]:
    """Count one call for the breaker. The errors in `OUTAGES` are failures; any other error counts as an answer; a
    cancelled call isn't counted.
    """
    permit = breaker.enter()
    outcome = Outcome.NOTHING
    try:
        yield
        outcome = Outcome.SUCCESS
    except OUTAGES:
        outcome = Outcome.FAILURE
        raise
    except Exception:
        outcome = Outcome.ANSWER
        raise
    finally:
        breaker.leave(permit, outcome)


@contextmanager
def _closed_is_an_outage() -> Iterator[None]:
    """Raise a `RedisConnectionError` in place of the RuntimeError by which uvloop reports that a connection was closed
    just before a write. asyncio's own loop raises an OSError there, which counts as an outage already.
    """
    try:
        yield
    except RuntimeError as error:
        if "the handler is closed" not in str(error):
            raise
        raise RedisConnectionError("the connection was closed") from error


async def _subscribe(client: Redis, channel: str, timeout: float) -> PubSub:
    subscription = client.pubsub()
    try:
        await subscription.subscribe(channel)
        answer = await subscription.get_message(timeout=timeout)
    except BaseException:
        await _end(subscription)
        raise
    if answer is None:
        await _end(subscription)
        raise RedisTimeoutError("no answer to SUBSCRIBE")
    return subscription


async def _end(subscription: PubSub) -> None:
    await subscription.aclose()  # type: ignore[no-untyped-call]


def _pool(url: str, socket_seconds: float) -> BlockingConnectionPool:
    try:
        # The URL's own options for timeouts, decoding and retries must not override those that the store relies on.
        options: dict[str, Any] = dict(parse_url(url)) | {
            "socket_timeout": socket_seconds,
            "socket_connect_timeout": socket_seconds,
            "socket_keepalive": True,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "retry_on_error": [],
            "decode_responses": False,
            "health_check_interval": 0,
            # No greeting (`HELLO`), so a new connection needs no round trip of its own.
            "protocol": 2,
            "driver_info": None,
            "max_connections": MAX_CONNECTIONS,
            "timeout": socket_seconds,
        }
        if "path" in options:
            del options["socket_keepalive"]
        pool = BlockingConnectionPool(**options)
        # Making a connection checks the options; it isn't opened yet.
        pool.make_connection()  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001  (whatever it stumbles over, the URL is bad, and their texts quote from it)
        raise ValueError(
            "use a URL such as redis://:password@host:6379/0, rediss://… or unix:///run/redis.sock"
        ) from None
    return pool
