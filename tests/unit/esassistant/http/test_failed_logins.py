"""Which attempt to log in is refused, and which is slowed."""

import time
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esassistant.http.failed_logins import (
    BUCKETS,
    MAX_MOMENTS,
    PER_ADDRESS,
    PER_NAME,
    PER_NAME_AND_ADDRESS,
    WINDOW_SECONDS,
    Attempt,
    Verdict,
    attempt_of,
    begun,
    bucket_of,
    client_address,
    names_another,
    taken_back,
    whole_seconds,
)
from esassistant.shared_values import MAX_VALUE_BYTES

NOW = 1_800_000_000_000
WINDOW = WINDOW_SECONDS * 1000


def attempt(name: str = "operator", address: str = "203.0.113.1", *, is_proxy: bool = False) -> Attempt:
    return attempt_of(name, client_address(address), "secret", is_proxy=is_proxy)


class Kept:
    """The values of a store."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def begin(self, attempt: Attempt, now: int = NOW) -> Verdict:
        replaced, verdict = begun(self.values, attempt, now)
        self.values.update(replaced)
        return verdict

    def take_back(self, attempt: Attempt, at: int, now: int = NOW, *, succeeded: bool = False) -> None:
        replaced, _ = taken_back(self.values, attempt, at, now, succeeded=succeeded)
        self.values.update(replaced)

    def fail(self, attempt: Attempt, times: int, now: int = NOW) -> None:
        for _ in range(times):
            assert self.begin(attempt, now).refused_seconds is None

    def decoded(self) -> Mapping[str, list[int]]:
        return {key: moments for value in self.values.values() for key, moments in msgspec.json.decode(value).items()}


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_a_name_from_an_address(kept: Kept) -> None:
    """The sixth within 15 minutes is refused until the first is too old; the name from elsewhere isn't, nor another
    name from there.
    """
    for failures in range(1, 6):
        verdict = kept.begin(attempt(), NOW + failures * 1000)
        assert (verdict.refused_seconds, verdict.is_slowed, verdict.pair_failures) == (None, False, failures)
    refused = kept.begin(attempt(), NOW + 10_000)
    assert (refused.refused_seconds, refused.is_slowed, refused.pair_failures) == (WINDOW_SECONDS - 9, False, 5)
    assert kept.begin(attempt(address="203.0.113.2"), NOW + 10_000).refused_seconds is None
    assert kept.begin(attempt("other"), NOW + 10_000).refused_seconds is None
    assert kept.begin(attempt(), NOW + 1000 + WINDOW - 1).refused_seconds == 1.0
    assert kept.begin(attempt(), NOW + 1000 + WINDOW).refused_seconds is None


def test_an_address(kept: Kept) -> None:
    """The twenty-first is refused, whatever the name."""
    for number in range(PER_ADDRESS):
        assert kept.begin(attempt(f"name-{number}")).address_failures == number + 1
    assert kept.begin(attempt("operator")).refused_seconds == WINDOW_SECONDS
    assert kept.begin(attempt("operator", "203.0.113.2")).refused_seconds is None


def test_a_name(kept: Kept) -> None:
    """The hundred-and-first is slowed from everywhere and refused nowhere, as long as so many failed of late."""
    for number in range(PER_NAME):
        assert not kept.begin(attempt(address=f"198.51.100.{number}"), NOW + number).is_slowed
    verdict = kept.begin(attempt(address="203.0.113.9"), NOW + 1000)
    assert (verdict.is_slowed, verdict.refused_seconds) == (True, None)
    assert not kept.begin(attempt("other", "203.0.113.9"), NOW + 1000).is_slowed
    assert not kept.begin(attempt(address="203.0.113.9"), NOW + 1000 + WINDOW).is_slowed


@pytest.mark.parametrize("address", ["10.0.0.7", "unknown", ""])
def test_who_is_nobody_s_client_is_slowed(kept: Kept, address: str) -> None:
    """By a proxy that isn't believed, or from an address that is none, nobody is refused: all would be."""
    for number in range(PER_ADDRESS):
        verdict = kept.begin(attempt(address=address, is_proxy=address == "10.0.0.7"))
        assert verdict.is_slowed == (number >= PER_NAME_AND_ADDRESS)
    verdict = kept.begin(attempt("other", address, is_proxy=address == "10.0.0.7"))
    assert (verdict.is_slowed, verdict.refused_seconds) == (True, None)


def test_a_success_forgets_the_pair_alone(kept: Kept) -> None:
    """The name from this address begins anew, with its own attempt counted nowhere; the address keeps its failures."""
    kept.fail(attempt(), 4)
    at = kept.begin(attempt(), NOW + 1).at
    kept.take_back(attempt(), at, NOW + 2, succeeded=True)
    verdict = kept.begin(attempt(), NOW + 3)
    assert (verdict.pair_failures, verdict.address_failures) == (1, 5)


def test_what_was_not_checked_counts_for_nothing(kept: Kept) -> None:
    """Taken back, an attempt leaves the failures before it, and nothing where there were none."""
    kept.take_back(attempt(), kept.begin(attempt()).at)
    assert kept.decoded() == {}
    kept.fail(attempt(), 2)
    kept.take_back(attempt(), kept.begin(attempt(), NOW + 1).at, NOW + 1)
    assert kept.begin(attempt(), NOW + 2).pair_failures == 3
    kept.take_back(attempt(), NOW + 99, NOW + 2)  # of which nothing is known any more
    assert kept.begin(attempt(), NOW + 3).pair_failures == 4


def test_a_refused_attempt_is_not_counted(kept: Kept) -> None:
    """Who goes on trying waits no longer for it."""
    kept.fail(attempt(), PER_NAME_AND_ADDRESS)
    before = dict(kept.values)
    for second in range(100):
        assert kept.begin(attempt(), NOW + second * 1000).refused_seconds == WINDOW_SECONDS - second
    assert kept.values == before


def test_a_clock_that_was_set_back(kept: Kept) -> None:
    """Failures of a time to come don't count, so nobody is refused for longer than the window."""
    kept.fail(attempt(), PER_NAME_AND_ADDRESS, NOW + 3_600_000)
    assert kept.begin(attempt(), NOW).refused_seconds is None


@pytest.mark.parametrize("value", [b"", b"nonsense", b"[]", b'{"a":["b"]}', b'{"a":[1.5]}', b"\xff"])
def test_a_value_that_is_not_ours(kept: Kept, value: bytes) -> None:
    """Is as good as none."""
    kept.values = dict.fromkeys(attempt().buckets(), value)
    assert kept.begin(attempt()).pair_failures == 1


def test_strangers_fill_nothing(kept: Kept) -> None:
    """However many names and addresses fail, there are so many values of so many bytes; what failed last is known."""
    first = attempt()
    kept.fail(first, 1)
    bucket = bucket_of(first.pair)
    many = (replace(first, pair=f"{first.pair[:4]}{number:016x}") for number in range(MAX_MOMENTS + 50))
    for number, other in enumerate(many):
        kept.begin(replace(other, address=other.pair[::-1], name=other.pair[::-1]), NOW + number)
    moments = msgspec.json.decode(kept.values[bucket])
    assert sum(map(len, moments.values())) <= MAX_MOMENTS
    assert len(kept.values[bucket]) < MAX_VALUE_BYTES
    assert first.pair not in moments
    assert f"{first.pair[:4]}{MAX_MOMENTS + 49:016x}" in moments
    assert len(kept.values) <= BUCKETS


@given(st.text(), st.text(max_size=20))
def test_keys_say_nothing(name: str, address: str) -> None:
    """A key has always the same length, holds nothing of the name, and depends on the secret."""
    one = attempt_of(name, client_address(address), "secret", is_proxy=False)
    other = attempt_of(name, client_address(address), "other", is_proxy=False)
    for key in (one.pair, one.address, one.name):
        assert len(key) == 20
        assert int(key, 16) >= 0
    assert len({one.pair, one.address, one.name, other.pair, other.address, other.name}) == 6


@pytest.mark.parametrize("name", ["operator", " operator\n", "Operator", "\uff4fperator"])
def test_one_name_however_it_is_written(name: str) -> None:
    """As Django reads it, which strips and normalizes; a database may compare without case."""
    assert attempt(name) == attempt("operator")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:203.0.113.1", "203.0.113.1", True),
        ("::ffff:203.0.113.1", "::ffff:203.0.113.2", False),
        ("fe80::1%eth0", "fe80::1", True),
        ("203.0.113.1", "203.0.113.2", False),
        ("unknown", "_hidden", True),
    ],
)
def test_one_client(one: str, other: str, same: bool) -> None:
    """An IPv6 network of 64 bits is one client, and an IPv4 address is one however it is written."""
    assert (attempt(address=one).address == attempt(address=other).address) == same


@pytest.mark.parametrize(
    ("headers", "another"),
    [
        ([], False),
        ([(b"x-forwarded-proto", b"https")], False),
        ([(b"x-forwarded-for", b"")], False),
        ([(b"x-forwarded-for", b"198.51.100.1")], True),
        ([(b"x-forwarded-for", b"198.51.100.1, 10.0.0.1")], False),
        ([(b"x-forwarded-for", b"10.0.0.1:4711")], False),
        ([(b"x-forwarded-for", b"10.0.0.12")], True),
        ([(b"x-forwarded-for", b"::ffff:10.0.0.1")], False),
        ([(b"x-real-ip", b"198.51.100.1")], True),
        ([(b"forwarded", b'for="[2001:db8::1]";proto=https')], True),
        ([(b"forwarded", b"proto=https;for=10.0.0.1")], False),
        ([(b"x-forwarded-for", b"\xff")], True),
    ],
)
def test_in_the_name_of_another(headers: list[tuple[bytes, bytes]], another: bool) -> None:
    """A request is in the name of another client when none of those that its headers name is the address."""
    assert names_another(ip_address("10.0.0.1"), headers) == another


@pytest.mark.parametrize(("seconds", "whole"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.2, 2), (899.9, 900)])
def test_whole_seconds(seconds: float, whole: int) -> None:
    """Never too few, and at least one."""
    assert whole_seconds(seconds) == whole


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["203.0.113.1", "203.0.113.2", "2001:db8::1", "10.0.0.7"]),
        st.integers(1, 30),
        st.sampled_from(["failed", "succeeded", "unchecked"]),
        st.integers(0, WINDOW // 2),
    ),
    max_size=25,
)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_it_is_as_if_all_failures_were_known(steps: list[tuple[str, str, int, str, int]]) -> None:
    """Whatever comes in whatever order: the verdicts are those of a plain list of all failures."""
    kept, now = Kept(), NOW
    failures: list[tuple[int, str]] = []
    """By name and address, by address, and by name."""

    def newest(bound: int, key: str) -> int | None:
        """The moment of the oldest failure of the newest `bound`; None: there are fewer in the window."""
        moments = [at for at, other in failures if other == key and now - WINDOW < at]
        return moments[-bound] if len(moments) >= bound else None

    for name, address, times, outcome, passes in steps:
        now += passes
        one = attempt(name, address, is_proxy=address == "10.0.0.7")
        for _ in range(times):
            now += 1
            pair = f"{name} {address}"
            oldest = [newest(PER_NAME_AND_ADDRESS, pair), newest(PER_ADDRESS, address)]
            reached = [at for at in oldest if at is not None]
            is_slow_name = newest(PER_NAME, name) is not None
            verdict = kept.begin(one, now)
            if reached and not one.is_nobodys:
                assert verdict.refused_seconds == pytest.approx(max(1.0, (max(reached) + WINDOW - now) / 1000))
                continue
            assert verdict.refused_seconds is None
            assert verdict.is_slowed == (bool(reached) or is_slow_name)
            if outcome == "failed":
                failures += [(now, pair), (now, address), (now, name)]
            else:
                if outcome == "succeeded":
                    failures = [(at, key) for at, key in failures if key != pair]
                kept.take_back(one, verdict.at, now, succeeded=outcome == "succeeded")


def test_a_long_name_of_accents() -> None:
    """No user has it, and it is counted as it is: normalizing it would hold the event loop for a second."""
    started_at = time.thread_time()
    assert attempt("a" + "\u0301\u0316" * 15_000) != attempt("a" + "\u0316\u0301" * 15_000)
    assert time.thread_time() - started_at < 0.2
    assert attempt("\u0301\u0316" * 100) == attempt("\u0316\u0301" * 100)
