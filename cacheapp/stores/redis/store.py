"""The Redis store: processes share mappings through one Redis, also from several machines.

Its keys begin with `esassistant:1:`. They are `pieces` (a hash: immutable pieces of states, by the hashes of their
content), `published` (a string: which pieces make up the state now), one key for each lease, attempt and shared value,
and the reports of instances (reports.py). All changes are made by Lua scripts, so each is one step; times are those of
Redis.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from cacheapp.state.published import Loaded, StoredState
from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores.protocol import Lease, StoredReport
from cacheapp.stores.redis.link import PREFIX, TIMEOUTS, RedisLink, RedisTimeouts
from cacheapp.stores.redis.reports import keep_report, read_reports
from cacheapp.stores.redis.state import (
    MAX_PIECE_BYTES,
    MAX_PUBLISHED_BYTES,
    Chunk,
    Manifest,
    chunks_of,
    decode_chunk,
    decode_manifest,
    encode_chunk,
    encode_manifest,
    join,
    to_microseconds,
    to_seconds,
)
from esassistant.clock import Clock, monotonic
from esassistant.errors import StaleToken, StoreUnavailable
from esassistant.shared_values import MAX_VALUE_BYTES, Values
from esassistant.units import as_seconds

T = TypeVar("T")

PUBLISHED = f"{PREFIX}published"
PIECES = f"{PREFIX}pieces"
CHANNEL = f"{PREFIX}published"

TRIES = 10
"""How often an operation is started in all, because another instance published meanwhile."""
DEADLINE_SECONDS = 20.0
"""The deadline for publishing or loading as a whole, in seconds; each step has a much shorter one."""
BYTES_AT_ONCE = 1024 * 1024
PIECES_AT_ONCE = 500

# KEYS: published. ARGV: the longest allowed length of its value.
READ = """
return {redis.call('GETRANGE', own(KEYS[1], 'string'), 0, ARGV[1]), now()}
"""

# KEYS: published, pieces. ARGV: the longest allowed length of the value of published.
PREPARE = """
return {redis.call('GETRANGE', own(KEYS[1], 'string'), 0, ARGV[1]), now(), redis.call('HKEYS', own(KEYS[2], 'hash'))}
"""

# KEYS: pieces. ARGV: the most bytes of a piece, the most bytes of the answer, hashes. Returns as many pieces as fit
# into the answer; a piece that is too large is returned empty.
FETCH = """
local pieces, room, found = own(KEYS[1], 'hash'), tonumber(ARGV[2]), {}
for i = 3, #ARGV do
  local size = redis.call('HSTRLEN', pieces, ARGV[i])
  if size > tonumber(ARGV[1]) then
    found[#found + 1] = ''
  else
    if size > room and #found > 0 then break end
    room = room - size
    found[#found + 1] = redis.call('HGET', pieces, ARGV[i])
  end
end
return found
"""

# KEYS: lease, published, pieces. ARGV: the token, the old value of published, its longest allowed length, the new value
# of published, the channel, the message, the hashes of pieces that are no longer used. The caller may rely on pieces
# that another publication has deleted; so nobody may have published since it read the old value.
PUBLISH = """
if redis.call('HGET', own(KEYS[1], 'hash'), 'token') ~= ARGV[1] then return 'stale' end
if redis.call('GETRANGE', own(KEYS[2], 'string'), 0, ARGV[3]) ~= ARGV[2] then return 'again' end
redis.call('SET', KEYS[2], ARGV[4])
for first = 7, #ARGV, 1000 do
  redis.call('HDEL', KEYS[3], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 'done'
"""

# KEYS: lease. ARGV: the holder, microseconds. The first token is the time, so that tokens grow even if Redis lost its
# data. A lease that ends later than its length allows was made before the clock was set back.
LEASE = """
local key, at = own(KEYS[1], 'hash'), now()
local row = redis.call('HMGET', key, 'token', 'holder', 'expires', 'length')
local token, holder, expires, length = tonumber(row[1]), row[2], tonumber(row[3]), tonumber(row[4])
if not (token and expires and length) then
  token, holder, expires, length = math.floor(at / 1000), '', 0, 0
end
if holder ~= ARGV[1] then
  local left = expires - at
  if left > 0 and left <= length then return {0, left} end
  token = token + 1
end
redis.call('HSET', key, 'token', exact(token), 'holder', ARGV[1], 'expires', exact(at + ARGV[2]), 'length', ARGV[2])
return {1, token}
"""

# KEYS: lease. ARGV: token.
RELEASE = """
local key = own(KEYS[1], 'hash')
if redis.call('HGET', key, 'token') == ARGV[1] then redis.call('HSET', key, 'holder', '', 'expires', 0) end
"""

# KEYS: shared values. ARGV: their longest allowed length.
ATTEMPT = """
local key, at = own(KEYS[1], 'string'), now()
local last = tonumber(redis.call('GETRANGE', key, 0, 31))
if last and last <= at and last + ARGV[1] > at then return last + ARGV[1] - at end
redis.call('SET', key, exact(at))
return 0
"""

# KEYS: shared values. ARGV: their longest length.
READ_VALUES = """
local found = {}
for i = 1, #KEYS do found[i] = redis.call('GETRANGE', own(KEYS[i], 'string'), 0, ARGV[1]) end
return {found, now()}
"""

# KEYS: shared values. ARGV: their longest allowed length, the milliseconds until they are forgotten, the old and the
# new value of each. Changes all or none: another process may have changed one of them since it was read.
CHANGE_VALUES = """
for i = 1, #KEYS do
  if redis.call('GETRANGE', own(KEYS[i], 'string'), 0, ARGV[1]) ~= ARGV[2 * i + 1] then return 0 end
end
for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[2 * i + 2], 'PX', ARGV[2]) end
return 1
"""


class RedisStore:
    """Implements `cacheapp.stores.protocol.Store`. Lives from `open_redis_store()` to the end of its block."""

    def __init__(
        self,
        link: RedisLink,
        clock: Clock = monotonic,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        tries: int = TRIES,
    ) -> None:
        """Make a store. `tries`: how often an operation is started in all, because others publish meanwhile."""
        self.link = link
        self._deadline_seconds = deadline_seconds
        self._tries = tries
        self._clock = clock
        self._publishing = asyncio.Lock()
        # The chunks of the state that was loaded or published last.
        self._chunks: Mapping[str, Chunk] = {}

    def __repr__(self) -> str:
        return f"<RedisStore {self.link.address}>"

    async def generation(self) -> int:
        published, _, _ = await self._published()
        return 0 if published is None else published.generation

    async def load(self, known_hashes: Collection[str]) -> Loaded | None:
        known = frozenset(known_hashes)
        async with self._deadline():
            published, raw, now = await self._published()
            for _ in range(self._tries):
                if published is None:
                    return None
                chunks, bodies, is_whole = await self._pieces_of(published, known)
                before = raw
                if not is_whole:
                    published, raw, now = await self._published()
                if raw == before and published is not None:
                    if len(chunks) < len(published.chunks):
                        raise StoreUnavailable(
                            "What was published in Redis is damaged; the next full pass replaces it."
                        )
                    self._chunks = chunks
                    # A missing body is a miss: the process reads it from the cluster when it is asked for.
                    return Loaded(published.generation, join(published, chunks.values(), bodies, now))
        raise StoreUnavailable("What is published in Redis changes faster than it can be read.", retry_after_seconds=1)

    async def publish(self, state: StoredState, lease: Lease) -> int:
        # The ages in the state also grow while this waits for others and for Redis.
        asked_at = self._clock()
        async with self._deadline(), self._publishing:
            for _ in range(self._tries):
                generation = await self._publish_once(state, lease, asked_at)
                if generation is not None:
                    return generation
        raise StoreUnavailable("Other instances publish all the time.", retry_after_seconds=1)

    async def lease(self, name: str, holder: str, ttl_seconds: float) -> Lease | float:
        granted, number = await self.link.run(LEASE, [_lease_key(name)], [holder, to_microseconds(ttl_seconds)])
        return Lease(name, number, ttl_seconds) if granted else to_seconds(number)

    async def release(self, lease: Lease) -> None:
        await self.link.run(RELEASE, [_lease_key(lease.name)], [lease.token])

    async def attempt(self, name: str, interval_seconds: float) -> float:
        wait = await self.link.run(ATTEMPT, [f"{PREFIX}attempt:{name}"], [to_microseconds(interval_seconds)])
        return to_seconds(wait)

    async def change(
        self, names: Collection[str], function: Callable[[Values, int], tuple[Values, T]], kept_seconds: float
    ) -> T:
        wanted = sorted(names)
        for _ in range(self._tries):
            found, now = await self.link.run(READ_VALUES, [_value_key(name) for name in wanted], [MAX_VALUE_BYTES])
            before = dict(zip(wanted, found, strict=True))
            there = {name: value for name, value in before.items() if 0 < len(value) <= MAX_VALUE_BYTES}
            replaced, result = function(there, now // 1000)
            pairs = [value for name in sorted(replaced) for value in (before[name], replaced[name])]
            keys = [_value_key(name) for name in sorted(replaced)]
            kept_ms = max(1, int(kept_seconds * 1000))
            if not keys or await self.link.run(CHANGE_VALUES, keys, [MAX_VALUE_BYTES, kept_ms, *pairs]):
                return result
        raise StoreUnavailable("Other instances change these values all the time.", retry_after_seconds=1)

    async def report(self, instance: str, report: bytes, ttl_seconds: float) -> None:
        await keep_report(self.link, instance, report, ttl_seconds)

    async def reports(self) -> dict[str, StoredReport]:
        return await read_reports(self.link)

    async def wait_for_change(self, longest_seconds: float) -> None:
        """Return when another instance may have published, at the latest after `longest_seconds`. Never raises
        `StoreUnavailable`. One task waits at a time.
        """
        await self.link.wait_for_message(CHANNEL, longest_seconds)

    async def _published(self) -> tuple[Manifest | None, bytes, int]:
        """Return the manifest of what is published, its text, and the time."""
        raw, now = await self.link.run(READ, [PUBLISHED], [MAX_PUBLISHED_BYTES])
        return self._decode_published(raw), raw, now

    def _decode_published(self, raw: bytes) -> Manifest | None:
        published = decode_manifest(raw) if raw else None
        if raw and published is None:
            self.link.note_poison(PUBLISHED)
        return published

    async def _pieces_of(
        self, published: Manifest, known: frozenset[str]
    ) -> tuple[dict[str, Chunk], dict[str, bytes], bool]:
        """Return the chunks and the bodies that are not known yet, and whether all of them were found."""
        present = {name: self._chunks[name] for name in published.chunks if name in self._chunks}
        fetched = await self._fetch([name for name in published.chunks if name not in present])
        for name, piece in fetched.items():
            if (chunk := decode_chunk(piece)) is not None:
                present[name] = chunk
            else:
                self.link.note_poison(PIECES)
        wanted = {entry.mapping_hash for chunk in present.values() for entry in chunk.indices.values()} - known
        bodies = await self._fetch(wanted)
        return present, bodies, len(present) == len(published.chunks) and len(bodies) == len(wanted)

    async def _fetch(self, hashes: Iterable[str]) -> dict[str, bytes]:
        """Return those of the pieces that exist and have the content that their hashes say."""
        pieces: dict[str, bytes] = {}
        waiting = list(hashes)
        while waiting:
            arguments = [MAX_PIECE_BYTES, BYTES_AT_ONCE, *waiting[:PIECES_AT_ONCE]]
            found: list[bytes | None] = await self.link.run(FETCH, [PIECES], arguments)
            poisoned = []
            for name, piece in zip(waiting, found, strict=False):
                if piece is not None and mapping_hash(piece) == name:
                    pieces[name] = piece
                elif piece is not None:
                    poisoned.append(name)
            if poisoned:
                # The damaged piece is deleted; otherwise the next publication would take it for present.
                self.link.note_poison(PIECES)
                await self.link.call(lambda client, names=poisoned: client.hdel(PIECES, *names))  # type: ignore[misc]
            waiting = waiting[len(found) :]
        return pieces

    async def _publish_once(self, state: StoredState, lease: Lease, asked_at: float) -> int | None:
        """Try once to publish. Return None if another instance published meanwhile. Raise `StaleToken` if another
        process has had the lease since.
        """
        before, now, names = await self.link.run(PREPARE, [PUBLISHED, PIECES], [MAX_PUBLISHED_BYTES])
        present = {name.decode("ascii", "replace") for name in names}
        asked = now - to_microseconds(self._clock() - asked_at)
        made = chunks_of(state, asked, self._chunks.values())
        await asyncio.sleep(0)  # with ten thousand indices, either step takes tens of milliseconds
        chunks = {mapping_hash(piece): piece for piece in map(encode_chunk, made)}
        await asyncio.sleep(0)
        used = {stored.mapping_hash for stored in state.indices.values()}
        await self._send(chunks, present)
        await self._send({name: state.bodies[name] for name in used if name in state.bodies}, present)
        last = self._decode_published(before)
        published = Manifest(
            # Counts from the time on, so that the number grows even if Redis lost its data.
            generation=last.generation + 1 if last is not None else now // 1000,
            confirmed_at=asked - to_microseconds(state.age_seconds),
            cluster_uuid=state.cluster_uuid,
            cluster_urls=state.cluster_urls,
            chunks=tuple(chunks),
            listed_at=None if state.listed_age_seconds is None else asked - to_microseconds(state.listed_age_seconds),
            history=state.history,
        )
        unused = present.difference(used, chunks)
        answer = await self.link.run(
            PUBLISH,
            [_lease_key(lease.name), PUBLISHED, PIECES],
            [
                *(lease.token, before, MAX_PUBLISHED_BYTES, encode_manifest(published)),
                *(CHANNEL, published.generation, *unused),
            ],
        )
        if answer == b"stale":
            raise StaleToken("Another instance took over the refresh lease; its result stands.")
        if answer != b"done":
            return None
        self._chunks = dict(zip(chunks, made, strict=True))
        return published.generation

    async def _send(self, pieces: Mapping[str, bytes], present: Collection[str]) -> None:
        """Send the pieces that Redis lacks, in portions that fit into a short timeout."""
        portion: dict[str, bytes] = {}
        portion_bytes = 0
        for name, piece in pieces.items():
            if name in present or len(piece) > MAX_PIECE_BYTES:
                continue
            if portion and (portion_bytes + len(piece) > BYTES_AT_ONCE or len(portion) == PIECES_AT_ONCE):
                await self._write(portion)
                portion, portion_bytes = {}, 0
            portion[name] = piece
            portion_bytes += len(piece)
        if portion:
            await self._write(portion)

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._deadline_seconds):
                yield
        except TimeoutError:
            raise StoreUnavailable(
                f"Redis was too slow: not done within {as_seconds(self._deadline_seconds)}.", retry_after_seconds=5
            ) from None

    async def _write(self, pieces: Mapping[str, bytes]) -> None:
        pairs = [word for pair in pieces.items() for word in pair]
        await self.link.call(lambda client: client.hset(PIECES, items=pairs))


@asynccontextmanager
async def open_redis_store(
    url: str, clock: Clock = monotonic, *, timeouts: RedisTimeouts = TIMEOUTS, **options: Any
) -> AsyncIterator[RedisStore]:
    """Open a store for the length of the block. Does no I/O until the store is used; it opens even if Redis is away.

    `options` are the keyword arguments of `RedisStore`. Raise `ValueError` if the URL isn't one of Redis; the error
    doesn't contain the URL.
    """
    link = RedisLink(url, clock, timeouts)
    try:
        yield RedisStore(link, clock, **options)
    finally:
        await link.close()


def _lease_key(name: str) -> str:
    return f"{PREFIX}lease:{name}"


def _value_key(name: str) -> str:
    return f"{PREFIX}value:{name}"
