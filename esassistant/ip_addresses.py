"""Decides which network addresses this service may connect to when somebody else chose the host: public ones, and those
in networks that an operator named. Pure.

The lists of special addresses are our own (from IANA's registries), as those of Python's `ipaddress` differ between its
versions.
"""

import ipaddress
from collections.abc import Sequence
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SPECIAL_V4: Final = {
    "0.0.0.0/8": "this machine",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a carrier",
    "127.0.0.0/8": "this machine",
    "168.63.129.16/32": "a cloud's metadata service",
    "169.254.0.0/16": "link-local, where clouds have their metadata",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "for documentation",
    "192.88.99.0/24": "reserved",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "for documentation",
    "203.0.113.0/24": "for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
_SPECIAL_V6: Final = {
    "::/128": "this machine",
    "::1/128": "this machine",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "ff00::/8": "multicast",
    "2001::/23": "reserved",
    "2001:db8::/32": "for documentation",
    "2002::/16": "6to4, which stands for another address",
    "3fff::/20": "for documentation",
}
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
SPECIAL: Final = tuple((ipaddress.ip_network(text), what) for text, what in (_SPECIAL_V4 | _SPECIAL_V6).items())


def refusal_of(address: str, allowed: Sequence[Network], *, public: bool = True) -> str | None:
    """Return why not to connect to an address, or None if that is allowed.

    1. An IPv4 address inside an IPv6 one (mapped, or by NAT64) is judged as the IPv4 address.
    2. An address in an allowed network is allowed.
    3. A special address, or an IPv6 address outside of the assigned range, is refused.
    4. A public address is allowed if `public` is True.

    Args:
        address: As the system's resolver gives it, with or without a zone (`fe80::1%eth0`).
        allowed: Networks that an operator named. All their addresses are allowed, even special ones.
        public: Whether public addresses are allowed too.
    """
    try:
        found = _plain(ipaddress.ip_address(address))
    except ValueError:
        return f"{address[:80]!r} is no address"
    if any(found.version == network.version and found in network for network in allowed):
        return None
    for network, what in SPECIAL:
        if found.version == network.version and found in network:
            return f"{found} is {what}"
    if isinstance(found, ipaddress.IPv6Address) and found not in _GLOBAL_V6:
        return f"{found} is reserved"
    return None if public else f"{found} is in none of the networks that are allowed"


def _plain(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    # Remove the zone: with it, the address would be in no network.
    return ipaddress.IPv6Address(int(address))
