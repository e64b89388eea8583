"""What is news to the history, of what is recorded and a snapshot."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from unittest.mock import Mock

import pytest

from cacheapp.mapping.diff import FieldChanges
from cacheapp.state.changes import (
    ChangeKind,
    IndexChange,
    Recorded,
    RecordedState,
    compare,
    differing,
    index_changes,
    known_after,
    known_of,
)
from cacheapp.state.families import Series
from cacheapp.state.published import StoredIndex, StoredState
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash

AT = 100.0


def mapping(**fields: str) -> bytes:
    return json.dumps({"properties": {name: {"type": type_} for name, type_ in fields.items()}}).encode()


ONE, TWO = mapping(a="long"), mapping(a="ip")


def snapshot(
    at: float = AT, *, aliases: Mapping[str, tuple[str, ...]] | None = None, **indices: tuple[str | None, bytes]
) -> Snapshot:
    """Indices by name, listed and read at one moment: uuid and mapping."""
    entries = {
        name: IndexEntry(uuid, mapping_hash(body), at, Source.ELASTICSEARCH) for name, (uuid, body) in indices.items()
    }
    bodies = {mapping_hash(body): body for _, body in indices.values()}
    return Snapshot(
        indices=MappingProxyType(entries),
        aliases=MappingProxyType(dict(aliases or {})),
        bodies=MappingProxyType(bodies),
        listed_at=at,
        listed=frozenset(indices),
    )


def recorded(
    at: float = AT - 1, became: ChangeKind | None = None, **indices: tuple[str | None, bytes]
) -> dict[str, Recorded]:
    return {name: Recorded(uuid, mapping_hash(body), at, became) for name, (uuid, body) in indices.items()}


def news(was: Mapping[str, Recorded], now: Snapshot, known: Any = None) -> list[IndexChange]:
    return list(index_changes(was, known, now, sorted({*was, *now.indices})))


def kinds(was: Mapping[str, Recorded], now: Snapshot) -> dict[str, ChangeKind | None]:
    return {change.index: change.kind for change in news(was, now)}


def test_what_happened_to_indices() -> None:
    """Created, deleted, changed and created again under the same name are told apart; what is the same is left out, and
    a uuid that wasn't known is recorded without being news.
    """
    was = recorded(same=("u1", ONE), gone=("u2", ONE), changed=("u3", ONE), again=("u4", ONE), read=(None, ONE))
    now = snapshot(same=("u1", ONE), new=("u5", ONE), changed=("u3", TWO), again=("u6", ONE), read=("u7", ONE))
    assert kinds(was, now) == {
        "again": ChangeKind.RECREATED,
        "changed": ChangeKind.CHANGED,
        "gone": ChangeKind.DELETED,
        "new": ChangeKind.CREATED,
        "read": None,
    }


def test_each_change_is_found_once() -> None:
    """Who compares anew with what was recorded by then finds nothing."""
    was = recorded(gone=("u2", ONE), changed=("u3", ONE), again=("u4", ONE), read=(None, ONE))
    now = snapshot(new=("u5", ONE), changed=("u3", TWO), again=("u6", ONE), read=("u7", ONE))
    first = news(was, now)
    assert news({**was, **{change.index: change.recorded for change in first}}, now) == []


def test_what_is_older_than_the_record_is_no_news() -> None:
    """Another process may have recorded something newer than what this one read, found, or missed."""
    later = AT + 1
    was = {
        **recorded(later, changed=("u", TWO), new=("u", ONE)),
        **recorded(later, ChangeKind.DELETED, back=("u", ONE)),
    }
    assert news(was, snapshot(changed=("u", ONE), back=("u", ONE))) == []
    confirmed = replace(snapshot(changed=("u", ONE), back=("u", ONE)), confirmed_at=later, listed_at=later + 1)
    assert [change.kind for change in news(was, confirmed)] == [
        ChangeKind.SHOWN,
        ChangeKind.CHANGED,
        ChangeKind.DELETED,
    ]


def test_nothing_is_gone_without_a_listing() -> None:
    """Before the first listing, and while a listing has an index whose mapping could not be read."""
    was = recorded(-math.inf, a=("u", ONE))
    assert news(was, Snapshot()) == []
    assert news(was, replace(snapshot(), listed=frozenset({"a"}))) == []


def test_an_index_is_created_once_it_is_listed() -> None:
    """What a single read finds may never be in a listing: such an index would be created and deleted by turns."""
    now = snapshot(a=("u", ONE))
    unlisted = replace(now, listed=frozenset())
    assert news({}, unlisted) == []
    after = known_after(unlisted, {}, ["a"], [])
    assert differing(after, now) == ["a"]
    assert kinds({}, now) == {"a": ChangeKind.CREATED}


def test_what_comes_back() -> None:
    """The same index is shown again, whether it was hidden or thought deleted; another one of its name is created."""
    was = {
        **recorded(became=ChangeKind.HIDDEN, hidden=("u1", ONE)),
        **recorded(became=ChangeKind.DELETED, again=("u2", ONE), unknown=(None, ONE), still=("u3", ONE)),
    }
    now = snapshot(hidden=("u1", TWO), again=("u4", ONE), unknown=("u5", ONE))
    assert kinds(was, now) == {
        "hidden": ChangeKind.SHOWN,
        "again": ChangeKind.CREATED,
        "unknown": ChangeKind.CREATED,
    }


def test_evicted_mappings() -> None:
    """A pair of mappings is compared as far as both are in memory, on either side; equal ones without that."""
    pair, same = (mapping_hash(ONE), mapping_hash(TWO)), (mapping_hash(ONE), mapping_hash(ONE))
    before, after = snapshot(a=("u", ONE)), snapshot(a=("u", TWO))
    assert compare([pair], before, after)[pair].retyped_total == 1
    assert compare([pair, same], None, after) == {same: FieldChanges()}
    assert compare([pair], before.without_bodies(before.bodies), after) == {}


def test_a_new_member_of_a_family_is_compared_with_the_one_before() -> None:
    """Of an alias, and of names with a trailing number; the first member with nothing."""
    indices: dict[str, Any] = {
        "logs-9": ("u1", ONE),
        "logs-10": ("u2", TWO),
        "v1": ("u3", ONE),
        "v2": ("u4", TWO),
        "lone": ("u5", ONE),
    }
    now = snapshot(aliases={"orders": ("v1", "v2")}, **indices)
    found = {change.index: change for change in news({}, now)}
    assert {name: change.compared_with for name, change in found.items()} == {
        "logs-9": None,
        "logs-10": "logs-9",
        "v1": None,
        "v2": "v1",
        "lone": None,
    }
    assert found["logs-10"].pair == (mapping_hash(ONE), mapping_hash(TWO))
    assert {name: change.recorded.family for name, change in found.items()} == {
        "logs-9": "logs*",
        "logs-10": "logs*",
        "v1": "orders",
        "v2": "orders",
        "lone": "lone",
    }
    assert found["v2"].recorded.names == ("orders",)


def test_what_is_gone_keeps_its_family() -> None:
    """As it was before, or as it is recorded where this process hasn't known the index."""
    was = {"v1": Recorded("u", mapping_hash(ONE), AT - 1, None, "recorded", ("recorded",))}
    before = snapshot(aliases={"orders": ("v1",)}, v1=("u", ONE))
    [change] = news(was, snapshot(), before)
    assert (change.recorded.family, change.recorded.names) == ("orders", ("orders",))
    [change] = news(was, snapshot())
    assert (change.recorded.family, change.recorded.names) == ("recorded", ("recorded",))


def test_what_differs() -> None:
    """Names that came, went, or have another mapping or uuid; of nothing known all, of the same nothing."""
    before = snapshot(same=("u", ONE), gone=("u", ONE), other=("u", ONE), again=("u", ONE), read=("u", ONE))
    after = snapshot(same=("u", ONE), new=("u", ONE), other=("u", TWO), again=("u2", ONE), read=(None, ONE))
    assert differing(before, after) == ["again", "gone", "new", "other"]
    assert differing(before, before) == []
    assert differing(None, after) == ["again", "new", "other", "read", "same"]


def test_what_was_not_told_is_looked_at_again() -> None:
    """An index that could not be read is not gone: that it is, once it is, has to be found. So has to be what was older
    than the record, as far as it still is so later.
    """
    was = {**recorded(unread=("u", ONE), gone=("u", ONE), same=("u", ONE)), **recorded(AT + 1, newer=("u", ONE))}
    now = replace(snapshot(there=("u", ONE), same=("u", ONE), newer=("u", TWO)), listed=frozenset({"unread", "newer"}))
    after = known_after(now, was, [*now.indices, *was], news(was, now))
    assert {name: entry.mapping_hash for name, entry in after.indices.items()} == {
        "unread": mapping_hash(ONE),
        "same": mapping_hash(ONE),
        "newer": mapping_hash(ONE),
    }
    assert differing(after, snapshot(there=("u", ONE), same=("u", ONE), newer=("u", TWO))) == [
        "newer",
        "there",
        "unread",
    ]
    whole = snapshot(there=("u", ONE))
    assert known_after(whole, {}, [], []) is whole


def test_what_a_publication_records() -> None:
    """What it has, with the mappings that were known before; what its publisher could not read stays as it was."""
    state = StoredState(0.0, {"a": StoredIndex("u", "hash")}, {}, {"two": TWO}, unread=frozenset({"unread", "never"}))
    before = RecordedState({"unread": StoredIndex("u", "old"), "gone": StoredIndex("u", "old")}, {}, {}, frozenset())
    known = known_of(state, {"one": ONE}, before)
    assert (sorted(known.indices), known.bodies) == (["a", "unread"], {"one": ONE, "two": TWO})
    assert sorted(known_of(state, {}, None).indices) == ["a"]


def test_a_family_is_sorted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of its members are new at once: each is compared with the one before it."""
    sort = Mock(wraps=Series)
    monkeypatch.setattr("cacheapp.state.changes.Series", sort)
    entry = IndexEntry("u", "h", 1.0, Source.ELASTICSEARCH)
    indices = {f"logs-{number:03d}": entry for number in range(300)}
    snapshot = Snapshot(indices=indices, listed=frozenset(indices), listed_at=1.0)
    changes = list(index_changes({}, None, snapshot, sorted(indices)))
    assert [change.compared_with for change in changes[:3]] == [None, "logs-000", "logs-001"]
    assert (len(changes), sort.call_count) == (300, 1)
