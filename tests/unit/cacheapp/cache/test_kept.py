"""What is kept by bytes: bounded, and what was asked for lately stays."""

from hypothesis import given
from hypothesis import strategies as st

from cacheapp.cache.kept import UNUSED_SECONDS, KeptByBytes
from tests.support.fakes import FakeClock


def test_the_one_not_asked_for_the_longest_goes_first() -> None:
    """Finding a value puts it last; what is kept again counts once, with its new size."""
    kept: KeptByBytes[str, int] = KeptByBytes(30)
    for number, key in enumerate("abc"):
        kept.keep(key, number, 10)
    assert kept.find("a") == 0
    kept.keep("d", 3, 10)
    assert [kept.find(key) for key in "abcd"] == [0, None, 2, 3]
    kept.keep("c", 4, 5)
    assert (kept.find("c"), kept.kept_bytes, len(kept), kept.dropped_total) == (4, 25, 3, 1)


def test_one_that_is_too_large_stays_alone() -> None:
    """Or it would be made anew for each who asks."""
    kept: KeptByBytes[str, int] = KeptByBytes(30)
    kept.keep("a", 0, 10)
    kept.keep("large", 1, 100)
    assert (kept.find("a"), kept.find("large"), kept.kept_bytes) == (None, 1, 100)
    kept.keep("b", 2, 10)
    assert (kept.find("large"), kept.find("b"), kept.kept_bytes) == (None, 2, 10)


def test_what_is_not_used_any_more_goes() -> None:
    """When another one is kept, and not while it is used; the number is bounded, too."""
    clock = FakeClock()
    kept: KeptByBytes[str, int] = KeptByBytes(100, max_values=3, clock=clock)
    kept.keep("used", 0, 1)
    kept.keep("unused", 1, 1)
    clock.advance(UNUSED_SECONDS)
    assert kept.find("used") == 0
    kept.keep("new", 2, 1)
    assert sorted(kept.items()) == [("new", 2), ("unused", 1), ("used", 0)]
    clock.advance(1)
    kept.keep("newer", 3, 1)
    assert sorted(kept.items()) == [("new", 2), ("newer", 3), ("used", 0)]
    kept.keep("newest", 4, 1)
    assert (len(kept), kept.kept_bytes, kept.dropped_total, kept.find("used")) == (3, 3, 2, None)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 40))))
def test_never_over_the_bound(steps: list[tuple[bool, int, int]]) -> None:
    """Whatever is kept and found, in whatever order: the bytes are counted and bounded, and nothing else is found."""
    kept: KeptByBytes[int, int] = KeptByBytes(100)
    known: dict[int, int] = {}
    for keeps, key, size in steps:
        if keeps:
            kept.keep(key, size, size)
            known[key] = size
        assert kept.find(key) in (None, known.get(key))
        there = [found for one in range(10) if (found := kept.find(one)) is not None]
        assert kept.kept_bytes == sum(there)
        assert kept.kept_bytes <= 100 or len(kept) == 1
