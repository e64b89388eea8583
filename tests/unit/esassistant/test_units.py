"""Numbers and moments as people read them."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.clock import now_utc
from esassistant.templatetags import shown
from esassistant.units import (
    as_ago,
    as_bytes,
    as_count,
    as_duration,
    as_percent,
    as_rate,
    as_seconds,
    clock_time,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (-1, "0 ms"),
        (0.00321, "3.21 ms"),
        (0.5, "0.5 s"),
        (9.99, "9.99 s"),
        (42.9, "42 s"),
        (60, "1 min"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (7800, "2 h 10 min"),
        (86_400 * 5 + 3 * 3600 + 59, "5 d 3 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """A duration is told in its two largest units; what is between them and nothing is left out."""
    assert as_duration(seconds) == text


@given(st.floats(10, 1e8))
def test_durations_are_never_overstated(seconds: float) -> None:
    """What is told is the duration, rounded down to the smaller unit that is told."""
    lengths = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
    words = as_duration(seconds).split()
    told = sum(int(count) * lengths[unit] for count, unit in zip(words[::2], words[1::2], strict=True))
    assert told <= seconds < told + max(lengths[words[-1]], 1) * (60 if len(words) == 2 else 1) * 24


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (as_seconds(0.0995), "0.0995 s"),
        (as_seconds(0.0994), "99.4 ms"),
        (as_seconds(12.5), "12.5 s"),
        (as_seconds(1800), "1800 s"),
        (as_seconds(604_800), "604800 s"),
        (as_bytes(999), "999 B"),
        (as_bytes(9100), "9.1 kB"),
        (as_bytes(102_000_000), "102 MB"),
        (as_bytes(3.2e9), "3.2 GB"),
        (as_rate(1234), "1,234/s"),
        (as_rate(0.25), "0.25/s"),
        (as_percent(99.95), "100 %"),
        (as_count(3.0), "3"),
        (shown.duration(None), "no data"),
        (shown.duration(90), "1 min 30 s"),
        (shown.bytes_(None), "no data"),
        (shown.bytes_(10), "10 B"),
    ],
)
def test_units(text: str, wanted: str) -> None:
    """Each number has its unit; what isn't known says so."""
    assert text == wanted


def test_milliseconds() -> None:
    """What is told in milliseconds reads like any other duration."""
    assert (shown.milliseconds(12.3456), shown.milliseconds(3096.7)) == ("12.3 ms", "3.1 s")


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Set `A=<b>` or `C`.", "Set <code>A=&lt;b&gt;</code> or <code>C</code>."),
        ("<script>`", "&lt;script&gt;`"),
    ],
)
def test_prose(text: str, html: str) -> None:
    """What stands in backticks is code, and all is escaped."""
    assert shown.prose(text) == html


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("oldest_age_seconds", 228.549, "oldest age 3 min 48 s"),
        ("coverage_percent", 100.0, "coverage 100 %"),
        ("unassigned_shards", 0, "unassigned shards 0"),
        ("loop_lag_p99_seconds", None, "event loop late, 99 % within unknown"),
        ("kind", "redis", "kind redis"),
    ],
)
def test_facts(name: str, value: float | str | None, text: str) -> None:
    """The unit at the end of a fact's name is written with its value."""
    assert shown.fact(name, value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (1.9, "just now"),
        (42.9, "42 s ago"),
        (61, "1 min ago"),
        (7300, "2 h ago"),
        (200_000, "2 d ago"),
        (-90, "in 1 min"),
    ],
)
def test_how_long_ago(seconds: float, text: str) -> None:
    """In the largest unit alone, rounded down."""
    assert as_ago(seconds) == text


NOW = datetime(2026, 11, 29, 10, 40, tzinfo=UTC)


def test_clock_times() -> None:
    """The time alone for half a day, over midnight too; what is older has its day."""
    assert clock_time(NOW, NOW) == "10:40:00 UTC"
    assert clock_time(NOW - timedelta(hours=11), NOW) == "23:40:00 UTC"
    assert clock_time(NOW - timedelta(days=1), NOW) == "2026-11-28 10:40 UTC"


def test_moments() -> None:
    """A moment is told relative and in UTC, whatever zone it comes in, and machines can read it."""
    at = (now_utc() - timedelta(minutes=3, seconds=2)).astimezone(timezone(timedelta(hours=5)))
    html = str(shown.moment(at))
    utc = at.astimezone(UTC)
    assert f'datetime="{utc:%Y-%m-%dT%H:%M:%SZ}" title="{utc:%Y-%m-%d %H:%M:%S} UTC"' in html
    assert re.sub("<[^>]+>", "", html) == f"3 min ago {utc:%H:%M:%S} UTC"
    assert shown.moment(None) == "never"


@pytest.mark.parametrize(
    ("reference", "address"),
    [
        ("docs/operations.md#locked-out", "/docs/operations#locked-out"),
        ("docs/security.md", "/docs/security"),
    ],
)
def test_addresses_of_the_guide(reference: str, address: str) -> None:
    """A reference to a document leads to its page in the guide."""
    assert shown.guide_address(reference) == address
