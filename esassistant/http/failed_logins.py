"""Decides by the number of failed logins whether an attempt is checked at once, slowed or refused. Pure.

The times of the failures of the last 15 minutes are kept under three keys: for the name with the address, for the
address, and for the name. Keys are spread over a fixed number of buckets, so strangers can cause neither unbounded
memory nor unbounded rows. A key is a keyed hash, as somebody may type a password into the field for the name.
"""

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import msgspec

WINDOW_SECONDS: Final = 900
PER_NAME_AND_ADDRESS: Final = 5
PER_ADDRESS: Final = 20
PER_NAME: Final = 100
SLOW_SECONDS: Final = 1.0
BUCKETS: Final = 64
MAX_MOMENTS: Final = 2000
"""The most failures in one bucket. If there are more, the keys whose last failure is the oldest are forgotten."""

MAX_NAME_CHARACTERS: Final = 254
"""Longer names are those of no user, for Django too. They aren't normalized, which takes quadratic time: 60 kB of
accents took 1.5 s, on the event loop.
"""

FORWARDING: Final = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
"""Headers in which a proxy names its client."""
SEPARATORS: Final = re.compile(r"[,;=\s\"\[\]]+")

Address = IPv4Address | IPv6Address
Values = Mapping[str, bytes]
Bucket = dict[str, list[int]]
"""The times of failures by key, in milliseconds. The key with the newest failure comes last."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to log in, by the keys under which failures are counted: `pair` (of name and address), `address` and
    `name`. `is_nobodys`: the address is that of a proxy or unknown, so it stands for no single client.
    """

    pair: str
    address: str
    name: str
    is_nobodys: bool

    def bounds(self) -> tuple[tuple[str, int], ...]:
        """Return for each key how many failures it may have before attempts are slowed or refused."""
        return (self.pair, PER_NAME_AND_ADDRESS), (self.address, PER_ADDRESS), (self.name, PER_NAME)

    def buckets(self) -> list[str]:
        """Return the names of the shared values in which this attempt is counted."""
        return sorted({bucket_of(key) for key, _ in self.bounds()})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to an attempt.

    Attributes:
        refused_seconds: For how long no password is checked. None: it is checked, after a wait if `is_slowed`.
        at: The time under which the attempt was counted, in milliseconds.
        pair_failures, address_failures: Failures in the window, with this attempt if it was counted.
    """

    refused_seconds: float | None
    is_slowed: bool
    at: int
    pair_failures: int
    address_failures: int


def client_address(host: str | None) -> Address | None:
    """Return the address in an ASGI scope's `client`, or None if it isn't one. An IPv4 address inside an IPv6 one
    becomes the IPv4 address.
    """
    try:
        address = ip_address(host or "")
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def attempt_of(name: str, address: Address | None, secret: str, *, is_proxy: bool) -> Attempt:
    """Return the attempt to log in as `name` from `address`. `secret` is the key of the hashes."""
    # Normalized as Django does it, and without case, as a database may compare without case.
    normal = name.strip()
    if len(normal) <= MAX_NAME_CHARACTERS:
        normal = unicodedata.normalize("NFKC", normal).casefold()
    if address is None:
        network = "unknown"
    elif isinstance(address, IPv6Address):
        network = f"{int(address) >> 64:x}/64"  # whoever has one address has all of its /64 network
    else:
        network = str(address)
    return Attempt(
        pair=_key(secret, "pair", network, normal),
        address=_key(secret, "address", network),
        name=_key(secret, "name", normal),
        is_nobodys=is_proxy or address is None,
    )


def _key(secret: str, *parts: str) -> str:
    key = hashlib.blake2b(secret.encode(), digest_size=32).digest()
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=10, key=key).hexdigest()


def bucket_of(key: str) -> str:
    """Return the name of the shared value in which a key is kept."""
    return f"failed-logins:{int(key[:4], 16) % BUCKETS}"


def begun(values: Values, attempt: Attempt, now: int) -> tuple[Values, Verdict]:
    """Judge an attempt, and count it as a failure before its password is checked. So the bounds hold even if many
    processes check passwords at the same time. `taken_back` undoes the count for attempts that don't fail.

    1. The name with the address, or the address, has reached its bound: refused until the oldest failure that counts is
       too old. The attempt isn't counted, so the wait ends even for somebody who goes on trying.
    2. The same, but the address stands for no single client: slowed, as a refusal would hit all clients of the proxy.
    3. The name has reached its bound: slowed, wherever it comes from. A refusal would let strangers lock out its owner.
    4. Otherwise the password is checked at once.
    """
    buckets = _decoded(values, attempt, now)
    reached = []
    for key, bound in attempt.bounds():
        moments = buckets[bucket_of(key)].get(key, [])
        if len(moments) >= bound:
            reached.append((key, moments[-bound] + WINDOW_SECONDS * 1000 - now))
    waits = [wait for key, wait in reached if key != attempt.name]
    is_refused = bool(waits) and not attempt.is_nobodys
    if not is_refused:
        for key, bound in attempt.bounds():
            bucket = buckets[bucket_of(key)]
            # Keep twice as many as the bound, so that enough are left when some attempts under way are taken back.
            bucket[key] = [*bucket.pop(key, []), now][-2 * bound :]
        for bucket in buckets.values():
            _shorten(bucket)
    verdict = Verdict(
        refused_seconds=max(1.0, max(waits) / 1000) if is_refused else None,
        is_slowed=bool(reached) and not is_refused,
        at=now,
        pair_failures=len(buckets[bucket_of(attempt.pair)].get(attempt.pair, ())),
        address_failures=len(buckets[bucket_of(attempt.address)].get(attempt.address, ())),
    )
    return ({} if is_refused else _encoded(buckets)), verdict


def taken_back(values: Values, attempt: Attempt, at: int, now: int, *, succeeded: bool) -> tuple[Values, None]:
    """Remove an attempt that was counted at the time `at`, as it was no failure. If it `succeeded`, forget also the
    earlier failures of the name with this address. For `SharedValues.change`; `at` and `now` are in milliseconds of the
    store's clock.
    """
    buckets = _decoded(values, attempt, now)
    for key, _ in attempt.bounds():
        bucket = buckets[bucket_of(key)]
        moments = bucket.get(key, [])
        if at in moments:
            moments.remove(at)
        if not moments or (succeeded and key == attempt.pair):
            bucket.pop(key, None)
    return _encoded(buckets), None


def whole_seconds(seconds: float) -> int:
    """Return a wait in whole seconds, as people and `Retry-After` are told."""
    return max(1, math.ceil(seconds))


def _decoded(values: Values, attempt: Attempt, now: int) -> dict[str, Bucket]:
    """Return the buckets of an attempt, without times that are too old, or in the future because the clock was set
    back.
    """
    found = {}
    for name in attempt.buckets():
        try:
            bucket = msgspec.json.decode(values.get(name, b"{}"), type=Bucket)
        except (msgspec.DecodeError, UnicodeDecodeError):
            bucket = {}  # not written by us
        oldest = now - WINDOW_SECONDS * 1000
        recent = {key: [at for at in moments if oldest < at <= now] for key, moments in bucket.items()}
        found[name] = {key: moments for key, moments in recent.items() if moments}
    return found


def _shorten(bucket: Bucket) -> None:
    total = sum(map(len, bucket.values()))
    while total > MAX_MOMENTS:
        total -= len(bucket.pop(next(iter(bucket))))


def _encoded(buckets: Mapping[str, Bucket]) -> dict[str, bytes]:
    return {name: msgspec.json.encode(bucket) for name, bucket in buckets.items()}


def names_another(address: Address, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return True if the headers of a request name another client than `address`.

    If a trusted proxy sent the request, `address` is already the client that the proxy named.
    """
    said = [value.decode("latin-1") for name, value in headers if name in FORWARDING]
    named = [word for value in said for word in SEPARATORS.split(value) if word]
    return bool(named) and not any(client_address(_without_port(word)) == address for word in named)


def _without_port(word: str) -> str:
    return word.partition(":")[0] if word.count(":") == 1 else word
