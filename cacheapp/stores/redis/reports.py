"""What the instances say of themselves, in Redis.

`reports` is a hash: the moment of each report, in 16 digits of microseconds, and the report, by instance; `reporting`
is a sorted set of the instances, by when they are forgotten. Both expire with the last of them.

Each instance reads the reports of all others, so that what travels grows with the square of their number: reports are
compressed (zlib), which makes a quarter of them.
"""

import zlib
from typing import Final

from cacheapp.stores.protocol import MAX_INSTANCES, MAX_REPORT_BYTES, StoredReport, check_report
from cacheapp.stores.redis.link import PREFIX, RedisLink
from cacheapp.stores.redis.state import to_microseconds, to_seconds

REPORTS = f"{PREFIX}reports"
REPORTING = f"{PREFIX}reporting"

MOMENT_DIGITS: Final = 16
MAX_INSTANCE_BYTES = 200
BYTES_AT_ONCE = 1024 * 1024
COMPRESSION_LEVEL: Final = 1
ZLIB_BEGINS: Final = b"\x78"
"""So no JSON begins, which is what version 1.0 writes."""
LONGEST_KEPT_SECONDS = 86_400.0

# KEYS: reports, reporting. ARGV: instance, microseconds until it is forgotten, report, the most instances, the longest
# that one is kept in microseconds. Who would be one too many takes the place of the one that is forgotten next.
REPORT = """
local reports, reporting, at = own(KEYS[1], 'hash'), own(KEYS[2], 'zset'), now()
local function forget(names)
  for first = 1, #names, 1000 do
    local some = {unpack(names, first, math.min(first + 999, #names))}
    redis.call('HDEL', reports, unpack(some))
    redis.call('ZREM', reporting, unpack(some))
  end
end
local latest = at + ARGV[5]
forget(redis.call('ZRANGEBYSCORE', reporting, '-inf', exact(at)))
forget(redis.call('ZRANGEBYSCORE', reporting, '(' .. exact(latest), '+inf'))
if redis.call('HLEN', reports) > redis.call('ZCARD', reporting) then redis.call('UNLINK', reports) end
redis.call('ZADD', reporting, exact(at + ARGV[2]), ARGV[1])
redis.call('HSET', reports, ARGV[1], string.format('%016.0f', at) .. ARGV[3])
local excess = redis.call('ZCARD', reporting) - ARGV[4]
if excess > 0 then forget(redis.call('ZRANGE', reporting, 0, exact(excess - 1))) end
local last = redis.call('ZRANGE', reporting, -1, -1, 'WITHSCORES')[2]
for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, exact(last / 1000 + 1)) end
"""

# KEYS: reporting. ARGV: the most instances. Those that are not yet forgotten.
REPORTERS = """
return redis.call('ZRANGEBYSCORE', own(KEYS[1], 'zset'), '(' .. exact(now()), '+inf', 'LIMIT', 0, ARGV[1])
"""

# KEYS: reports. ARGV: the most bytes of a report, those of the answer, instances. Answers with the time, and for as
# many instances as there is room for; empty is a report that is too large.
FETCH = """
local reports, room, found = own(KEYS[1], 'hash'), tonumber(ARGV[2]), {now()}
for i = 3, #ARGV do
  local size = redis.call('HSTRLEN', reports, ARGV[i])
  if size > tonumber(ARGV[1]) then
    found[#found + 1] = ''
  else
    if size > room and #found > 1 then break end
    room = room - size
    found[#found + 1] = redis.call('HGET', reports, ARGV[i])
  end
end
return found
"""


async def keep_report(link: RedisLink, instance: str, report: bytes, ttl_seconds: float) -> None:
    """As `Store.report`."""
    check_report(report)
    ttl = to_microseconds(min(ttl_seconds, LONGEST_KEPT_SECONDS))
    arguments = [
        instance,
        ttl,
        zlib.compress(report, COMPRESSION_LEVEL),
        MAX_INSTANCES,
        to_microseconds(LONGEST_KEPT_SECONDS),
    ]
    await link.run(REPORT, [REPORTS, REPORTING], arguments)


async def read_reports(link: RedisLink) -> dict[str, StoredReport]:
    """As `Store.reports`. What is none of ours there is left out, and counted."""
    reports: dict[str, StoredReport] = {}
    waiting: list[bytes] = await link.run(REPORTERS, [REPORTING], [MAX_INSTANCES])
    while waiting:
        now, *found = await link.run(FETCH, [REPORTS], [MOMENT_DIGITS + MAX_REPORT_BYTES, BYTES_AT_ONCE, *waiting])
        for instance, value in zip(waiting, found, strict=False):
            if value is None:
                continue  # forgotten meanwhile
            moment, report = value[:MOMENT_DIGITS], _unpacked(value[MOMENT_DIGITS:])
            is_ours = len(instance) <= MAX_INSTANCE_BYTES and moment.isdigit() and len(moment) == MOMENT_DIGITS
            if report is None or not is_ours:
                link.note_poison(REPORTS)
                continue
            reports[instance.decode(errors="replace")] = StoredReport(to_seconds(now - int(moment)), report)
        waiting = waiting[len(found) :]
    return dict(sorted(reports.items()))


def _unpacked(packed: bytes) -> bytes | None:
    """The report; None: it is none of ours, or larger than reports are."""
    if not packed.startswith(ZLIB_BEGINS):
        return packed
    unpacking = zlib.decompressobj()
    try:
        report = unpacking.decompress(packed, MAX_REPORT_BYTES)
    except zlib.error:
        return None
    return report if unpacking.eof else None
