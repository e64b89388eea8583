"""Which names a search is sent to."""

import pytest

from cacheapp.errors import TooMuch
from cacheapp.search_target import MAX_NAMES_BYTES, Target, one_name, target_of
from cacheapp.state.expressions import Resolved


def resolved(
    *names: str, exact: tuple[str, ...] = (), missing: tuple[str, ...] = (), partial: tuple[str, ...] = ()
) -> Resolved:
    return Resolved(tuple(sorted({*names, *exact})), frozenset(exact), (), missing=missing, partial=partial)


def test_what_goes_meanwhile() -> None:
    """Is passed over where patterns alone gave it, and never where every name is exact."""
    assert one_name("ä") == Target("%C3%A4", frozenset({"ä"}), has_others=False)
    of_patterns = target_of(resolved("a", "b"))
    assert (of_patterns.names, of_patterns.passes_over) == ("a,b", True)
    exact = target_of(resolved(exact=("b", "a"), missing=("new",)))
    assert exact == Target("a,b,new", frozenset({"a", "b", "new"}), has_others=False)
    assert not exact.passes_over
    both = target_of(resolved("a", exact=("b",)))
    assert (both.passes_over, both.has_others) == (False, True)


def test_what_no_list_of_names_means() -> None:
    """An alias without one of its indices; the error names it."""
    with pytest.raises(TooMuch, match="-all"):
        target_of(resolved("all", partial=("all",)))


def test_an_address_has_bounds() -> None:
    """As they are sent: a letter that is encoded counts for six."""
    name = "x" * 99
    fits = resolved(*(f"{number:02}{name[3:]}" for number in range(MAX_NAMES_BYTES // 99)))
    assert len(target_of(fits).names) <= MAX_NAMES_BYTES
    with pytest.raises(TooMuch, match="31 names of 3099 bytes"):
        target_of(resolved(*(f"{number:02}{name[2:]}" for number in range(31))))
    with pytest.raises(TooMuch):
        target_of(resolved(*("ä" * number for number in range(1, 60))))
