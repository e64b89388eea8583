"""Answers that instances share by way of Redis: each name once, each distinct mapping once.

`answer:<scope>:<name>` is a hash: `at`, the moment for which the cluster confirmed it, in microseconds of Redis' clock;
`indices`, which index has which mapping, by hash; and `bytes`, how large those are altogether. `body:<hash>` is a
mapping, which must have that hash. `claim:<scope>:<name>` is who reads the name from the cluster. Whatever else is
found there is ignored, counted and removed; everything expires.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores.redis.link import PREFIX, RedisLink
from cacheapp.stores.redis.pipe import RedisPipe
from cacheapp.stores.redis.state import Hash, Name, to_microseconds, to_seconds
from cacheapp.stores.shared_answers import LONGEST_SHARED_SECONDS, SharedAnswer
from esassistant.clock import Clock, monotonic
from esassistant.single_flight import Spawn

MAX_ANSWER_BYTES = 1024 * 1024
"""Of all mappings of a name: what goes over a network within a short timeout. What is larger, each instance reads
itself.
"""
MAX_INDICES_BYTES = 128 * 1024
MAX_NUMBER_BYTES = 16
LONGEST_BODY_MILLISECONDS = round(LONGEST_SHARED_SECONDS * 1000)

# KEYS: answer. ARGV: the most bytes of its numbers, of its indices. Answers with what it is, its parts, and the time.
FETCH = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return {'absent', '', '', '', now()} end
if kind ~= 'hash' then return {'foreign', '', '', '', now()} end
local parts = {}
for i, field in ipairs({'at', 'bytes', 'indices'}) do
  local most = tonumber(field == 'indices' and ARGV[2] or ARGV[1])
  parts[i] = redis.call('HSTRLEN', KEYS[1], field) <= most and redis.call('HGET', KEYS[1], field) or ''
end
return {'found', parts[1], parts[2], parts[3], now()}
"""

# KEYS: bodies. ARGV: the most bytes of all. Empty is a body that can't be ours.
BODIES = """
local room, found = tonumber(ARGV[1]), {}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then
    found[i] = false
  elseif kind ~= 'string' or redis.call('STRLEN', key) > room then
    found[i] = ''
  else
    found[i] = redis.call('GET', key)
    room = room - #found[i]
  end
end
return found
"""

# KEYS: answer, bodies. ARGV: moment, when it ends, the longest that a body is kept in milliseconds, indices, their
# bytes, bodies. A Redis that was frozen may get to it long after it was sent. A moment that is still to come was
# written before the clock was set back.
SHARE = """
local at, left = now(), math.floor((ARGV[2] - now()) / 1000)
if left <= 0 then return end
local known = tonumber(redis.call('HGET', own(KEYS[1], 'hash'), 'at'))
if known and known > tonumber(ARGV[1]) and known <= at then return end
for i = 2, #KEYS do
  local longest = math.min(math.max(left, redis.call('PTTL', KEYS[i])), tonumber(ARGV[3]))
  redis.call('SET', KEYS[i], ARGV[i + 4], 'PX', exact(longest))
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'at', ARGV[1], 'indices', ARGV[4], 'bytes', ARGV[5])
redis.call('PEXPIRE', KEYS[1], exact(left))
"""

# KEYS: claim. ARGV: holder, milliseconds. What doesn't end soon by itself is no claim of ours.
CLAIM = """
local left = redis.call('PTTL', KEYS[1])
if left > 0 and left <= tonumber(ARGV[2]) and redis.call('TYPE', KEYS[1]).ok == 'string' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# KEYS: claim. ARGV: holder.
RELEASE = """
if redis.call('GET', own(KEYS[1], 'string')) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""

REMOVE = "redis.call('UNLINK', unpack(KEYS))"

_indices = msgspec.json.Decoder(Annotated[dict[Name, Hash], msgspec.Meta(min_length=1)])
_mapping = msgspec.json.Decoder(dict[str, msgspec.Raw])


class RedisAnswers:
    """Implements `cacheapp.stores.shared_answers.SharedAnswers` over a link that somebody else closes."""

    def __init__(self, link: RedisLink, spawn: Spawn, *, scope: str, clock: Clock = monotonic) -> None:
        """`scope` stands for the cluster and what of it is read: only who has the same shares answers."""
        self._link = link
        self._pipe = RedisPipe(link, spawn)
        self._scope = scope
        self._clock = clock

    def __repr__(self) -> str:
        return f"<RedisAnswers {self._link.address}>"

    @property
    def poisoned_total(self) -> int:
        """Of the whole link, the store's included."""
        return self._link.poisoned_total

    async def fetch(self, name: str) -> SharedAnswer | None:
        key = self._key("answer", name)
        kind, at, size, raw, now = await self._pipe.run(FETCH, [key], [MAX_NUMBER_BYTES, MAX_INDICES_BYTES])
        if kind == b"absent":
            return None
        indices = _decoded(raw) if kind == b"found" and at.isdigit() and size.isdigit() else None
        if indices is None or int(size) > MAX_ANSWER_BYTES:
            await self._remove([key])
            return None
        bodies = await self._bodies(sorted(set(indices.values())), int(size))
        # From a time to come: the clock was set back, and how old it is can't be told.
        if bodies is None or int(at) > now:
            return None
        mappings = {index: bodies[known] for index, known in indices.items()}
        return SharedAnswer(mappings, to_seconds(now - int(at)))

    async def share(self, name: str, mappings: Mapping[str, bytes], age_seconds: float, ttl_seconds: float) -> None:
        asked_at = self._clock()
        indices = {index: mapping_hash(body) for index, body in mappings.items()}
        bodies = {indices[index]: body for index, body in mappings.items()}
        raw, size = msgspec.json.encode(indices), sum(map(len, bodies.values()))
        if not indices or len(raw) > MAX_INDICES_BYTES or size > MAX_ANSWER_BYTES:
            return
        # Apart from the writing, which Redis may do much later: the moment must be right all the same.
        now = await self._pipe.run("return now()", [])
        at = now - to_microseconds(age_seconds + self._clock() - asked_at)
        await self._pipe.run(
            SHARE,
            [self._key("answer", name), *map(_body_key, bodies)],
            [at, at + to_microseconds(ttl_seconds), LONGEST_BODY_MILLISECONDS, raw, size, *bodies.values()],
            bytes_carried=size,
        )

    async def forget(self, name: str) -> None:
        await self._pipe.run(REMOVE, [self._key("answer", name)])

    async def claim(self, name: str, holder: str, ttl_seconds: float) -> bool:
        claimed = await self._pipe.run(CLAIM, [self._key("claim", name)], [holder, round(ttl_seconds * 1000)])
        return bool(claimed)

    async def release(self, name: str, holder: str) -> None:
        await self._pipe.run(RELEASE, [self._key("claim", name)], [holder])

    async def _bodies(self, hashes: Sequence[str], size: int) -> dict[str, bytes] | None:
        """None: one is not there, or is none of ours. Together they have `size` bytes."""
        keys = list(map(_body_key, hashes))
        found: list[bytes | None] = await self._pipe.run(BODIES, keys, [size], bytes_carried=size)
        bodies: dict[str, bytes] = {}
        poisoned = []
        for known, key, body in zip(hashes, keys, found, strict=True):
            if body is not None and mapping_hash(body) == known and _is_object(body):
                bodies[known] = body
            elif body is not None:
                poisoned.append(key)
        if poisoned:
            await self._remove(poisoned)
        return bodies if len(bodies) == len(hashes) else None

    async def _remove(self, poisoned: list[str]) -> None:
        for key in poisoned:
            self._link.note_poison(key.removeprefix(PREFIX).partition(":")[0])
        await self._pipe.run(REMOVE, poisoned)

    def _key(self, kind: str, name: str) -> str:
        return f"{PREFIX}{kind}:{self._scope}:{name}"


def _body_key(known: str) -> str:
    return f"{PREFIX}body:{known}"


def _decoded(raw: bytes) -> dict[str, str] | None:
    try:
        indices: dict[str, str] = _indices.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return indices


def _is_object(body: bytes) -> bool:
    try:
        _mapping.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True
