"""What names stand for: rendered as doing it by hand would, and kept in bounded memory, of one snapshot only."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheapp.state import answer as module
from cacheapp.state.answer import (
    LARGE_INDICES,
    LARGE_OUTLINE_INDICES,
    MAX_KEPT_BYTES,
    MEMBER_BYTES,
    OUTLINE_BYTES,
    Rendered,
    RenderedNames,
    render,
)
from cacheapp.state.distinct import Distinct
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from tests.support.fakes import A_MAPPING, B_MAPPING, C_MAPPING
from tests.support.snapshots import changed

A, B, C = map(mapping_hash, (A_MAPPING, B_MAPPING, C_MAPPING))
BODIES = {A: A_MAPPING, B: B_MAPPING, C: C_MAPPING}


def entry(known: str, confirmed_at: float = 100.0, source: Source = Source.ELASTICSEARCH) -> IndexEntry:
    return IndexEntry("u", known, confirmed_at, source)


def snapshot(aliases: dict[str, tuple[str, ...]] | None = None, **indices: IndexEntry) -> Snapshot:
    """Indices by name, with their bodies, and aliases that were confirmed at 90."""
    return changed(Snapshot(), indices, BODIES, aliases=aliases, aliases_at=90.0)


def wide(count: int) -> Snapshot:
    """An alias `all` over so many indices, and one `few` over two of them."""
    names = tuple(f"i{number}" for number in range(count))
    indices = dict.fromkeys(names, entry(A))
    return changed(Snapshot(), indices, BODIES, aliases={"all": names, "few": names[:2]}, aliases_at=90.0)


def test_an_index() -> None:
    """An index is rendered with its mapping, byte by byte as the cluster gave it."""
    rendered = render(snapshot(a=entry(A, 50.0)), "a")
    assert rendered is not None
    assert rendered.body == b'{"a":{"mappings":%b}}' % A_MAPPING
    assert (rendered.indices, rendered.mapping_hashes, rendered.confirmed_at) == (("a",), (A,), 50.0)
    assert rendered.distinct == (Distinct(A, A_MAPPING, ("a",)),)
    assert rendered.source is Source.MEMORY
    assert rendered.derived == {}


def test_an_alias() -> None:
    """An alias is rendered with all its indices, in its order; each body counts once, and its age is of the oldest."""
    rendered = render(snapshot({"all": ("c", "a", "b")}, a=entry(A, 95.0), b=entry(B, 80.0), c=entry(A)), "all")
    assert rendered is not None
    assert rendered.body == b'{"c":{"mappings":%b},"a":{"mappings":%b},"b":{"mappings":%b}}' % (
        A_MAPPING,
        A_MAPPING,
        B_MAPPING,
    )
    assert (rendered.indices, rendered.mapping_hashes, rendered.confirmed_at) == (("c", "a", "b"), (A, A, B), 80.0)
    assert rendered.distinct == (Distinct(A, A_MAPPING, ("a", "c")), Distinct(B, B_MAPPING, ("b",)))


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "percent%b", "ümläut", "new\nline"])
def test_names_are_escaped(name: str) -> None:
    """Whatever a name is made of, the body is JSON."""
    rendered = render(changed(Snapshot(), {name: entry(A)}, BODIES), name)
    assert rendered is not None
    assert json.loads(rendered.body) == {name: {"mappings": json.loads(A_MAPPING)}}


def test_what_is_not_known() -> None:
    """Nothing is rendered of an unknown name, of an alias with an unknown index, without indices, or whose mappings
    were evicted.
    """
    known = snapshot({"half": ("a", "gone"), "none": (), "both": ("a", "b")}, a=entry(A), b=entry(B))
    assert render(known, "both") is not None
    for name in ("unknown", "half", "none", "gone"):
        assert render(known, name) is None
    evicted = known.without_bodies([B])
    assert render(evicted, "both") is None
    assert render(evicted, "b") is None
    assert render(evicted, "a") is not None


@pytest.mark.parametrize(
    ("sources", "source"),
    [
        ((Source.ELASTICSEARCH, Source.ELASTICSEARCH), Source.MEMORY),
        ((Source.ELASTICSEARCH, Source.STORE), Source.STORE),
        ((Source.STORE, Source.STORE), Source.STORE),
    ],
)
def test_source(sources: tuple[Source, Source], source: Source) -> None:
    """It says so when any of it was taken over from the store."""
    one, other = sources
    rendered = render(snapshot({"all": ("a", "b")}, a=entry(A, source=one), b=entry(B, source=other)), "all")
    assert rendered is not None
    assert rendered.source is source


NAMES = ("a", "b", "c", "d")
SNAPSHOTS = st.builds(
    lambda indices, aliases, together_at, evicted: replace(
        snapshot(aliases, **indices).without_bodies(evicted), confirmed_at=together_at
    ),
    st.dictionaries(
        st.sampled_from(NAMES),
        st.builds(entry, st.sampled_from(sorted(BODIES)), st.floats(0, 1000), st.sampled_from(Source)),
    ),
    st.dictionaries(
        st.sampled_from(("x", "y", "z")), st.lists(st.sampled_from(NAMES), max_size=4, unique=True).map(tuple)
    ),
    st.floats(0, 1000),
    st.sets(st.sampled_from(sorted(BODIES)), max_size=1),
)


def naive(of: Snapshot, name: str) -> dict[str, Any] | None:
    """What `name` stands for, one after the other."""
    found = {}
    for index in (name,) if name in of.indices else of.aliases.get(name, ()):
        if index not in of.indices or of.indices[index].mapping_hash not in of.bodies:
            return None
        found[index] = {"mappings": json.loads(of.bodies[of.indices[index].mapping_hash])}
    return found or None


@given(SNAPSHOTS)
def test_as_by_hand(known: Snapshot) -> None:
    """Of every name, all that is rendered is what going from index to index gives."""
    for name in (*NAMES, "x", "y", "z", "unknown"):
        rendered, expected = render(known, name), naive(known, name)
        assert (rendered is None) == (expected is None)
        if rendered is None or expected is None:
            continue
        entries = [known.indices[index] for index in expected]
        assert json.loads(rendered.body) == expected
        assert rendered.indices == tuple(json.loads(rendered.body)) == tuple(expected)
        assert rendered.mapping_hashes == tuple(each.mapping_hash for each in entries)
        oldest = min([each.confirmed_at for each in entries] + ([] if name in known.indices else [90.0]))
        assert rendered.confirmed_at == max(known.confirmed_at, oldest)
        assert (rendered.source is Source.STORE) == any(each.source is Source.STORE for each in entries)


@settings(max_examples=50)
@given(st.lists(SNAPSHOTS, min_size=2, max_size=4))
def test_validators(several: list[Snapshot]) -> None:
    """Two renderings have the same validator exactly when they have the same bytes; it is strong, and in quotes."""
    rendered = [found for known in several for name in (*NAMES, "x", "y") if (found := render(known, name)) is not None]
    for one in rendered:
        assert one.etag.startswith('"')
        assert one.etag.endswith('"')
        assert len(bytes.fromhex(one.etag[1:-1])) == 16
        for other in rendered:
            assert (one.etag == other.etag) == (one.body == other.body)


@pytest.mark.parametrize(
    ("count", "large"), [(0, False), (LARGE_INDICES, False), (LARGE_INDICES + 1, True), (2 * LARGE_INDICES, True)]
)
def test_is_large(count: int, large: bool) -> None:
    """An alias over more than so many indices is large; no index is, nor what isn't known."""
    known = wide(count)
    names = RenderedNames()
    assert names.is_large(known, "all") is large
    assert not any(names.is_large(known, name) for name in ("few", "i0", "unknown"))


def test_an_index_with_the_name_of_an_alias_is_not_large() -> None:
    """A name that an index has stands for that index alone, whatever alias was called so."""
    names = tuple(f"i{number}" for number in range(LARGE_INDICES + 1))
    known = snapshot({"all": names}, all=entry(A), **dict.fromkeys(names, entry(A)))
    assert not RenderedNames().is_large(known, "all")
    found = RenderedNames().find(known, "all")
    assert found is not None
    assert found.indices == ("all",)


def test_rendered_once() -> None:
    """As long as the snapshot stands, a name gives the same object, with all that was derived from it."""
    known = snapshot({"all": ("a", "b")}, a=entry(A), b=entry(B))
    names = RenderedNames()
    first = names.find(known, "all")
    assert first == render(known, "all")
    assert names.find(known, "a") != first
    assert names.find(known, "all") is first


def test_what_is_not_known_is_not_kept() -> None:
    """An unknown name takes no memory, however many are asked for."""
    known = snapshot(a=entry(A))
    names = RenderedNames()
    assert [names.find(known, f"unknown-{number}") for number in range(10)] == [None] * 10
    assert (names.kept_bytes, len(names._kept)) == (0, 0)


def test_a_snapshot_with_other_ages_empties_nothing() -> None:
    """Where only ages or sources changed, bytes and validators stay the very same, with the new age; what was derived
    from the age goes.
    """
    before = snapshot({"all": ("a", "b")}, a=entry(A, 50.0), b=entry(B, 60.0))
    names = RenderedNames()
    old = {name: names.find(before, name) for name in ("a", "all")}
    for after, confirmed_at, source in (
        (replace(before, confirmed_at=200.0), 200.0, Source.MEMORY),
        (changed(before, {"a": entry(A, 300.0, Source.STORE)}, BODIES), 300.0, Source.STORE),
    ):
        found = names.find(after, "a")
        assert found is not None
        assert old["a"] is not None
        assert found.body is old["a"].body
        assert (found.etag, found.confirmed_at, found.source) == (old["a"].etag, confirmed_at, source)
        assert names.find(after, "a") is found
        found.derived["made of"] = "this age"
    again = names.find(replace(before, confirmed_at=400.0), "all")
    assert again is not None
    assert old["all"] is not None
    assert again.body is old["all"].body
    assert (again.confirmed_at, again.derived) == (400.0, {})
    assert names.kept_bytes == sum(len(each.body) for each in old.values() if each is not None)


def test_what_changed_is_rendered_anew() -> None:
    """Another mapping, other members, or an index in the place of an alias is another answer; what is gone is dropped
    when it is asked for.
    """
    before = snapshot({"all": ("a", "b"), "was": ("a",)}, a=entry(A), b=entry(B), c=entry(C))
    after = changed(
        before, {"a": entry(C), "was": entry(A)}, BODIES, removed=["b"], aliases={"all": ("a", "c")}, aliases_at=90.0
    )
    names = RenderedNames()
    for name in ("a", "b", "all", "was"):
        assert names.find(before, name) is not None
    assert [names.find(after, name) for name in ("a", "b", "all", "was")] == [
        render(after, "a"),
        None,
        render(after, "all"),
        render(after, "was"),
    ]
    assert names.kept_bytes == sum(len(found.body) for name in ("a", "all", "was") if (found := render(after, name)))


def test_what_was_rendered_elsewhere_replaces_an_older_one() -> None:
    """Of a name that is kept from an earlier snapshot, and was not looked at since, what is rendered now is kept."""
    before = snapshot(a=entry(A), b=entry(B))
    after = changed(before, {"a": entry(C)}, BODIES)
    names = RenderedNames()
    names.find(before, "a")
    names.find(after, "b")
    new = rendered_of(after, "a")
    names.keep(after, "a", new)
    assert names.find(after, "a") is new


def test_large_names_are_rendered_elsewhere() -> None:
    """A large name isn't rendered on the spot, but found once it was rendered elsewhere and is kept."""
    known = wide(LARGE_INDICES + 1)
    names = RenderedNames()
    assert names.find(known, "all") is None
    assert names.kept_bytes == 0
    assert names.find(known, "few") is not None
    rendered = render(known, "all")
    assert rendered is not None
    names.keep(known, "all", rendered)
    assert names.find(known, "all") is rendered


def rendered_of(known: Snapshot, name: str) -> Rendered:
    rendered = render(known, name)
    assert rendered is not None
    return rendered


def test_too_late_to_be_kept() -> None:
    """What was rendered elsewhere while the snapshot was replaced isn't kept, nor what was before anything was
    asked.
    """
    before = snapshot(a=entry(A))
    after = changed(before, {"a": entry(B)}, BODIES)
    names = RenderedNames()
    names.keep(before, "a", rendered_of(before, "a"))
    assert names.kept_bytes == 0
    now = names.find(after, "a")
    names.keep(before, "a", rendered_of(before, "a"))
    names.keep(before, "x", rendered_of(before, "a"))
    assert names.find(after, "a") is now
    assert len(names._kept) == 1


def test_kept_twice_counts_once() -> None:
    """Of two that rendered the same name at once, the first is kept, and its bytes count once."""
    known = snapshot(a=entry(A))
    names = RenderedNames()
    first = names.find(known, "a")
    assert first is not None
    names.keep(known, "a", rendered_of(known, "a"))
    assert names.find(known, "a") is first
    assert names.kept_bytes == len(first.body)


def test_used_longest_ago_goes_first() -> None:
    """When there are too many bytes, what wasn't asked for the longest goes; what is over the bound by itself stays as
    long as it is the last one.
    """
    known = snapshot({"all": ("a", "b", "c")}, a=entry(A), b=entry(A), c=entry(A))
    size = len(rendered_of(known, "a").body)
    names = RenderedNames(max_bytes=2 * size)
    assert RenderedNames()._max_bytes == MAX_KEPT_BYTES == 16 * 2**20
    first, second = names.find(known, "a"), names.find(known, "b")
    assert names.find(known, "a") is first
    names.find(known, "c")
    assert list(names._kept) == ["a", "c"]
    assert names.kept_bytes == 2 * size
    assert names.find(known, "a") is first
    assert names.find(known, "b") is not second
    whole = names.find(known, "all")
    assert list(names._kept) == ["all"]
    assert names.find(known, "all") is whole
    names.find(known, "a")
    assert (list(names._kept), names.kept_bytes) == (["a"], size)


@given(
    st.lists(SNAPSHOTS, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.sampled_from((*NAMES, "x", "y", "?"))), max_size=40),
    st.integers(1, 400),
)
def test_never_out_of_date_nor_over_the_bound(
    several: list[Snapshot], asked: list[tuple[int, bool, str]], max_bytes: int
) -> None:
    """Whatever is asked for or kept, in whatever order: what is found is what rendering now gives, and the bytes are
    counted and bounded.
    """
    names = RenderedNames(max_bytes)
    for number, elsewhere, name in asked:
        known = several[number % len(several)]
        expected = render(known, name)
        if elsewhere and expected is not None:
            names.keep(known, name, expected)
        else:
            assert names.find(known, name) == expected
        assert names.kept_bytes == sum(len(kept.rendered.body) for kept in names._kept.values())
        assert names.kept_bytes <= max_bytes or len(names._kept) == 1


def test_large_names_cost_the_loop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for a large name doesn't render it, and asking for a kept one doesn't again."""
    known = wide(LARGE_INDICES + 1)
    names = RenderedNames()
    few = names.find(known, "few")
    monkeypatch.setattr(module, "render", None)
    assert names.find(known, "all") is None
    assert names.find(known, "few") is few


def test_outlines() -> None:
    """All but the bytes is what rendering gives; what is kept is counted by the number of indices, and more of these
    are found on the spot.
    """
    known = wide(LARGE_OUTLINE_INDICES)
    names = RenderedNames(outlines=True)
    found, rendered = names.find(known, "all"), rendered_of(known, "all")
    assert found is not None
    assert found == replace(rendered, body=b"")
    assert names.kept_bytes == OUTLINE_BYTES + MEMBER_BYTES * LARGE_OUTLINE_INDICES
    assert names.find(replace(known, confirmed_at=500.0), "all") == replace(found, confirmed_at=500.0)
    larger = wide(LARGE_OUTLINE_INDICES + 1)
    assert names.is_large(larger, "all")
    assert names.find(larger, "all") is None
    assert names.render(larger, "all") == replace(rendered_of(larger, "all"), body=b"")
