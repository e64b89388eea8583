"""The merge rule: of two statements about one thing the newer wins, whoever made it and in whatever order they come."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheapp.state.merge import (
    MAX_ABSENT,
    Statement,
    is_ahead,
    merged,
    pass_statement,
    published_statement,
    read_statement,
    to_publish,
)
from cacheapp.state.published import StoredIndex, StoredState
from cacheapp.state.readings import Listing, Mappings, Reading
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from esassistant.long_work import at_once
from tests.support.fakes import A_MAPPING, B_MAPPING, C_MAPPING
from tests.support.snapshots import changed

A, B, C = map(mapping_hash, (A_MAPPING, B_MAPPING, C_MAPPING))


def entry(known: str, confirmed_at: float = 100.0, uuid: str | None = "u") -> IndexEntry:
    return IndexEntry(uuid, known, confirmed_at, Source.ELASTICSEARCH)


def snapshot(**indices: IndexEntry) -> Snapshot:
    """Indices by name, with their bodies, and an alias over all of them."""
    bodies = {mapping_hash(body): body for body in (A_MAPPING, B_MAPPING, C_MAPPING)}
    return changed(Snapshot(), indices, bodies, aliases={"all": tuple(indices)})


def published(age: float, bodies: dict[str, bytes], aliases: Any = None, **indices: StoredIndex) -> StoredState:
    return StoredState(age, indices, aliases or {}, bodies)


def after(before: Snapshot, said: Statement) -> Snapshot:
    return at_once(merged(before, said))


def with_published(before: Snapshot, state: StoredState, now: float) -> Snapshot:
    return after(before, at_once(published_statement(state, now)))


def read(name: str, at: float, **mappings: bytes) -> Statement:
    return read_statement(name, mappings, at)


def passed(at: float, mappings: Mapping[str, bytes], left_alone: frozenset[str] = frozenset()) -> Statement:
    listing = Listing("cluster", dict.fromkeys({*mappings, *left_alone}, "u"), {}, frozenset())
    return at_once(pass_statement(Reading(listing, Mappings.from_bodies(mappings), at, left_alone), ()))


def test_a_statement_leaves_the_snapshot() -> None:
    """Merging gives a new snapshot; whoever holds the old one sees nothing of it, and nobody can write into either."""
    before = snapshot(a=entry(A, 50.0))
    new = after(before, passed(100.0, {"b": B_MAPPING}))
    assert (set(before.indices), dict(before.aliases)) == ({"a"}, {"all": ("a",)})
    assert (set(new.indices), dict(new.aliases)) == ({"b"}, {})
    for mapping in (new.indices, new.aliases, new.bodies, new.aliases_at):
        with pytest.raises(TypeError):
            mapping["x"] = None  # type: ignore[index]


def test_unreferenced_bodies_are_dropped() -> None:
    """A body goes with the last index that has it, whether that was removed or got another mapping."""
    before = snapshot(a=entry(A, 50.0), b=entry(A, 50.0), c=entry(B, 50.0))
    one_left = after(before, read("a", 60.0))
    assert set(one_left.bodies) == {A, B}
    none_left = after(one_left, read("b", 60.0, b=B_MAPPING))
    assert set(none_left.bodies) == {B}


@pytest.mark.parametrize(
    ("said", "wins"),
    [
        pytest.param(read("a", 90.0, a=B_MAPPING), True, id="read"),
        pytest.param(passed(90.0, {"a": B_MAPPING}), True, id="pass"),
        pytest.param(
            at_once(published_statement(published(10.0, {B: B_MAPPING}, a=StoredIndex("u", B)), 100.0)),
            False,
            id="published",
        ),
    ],
)
def test_ties(said: Statement, wins: bool) -> None:
    """For one and the same moment what this process read replaces what is known; what others published does not."""
    assert after(snapshot(a=entry(A, 90.0)), said).indices["a"].mapping_hash == (B if wins else A)


def test_a_read_keeps_what_only_listings_tell() -> None:
    """The uuid and the number of fields stay while the mapping is the same; with another they are not known any
    more.
    """
    before = snapshot(a=IndexEntry("u", A, 50.0, Source.STORE, field_count=3))
    same = after(before, read("a", 60.0, a=A_MAPPING)).indices["a"]
    assert (same.uuid, same.field_count, same.confirmed_at, same.source) == ("u", 3, 60.0, Source.ELASTICSEARCH)
    other = after(before, read("a", 60.0, a=B_MAPPING)).indices["a"]
    assert (other.uuid, other.field_count) == (None, None)


def test_field_limits_are_of_the_own_listing() -> None:
    """The newest listing of this process tells them; what others publish doesn't, so that a newer one makes them
    unknown, an older one and one of the same moment don't. A read says nothing of them.
    """

    def listed(at: float, limit: int) -> Statement:
        listing = Listing("cluster", {"a": "u"}, {}, frozenset(), field_limits={"a": limit})
        return at_once(pass_statement(Reading(listing, Mappings.from_bodies({"a": A_MAPPING}), at), ()))

    before = after(Snapshot(), listed(80.0, 20))
    assert before.field_limits == {"a": 20}
    assert after(before, listed(70.0, 10)).field_limits == {"a": 20}
    assert after(before, listed(90.0, 30)).field_limits == {"a": 30}
    assert after(before, read("a", 95.0, a=B_MAPPING)).field_limits == {"a": 20}
    state = published(10.0, {A: A_MAPPING}, a=StoredIndex("u", A))
    limits = [with_published(before, state, now).field_limits for now in (85.0, 90.0, 95.0)]
    assert limits == [{"a": 20}, {"a": 20}, {}]


def test_what_a_later_listing_had_stays() -> None:
    """A pass that ends late doesn't drop an index that a later listing had, though it read nothing of it."""
    before = after(snapshot(a=entry(A, 50.0)), passed(80.0, {}, left_alone=frozenset({"a"})))
    assert set(after(before, passed(70.0, {})).indices) == {"a"}
    assert set(after(before, passed(90.0, {})).indices) == set()


def test_what_failed_stays_as_it_was() -> None:
    """A mapping that a pass could not read whole stays as it is known, though an earlier batch may have brought one."""
    listing = Listing("cluster", {"a": "u"}, {}, frozenset())
    reading = Reading(listing, Mappings.from_bodies({"a": B_MAPPING}), 90.0)
    new = after(snapshot(a=entry(A, 50.0)), at_once(pass_statement(reading, ("a",))))
    assert new.indices["a"] == entry(A, 50.0)


def test_absent_names_are_bounded() -> None:
    """Strangers may ask for any name: of those that are not there the longest known are forgotten."""
    before = Snapshot(absent_at=MappingProxyType({f"n{number}": 1.0 for number in range(MAX_ABSENT)}))
    new = after(before, read("another", 2.0))
    assert len(new.absent_at) == MAX_ABSENT
    assert ("n0" in new.absent_at, new.absent_at["another"]) == (False, 2.0)
    assert after(new, passed(3.0, {})).absent_at == {}


@pytest.mark.parametrize(
    ("mine", "expected"),
    [
        pytest.param(snapshot(a=entry(A, 95.0)), False, id="the same"),
        pytest.param(snapshot(a=entry(B, 95.0)), True, id="another mapping"),
        pytest.param(snapshot(a=entry(A, 95.0), b=entry(B, 95.0)), True, id="an index more"),
        pytest.param(Snapshot(listed_at=95.0), True, id="one deleted since"),
        pytest.param(Snapshot(listed_at=85.0), False, id="one not known yet"),
    ],
)
def test_who_is_ahead(mine: Snapshot, expected: bool) -> None:
    """A process is ahead of what was published when it knows what that lacks; what it lacks itself says nothing."""
    assert is_ahead(mine, published(10.0, {}, a=StoredIndex("u", A)), now=100.0) is expected


def test_publish_round_trip() -> None:
    """What one process publishes and another takes over has the same indices, aliases, bodies and moments."""
    sent = snapshot(a=entry(A, 100.0), b=entry(B, 40.0, None))
    state = to_publish(sent, pass_at=100.0, now=130.0, cluster_urls="urls")
    assert state.age_seconds == 30.0
    received = with_published(Snapshot(), state, now=5000.0)
    assert received.indices == {
        "a": IndexEntry("u", A, 4970.0, Source.STORE),
        "b": IndexEntry(None, B, 4910.0, Source.STORE),
    }
    assert received.aliases == sent.aliases
    assert received.bodies == sent.bodies


def test_what_pass_confirmed_needs_no_age() -> None:
    """An index is published with an age of its own unless the pass confirmed it: older or newer."""
    state = to_publish(
        snapshot(a=entry(A, 100.0), b=entry(B, 110.0), c=entry(C, 99.0)), pass_at=100.0, now=130.0, cluster_urls="urls"
    )
    assert {name: stored.age_seconds for name, stored in state.indices.items()} == {"a": None, "b": 20.0, "c": 31.0}


def test_later_confirmation_stays() -> None:
    """An entry that this process confirmed after the publisher's pass stays, an earlier one is replaced."""
    mine = snapshot(newer=entry(A, 95.0), older=entry(A, 85.0))
    state = published(10.0, {B: B_MAPPING}, newer=StoredIndex("v", B), older=StoredIndex("v", B))
    merged = with_published(mine, state, now=100.0)
    assert merged.indices["newer"] == mine.indices["newer"]
    assert merged.indices["older"] == IndexEntry("v", B, 90.0, Source.STORE)


def test_own_age_of_stored_index_counts() -> None:
    """An index that the publisher itself had from earlier is compared by its own age, not by that of the state."""
    mine = snapshot(a=entry(A, 85.0))
    state = published(10.0, {B: B_MAPPING}, a=StoredIndex("v", B, age_seconds=20.0))
    assert with_published(mine, state, now=100.0).indices["a"] == mine.indices["a"]


def test_absent_indices_go() -> None:
    """What the publisher did not find is gone, unless it was confirmed here after the publisher looked."""
    mine = snapshot(created=entry(A, 95.0), deleted=entry(A, 85.0))
    merged = with_published(mine, published(10.0, {}), now=100.0)
    assert set(merged.indices) == {"created"}


def test_what_the_publisher_could_not_read_stays() -> None:
    """A name that the publisher listed but never read is published as such: whoever has read it keeps it, and says so
    again when it publishes; who has not knows that it is listed.
    """
    listing = Listing("cluster", {"good": "u", "bad": "u"}, {}, frozenset())
    reading = Reading(listing, Mappings.from_bodies({"good": A_MAPPING}), 90.0)
    publisher = after(Snapshot(), at_once(pass_statement(reading, ("bad",))))
    state = to_publish(publisher, pass_at=90.0, now=100.0, cluster_urls="urls")
    assert set(state.indices) == {"good"}
    assert state.unread == {"bad"}
    taker = with_published(snapshot(good=entry(A, 80.0), bad=entry(B, 80.0), gone=entry(C, 80.0)), state, now=100.0)
    assert {name: each.mapping_hash for name, each in taker.indices.items()} == {"good": A, "bad": B}
    assert is_ahead(taker, state, now=100.0)
    assert to_publish(taker, pass_at=90.0, now=100.0, cluster_urls="urls").unread == frozenset()
    newcomer = with_published(Snapshot(), state, now=100.0)
    assert to_publish(newcomer, pass_at=90.0, now=100.0, cluster_urls="urls").unread == {"bad"}


def test_aliases_are_replaced() -> None:
    """Aliases of the published state replace those known before."""
    mine = changed(snapshot(a=entry(A, 85.0)), {}, {}, aliases={"old": ("a",), "both": ("a",)})
    state = published(10.0, {}, {"both": ("a", "b"), "new": ("a",)}, a=StoredIndex("u", A))
    assert with_published(mine, state, now=100.0).aliases == {"both": ("a", "b"), "new": ("a",)}


def test_known_body_is_used() -> None:
    """The store leaves out bodies that the receiver has; those are taken from its own snapshot."""
    mine = snapshot(a=entry(A, 50.0))
    merged = with_published(mine, published(10.0, {}, a=StoredIndex("u", A), b=StoredIndex("u", A)), now=100.0)
    assert set(merged.indices) == {"a", "b"}
    assert dict(merged.bodies) == {A: A_MAPPING}


def test_unknown_body_is_a_miss() -> None:
    """An index whose body neither side has, as each had evicted it, stays listed, and is read from the cluster when
    it is asked for.
    """
    merged = with_published(Snapshot(), published(10.0, {}, {"all": ("a",)}, a=StoredIndex("u", A)), now=100.0)
    assert merged.resolve("a") is None
    assert merged.resolve("all") is None
    assert merged.indices == {"a": IndexEntry("u", A, 90.0, Source.STORE)}
    evicted = snapshot(a=entry(A, 50.0)).without_bodies([A])
    assert with_published(evicted, published(10.0, {}, a=StoredIndex("u", A)), now=100.0).indices == merged.indices


def test_unknown_body_outdates_old_entry() -> None:
    """An older entry whose mapping is known to have changed isn't kept when the new body is missing."""
    mine = snapshot(a=entry(A, 50.0))
    assert with_published(mine, published(10.0, {}, a=StoredIndex("u", B)), now=100.0).resolve("a") is None


NAMES = ("a", "b", "c")
ALIAS = "x"
MAPPINGS = (A_MAPPING, B_MAPPING, C_MAPPING)


@dataclass(frozen=True)
class Moment:
    """What the cluster was like from `at` on: the mapping of each index, and the members of the alias (none: absent).
    `steady`: the indices that have been as they are since the beginning.
    """

    at: float
    indices: dict[str, bytes]
    members: tuple[str, ...]
    steady: frozenset[str]

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        return {ALIAS: self.members} if self.members else {}


@st.composite
def histories(draw: st.DrawFn) -> list[Moment]:
    """The cluster at some moments, one a second."""
    moments: list[Moment] = []
    for at in range(draw(st.integers(2, 6))):
        indices = moments[-1].indices if moments else {}
        if not moments or draw(st.booleans()):  # or hardly anything would be steady
            indices = draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(MAPPINGS)))
        members = draw(st.lists(st.sampled_from(sorted(indices)), unique=True).map(sorted)) if indices else []
        first = moments[0].indices if moments else indices
        before = moments[-1].steady if moments else indices.keys()
        steady = frozenset(name for name in before if indices.get(name) == first[name])
        moments.append(Moment(float(at), indices, tuple(members), steady))
    return moments


@dataclass(frozen=True)
class Said:
    """A statement with what it tells: of each index its mapping (b"": that it is there; None: that it isn't), and of
    the alias its members; what it doesn't tell of is absent.
    """

    statement: Statement
    indices: dict[str, bytes | None]
    alias: tuple[str, ...] | None


def said_at(moment: Moment, kind: str, name: str, now: float) -> Said:
    """What a read of `name`, a full pass, a change pass that leaves a steady `name` alone, or a published state says,
    or one whose publisher could not read a steady `name`.
    """
    told: dict[str, bytes | None] = {index: moment.indices.get(index) for index in NAMES}
    listing = Listing("cluster", dict.fromkeys(moment.indices, "u"), moment.aliases, frozenset())
    if kind == "read index":
        found = {name: moment.indices[name]} if name in moment.indices else {}
        return Said(read_statement(name, found, moment.at), {name: moment.indices.get(name)}, None)
    if kind == "read alias":
        found = {index: moment.indices[index] for index in moment.members}
        return Said(read_statement(ALIAS, found, moment.at), dict(found), moment.members)
    if kind == "published":
        stored = {index: StoredIndex("u", mapping_hash(body)) for index, body in moment.indices.items()}
        bodies = {mapping_hash(body): body for body in moment.indices.values()}
        state = StoredState(now - moment.at, stored, moment.aliases, bodies)
        return Said(at_once(published_statement(state, now)), told, moment.members)
    if kind == "published, one unread":
        unread = frozenset({name} & moment.steady)
        stored = {index: StoredIndex("u", mapping_hash(body)) for index, body in moment.indices.items()}
        bodies = {mapping_hash(body): body for index, body in moment.indices.items() if index not in unread}
        read = {index: each for index, each in stored.items() if index not in unread}
        state = StoredState(now - moment.at, read, moment.aliases, bodies, unread=unread)
        return Said(at_once(published_statement(state, now)), told | dict.fromkeys(unread, b""), moment.members)
    left_alone = frozenset({name} & moment.steady) if kind == "change pass" else frozenset()
    mappings = Mappings.from_bodies({index: body for index, body in moment.indices.items() if index not in left_alone})
    reading = Reading(listing, mappings, moment.at, left_alone)
    return Said(at_once(pass_statement(reading, ())), told | dict.fromkeys(left_alone, b""), moment.members)


KINDS = ("read index", "read alias", "full pass", "change pass", "published", "published, one unread")


@settings(max_examples=200)
@given(histories(), st.data())
def test_the_newest_statement_wins_in_any_order(moments: list[Moment], data: st.DataObject) -> None:
    """Whatever is said, by whom and in which order: of each index and of the alias holds what was said last of it."""
    now = 100.0
    chosen = data.draw(
        st.lists(
            st.tuples(st.sampled_from(moments), st.sampled_from(KINDS), st.sampled_from(NAMES)), min_size=1, max_size=8
        )
    )
    statements = data.draw(st.permutations([said_at(moment, kind, name, now) for moment, kind, name in chosen]))
    known = Snapshot()
    for said in statements:
        known = after(known, said.statement)
    in_time = sorted(statements, key=lambda said: said.statement.at)
    for name in NAMES:
        expected: bytes | None = None
        for said in in_time:
            if name in said.indices and (told := said.indices[name]) != b"":
                expected = told
        found = known.indices.get(name)
        assert (None if found is None else known.bodies[found.mapping_hash]) == expected, name
    alias = [said.alias for said in in_time if said.alias is not None]
    assert known.aliases.get(ALIAS, ()) == (alias[-1] if alias else ())
    assert known.bodies.keys() == {each.mapping_hash for each in known.indices.values()}
