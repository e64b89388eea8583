"""The reports of the instances about themselves, in Redis.

`reports` is a hash: instance → the moment of its report, in 16 digits of microseconds, followed by the report.
`reporting` is a sorted set of the instances, by the moment when they are forgotten. Both keys expire with the last of
their instances.

Each instance reads the reports of all others, so the traffic grows with the square of their number. So reports are
compressed (zlib), to about a quarter of their size.
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
"""The first byte of a compressed report. No JSON begins with it, which is what version 1.0 writes."""
LONGEST_KEPT_SECONDS = 86_400.0

# KEYS: reports, reporting. ARGV: the instance, the microseconds until it is forgotten, the report, the largest number
# of instances, the longest time in microseconds that an instance is kept. If there are too many instances, those that
# would be forgotten next are removed.
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

# KEYS: reporting. ARGV: the largest number of instances. Returns the instances that are not yet forgotten.
REPORTERS = """
return redis.call('ZRANGEBYSCORE', own(KEYS[1], 'zset'), '(' .. exact(now()), '+inf', 'LIMIT', 0, ARGV[1])
"""

# KEYS: reports. ARGV: the most bytes of a report, the most bytes of the answer, the instances. Returns the time, and
# the reports of as many instances as fit into the answer; a report that is too large is returned empty.
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
    """Keep a report, as `Store.report` says."""
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
    """Return the reports, as `Store.reports` says. Values that this service didn't write are left out and counted."""
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
    """Return the report, decompressed; None if this service didn't write it, or if it is larger than reports may be."""
    if not packed.startswith(ZLIB_BEGINS):
        return packed
    unpacking = zlib.decompressobj()
    try:
        report = unpacking.decompress(packed, MAX_REPORT_BYTES)
    except zlib.error:
        return None
    return report if unpacking.eof else None
