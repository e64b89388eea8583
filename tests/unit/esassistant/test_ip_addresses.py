"""Which addresses may be connected to: public ones, and those of networks that an operator named."""

import ipaddress

import pytest

from esassistant.ip_addresses import SPECIAL, refusal_of

PRIVATE = [
    "0.0.0.0",  # noqa: S104
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "100.63.255.255",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2001:200::1",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_not_public(address: str) -> None:
    """Addresses of this machine, private, special and reserved ones are refused, however they are written."""
    assert refusal_of(address, ()) is not None


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    """Public ones may be connected to, also right beside the special networks; unless none of them is permitted."""
    assert refusal_of(address, ()) is None
    assert "in none of the networks" in (refusal_of(address, (), public=False) or "")


def test_said_by_name() -> None:
    """The refusal says which address it is, and what."""
    assert refusal_of("::ffff:10.1.2.3", ()) == "10.1.2.3 is private"
    assert refusal_of("169.254.169.254", ()) == "169.254.169.254 is link-local, where clouds have their metadata"
    assert refusal_of("localhost", ()) == "'localhost' is no address"


def test_allowed_networks() -> None:
    """What an operator names is permitted, and nothing beside it; an address inside of another counts as itself."""
    allowed = (ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00:1::/64"))
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00:1::5"):
        assert refusal_of(address, allowed) is None
        assert refusal_of(address, allowed, public=False) is None
    for address in ("10.2.0.1", "fd00:2::1", "127.0.0.1"):
        assert refusal_of(address, allowed) is not None
    assert refusal_of("1.1.1.1", allowed) is None
    assert refusal_of("1.1.1.1", allowed, public=False) is not None


def test_whole_networks() -> None:
    """Each special network is refused from its first to its last address."""
    for network, _ in SPECIAL:
        assert refusal_of(str(network[0]), ()) is not None
        assert refusal_of(str(network[-1]), ()) is not None
