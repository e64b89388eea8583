"""Which family a name belongs to, and what is kept to know it."""

from dataclasses import replace
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.state.families import ALIAS, DATA_STREAM, INDICES, family_of, names_by_index
from cacheapp.state.family_names import MAX_NAMES, FamilyNames, NamedFamily
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source


def snapshot(*indices: str, **aliases: tuple[str, ...]) -> Snapshot:
    entries = {name: IndexEntry("u", "h", 0.0, Source.MEMORY) for name in indices}
    return Snapshot(indices=entries, aliases=aliases, data_streams=frozenset({"events"} & aliases.keys()))


SNAPSHOT = snapshot(
    *("logs-2026.11.29", "logs-2026.11.28", "orders", "shop-1", "shop-2", ".ds-events-1"),
    shop=("shop-2", "shop-1"),
    one=("shop-1",),
    events=(".ds-events-1",),
)


def test_a_name_has_one_family() -> None:
    """An alias or data stream is one itself; an index has that of its data stream, of its largest alias, or of its
    series.
    """
    families = FamilyNames()
    shop = NamedFamily("shop", ALIAS, ("shop-1", "shop-2"))
    assert families.find("shop", SNAPSHOT) == families.find("shop-1", SNAPSHOT) == shop
    assert families.find("one", SNAPSHOT) == NamedFamily("one", ALIAS, ("shop-1",))
    assert families.find(".ds-events-1", SNAPSHOT) == NamedFamily("events", DATA_STREAM, (".ds-events-1",))
    series = NamedFamily("logs*", INDICES, ("logs-2026.11.28", "logs-2026.11.29"))
    assert families.find("logs-2026.11.29", SNAPSHOT) == series
    assert families.find("orders", SNAPSHOT) == NamedFamily("orders", INDICES, ("orders",))
    assert families.find("absent", SNAPSHOT) is None
    assert shop.is_alias
    assert not series.is_alias


def test_of_several_names() -> None:
    """One family if all belong to it."""
    families = FamilyNames()
    both = families.find_one(("logs-2026.11.28", "logs-2026.11.29"), SNAPSHOT)
    assert both is not None
    assert both.name == "logs*"
    assert families.find_one(("orders", "shop"), SNAPSHOT) is families.find_one((), SNAPSHOT) is None
    assert families.find_one(("orders",) * (MAX_NAMES + 1), SNAPSHOT) is None


def test_of_its_own_name() -> None:
    """A family is found by the name that it was given, a series by its beginning; one that is gone isn't."""
    families = FamilyNames()
    for name in ("logs-2026.11.28", "shop-1", "orders"):
        found = families.find(name, SNAPSHOT)
        assert found is not None
        assert families.of_family(found.name, SNAPSHOT) is found
    assert families.of_family("gone*", SNAPSHOT) is families.of_family("gone", SNAPSHOT) is None


def test_a_change_is_noticed() -> None:
    """Of the names, of what aliases stand for, and of what is a data stream; ages change nothing."""
    families = FamilyNames()
    assert families.find("shop-2", SNAPSHOT) is not None
    aged = replace(SNAPSHOT, indices=dict(SNAPSHOT.indices))
    kept = families.find("shop-2", aged)
    assert kept is families.find("shop-2", replace(aged, listed_at=9.0))
    renamed = replace(SNAPSHOT, aliases={"store": ("shop-2",)})
    found = families.find("shop-2", renamed)
    assert found is not None
    assert found.name == "store"
    grown = snapshot("orders", "orders-2")
    found = families.find("orders", grown)
    assert found is not None
    assert found.name == "orders*"
    stream = replace(SNAPSHOT, data_streams=frozenset({"events", "shop"}))
    found = families.find("shop", stream)
    assert found is not None
    assert found.kind == DATA_STREAM


def test_names_are_looked_at_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """All who look for families share what is known of the latest names; a snapshot with the same names needs no new
    look, and with the same aliases no new look at these.
    """
    counted = Mock(wraps=names_by_index)
    monkeypatch.setattr("cacheapp.state.family_names.names_by_index", counted)
    known = snapshot("a-1", "a-2", "b")
    for _ in range(3):
        assert FamilyNames().find("a-1", replace(known, confirmed_at=5.0)) == NamedFamily("a*", INDICES, ("a-1", "a-2"))
    assert counted.call_count == 1
    more = replace(known, indices={**known.indices, "a-3": known.indices["a-1"]})
    assert FamilyNames().find("a-1", more) == NamedFamily("a*", INDICES, ("a-1", "a-2", "a-3"))
    assert counted.call_count == 1
    aliased = replace(more, aliases={"all": ("a-1", "a-2")})
    assert FamilyNames().find("a-3", aliased) == NamedFamily("a-3", INDICES, ("a-3",))
    assert counted.call_count == 2


@given(st.lists(st.from_regex(r"[ab]{1,2}([-.][0-9]{1,2}){0,2}", fullmatch=True), unique=True), st.data())
def test_members_are_all_with_the_same_family(names: list[str], data: st.DataObject) -> None:
    """Whatever the names are: a family found by one name has all indices that belong to it, and no others."""
    aliased = tuple(name for name in names if data.draw(st.booleans()))
    known = snapshot(*names, alias=aliased) if aliased else snapshot(*names)
    of = {name: family_of(name, ["alias"] if name in aliased else [], known.aliases, ()) for name in names}
    families = FamilyNames()
    for name in names:
        found = families.find(name, known)
        assert found is not None
        assert found.indices == tuple(sorted(other for other in names if of[other] == of[name]))
