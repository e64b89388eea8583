"""How many logins may fail: which attempt is refused, which is slowed. Pure.

The failures of the last 15 minutes are kept as their moments, under three keys: of the name and the address together,
of the address, and of the name. Keys are spread over a fixed number of buckets, so that strangers reach neither
unbounded memory nor unbounded rows. A key is a keyed hash: what somebody types into the field for the name may be a
password.
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
"""In one bucket. Beyond, the keys are forgotten whose last failure is the oldest."""

FORWARDING: Final = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
"""Headers in which a proxy says whom it asks for."""
SEPARATORS: Final = re.compile(r"[,;=\s\"\[\]]+")

Address = IPv4Address | IPv6Address
Values = Mapping[str, bytes]
Bucket = dict[str, list[int]]
"""The moments of failures by key, in milliseconds, the key whose last failure is the newest at the end."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to log in, by its keys. `is_nobodys`: the address is no client's, but a proxy's or unknown."""

    pair: str
    address: str
    name: str
    is_nobodys: bool

    def bounds(self) -> tuple[tuple[str, int], ...]:
        """How many failures each key may have before more is done about it."""
        return (self.pair, PER_NAME_AND_ADDRESS), (self.address, PER_ADDRESS), (self.name, PER_NAME)

    def buckets(self) -> list[str]:
        """The names of the values that this attempt is counted in."""
        return sorted({bucket_of(key) for key, _ in self.bounds()})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an attempt. `refused_seconds`: no password is checked for so long; None: it is checked, after a
    wait if `is_slowed`. `at`: the moment under which it was counted. The numbers are failures in the window, this
    attempt included where it was counted.
    """

    refused_seconds: float | None
    is_slowed: bool
    at: int
    pair_failures: int
    address_failures: int


def client_address(host: str | None) -> Address | None:
    """The address in an ASGI scope's `client`; None: it is none. An IPv4 address is one however it is written."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def attempt_of(name: str, address: Address | None, secret: str, *, is_proxy: bool) -> Attempt:
    """The attempt to log in as `name` from `address`. `secret` is the key of the hashes."""
    # As Django reads a name, but that a database may compare without case.
    normal = unicodedata.normalize("NFKC", name.strip()).casefold()
    if address is None:
        network = "unknown"
    elif isinstance(address, IPv6Address):
        network = f"{int(address) >> 64:x}/64"  # who has one address has all of its network
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
    """The name of the value that a key is kept in."""
    return f"failed-logins:{int(key[:4], 16) % BUCKETS}"


def begun(values: Values, attempt: Attempt, now: int) -> tuple[Values, Verdict]:
    """Judge an attempt, and count it as a failure before its password is checked: however many processes check at once,
    no more are checked than the bounds allow. `taken_back` is for those that did not fail.

    1. A name and address, or an address, at its bound: refused until the oldest failure that counts is too old. It is
       not counted, so the wait has an end for who goes on trying.
    2. The same where the address is nobody's: slowed, as all who come by a proxy would be refused.
    3. A name at its bound: slowed from everywhere, lest strangers keep its owner out.
    4. Else checked at once.
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
            # Twice as many as count, so that enough are left when some of those under way are taken back.
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
    """The attempt counted at the moment `at` was no failure. After a success the name's earlier failures from this
    address are forgotten too.
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
    """A wait as people and `Retry-After` are told it."""
    return max(1, math.ceil(seconds))


def _decoded(values: Values, attempt: Attempt, now: int) -> dict[str, Bucket]:
    """The buckets of an attempt without what is too old, or of a time to come: then the clock was set back."""
    found = {}
    for name in attempt.buckets():
        try:
            bucket = msgspec.json.decode(values.get(name, b"{}"), type=Bucket)
        except (msgspec.DecodeError, UnicodeDecodeError):
            bucket = {}  # whoever wrote that, it wasn't us
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
    """Whether a request says that it was made for another client than the address it comes from. Where a proxy is
    believed, the address is the one that it named.
    """
    said = [value.decode("latin-1") for name, value in headers if name in FORWARDING]
    named = [word for value in said for word in SEPARATORS.split(value) if word]
    return bool(named) and not any(client_address(_without_port(word)) == address for word in named)


def _without_port(word: str) -> str:
    return word.partition(":")[0] if word.count(":") == 1 else word
