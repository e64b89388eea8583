"""Which indices belong together, and in which order."""

import time

from cacheapp.state.families import ALIAS, DATA_STREAM, INDICES, Series, family_of, names_by_index, stem_of

ALIASES = {"all": ("a-1", "a-2", "b"), "few": ("a-1",), "stream": ("a-2",)}


def test_the_family_of_an_index() -> None:
    """Its data stream; else of its aliases that of most indices; else its name without a trailing date or number."""
    names = names_by_index(ALIASES)
    found = {
        index: family_of(index, names.get(index, ()), ALIASES, {"stream"}) for index in ("a-1", "a-2", "c-2026.11")
    }
    assert found == {"a-1": (ALIAS, "all"), "a-2": (DATA_STREAM, "stream"), "c-2026.11": (INDICES, "c")}


def test_trailing_dates_and_numbers() -> None:
    """Years, weeks, generations and counters are left out; what is nothing else stays."""
    assert [stem_of(name) for name in ("logs-2026.11.29-000003", "logs-2026-w48", "app20261129", "v2", "2026")] == [
        "logs",
        "logs",
        "app",
        "v2",
        "2026",
    ]


def test_many_digits() -> None:
    """Whatever a name consists of, its stem is found at once: others choose the names of indices."""
    started_at = time.thread_time()
    for name in ("1" * 250 + "x", "1111" * 60 + "-", "-1" * 120 + "x", "1-" * 120, "11112222.1" * 20 + "x"):
        assert stem_of(name)
    assert stem_of("a" + "1" * 250) == "a"
    assert time.thread_time() - started_at < 1


def test_the_member_before() -> None:
    """By numbers, not by digits; rather one whose name differs by its number alone; the first has none before it."""
    assert Series(["logs-9", "logs-10", "logs-11", "logs-2"]).before("logs-10") == "logs-9"
    assert Series(["logs-9", "logs-10"]).before("logs-9") is None
    assert Series(["orders-v1", "orders-v2", "customers"]).before("orders-v2") == "orders-v1"
    assert Series(["logs-1", "logs-1x"]).before("logs-2") == "logs-1"
