"""Expressions of names: what a list with patterns stands for, in the cases of Elasticsearch's and in general."""

import re
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cacheapp.errors import IllegalName, MappingNotFound
from cacheapp.state.expressions import (
    MAX_EXPRESSION_BYTES,
    MAX_PATTERNS,
    Expression,
    Resolved,
    asked,
    parse,
    with_recorded,
)
from cacheapp.state.expressions import resolve as resolve_expression
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from cacheapp.state.visible import ALL_VISIBLE, Visible

INDICES = (
    *("logs-1", "logs-2", "logs-old-1", "logs-closed", "metrics-1", "plain"),
    *(".dot", ".ds-ev-1", ".ds-ev-2", "secret"),
)
ALIASES = {
    "logs-all": ("logs-1", "logs-2", "logs-old-1"),
    "logs-plain": ("plain",),
    "logs-mixed": ("logs-2", "logs-closed"),
    "ev-web": (".ds-ev-1", ".ds-ev-2"),
    "UPPER": ("plain",),
    ".dot-alias": ("plain",),
}


def snapshot(indices: tuple[str, ...] = INDICES, aliases: dict[str, tuple[str, ...]] | None = None) -> Snapshot:
    entries = {name: IndexEntry(None, "a" * 32, 0.0, Source.ELASTICSEARCH) for name in indices}
    return Snapshot(
        indices=entries,
        aliases=ALIASES if aliases is None else aliases,
        listed=frozenset({*indices, "logs-unread"}) if aliases is None else frozenset(indices),
        closed=frozenset({"logs-closed"}),
        hidden=frozenset({"secret"}),
    )


def resolve(known: Snapshot, expression: str, visible: Visible = ALL_VISIBLE) -> Resolved:
    return resolve_expression(known, Expression(expression, visible))


def indices_of(expression: str, visible: Visible = ALL_VISIBLE) -> list[str]:
    return list(resolve(snapshot(), expression, visible).indices)


def names_of(expression: str, visible: Visible = ALL_VISIBLE) -> list[str]:
    return list(resolve(snapshot(), expression, visible).names)


@pytest.mark.parametrize("everything", ["*", "_all", "**"])
def test_everything_is_what_is_neither_hidden_nor_closed(everything: str) -> None:
    """`*` gives indices, aliases and data streams; a data stream's backing indices by way of it alone."""
    assert names_of(everything) == [
        *("UPPER", "ev-web", "logs-1", "logs-2", "logs-all", "logs-mixed", "logs-old-1", "logs-plain", "logs-unread"),
        *("metrics-1", "plain"),
    ]
    assert indices_of(everything) == [*(".ds-ev-1", ".ds-ev-2", "logs-1", "logs-2", "logs-old-1", "metrics-1", "plain")]


@pytest.mark.parametrize(
    ("expression", "indices"),
    [
        ("logs-1,plain", ["logs-1", "plain"]),
        ("logs-1,logs-1", ["logs-1"]),
        ("logs-*", ["logs-1", "logs-2", "logs-old-1", "plain"]),
        ("logs-*,-logs-old-*", ["logs-1", "logs-2", "plain"]),
        ("l*s-*1", ["logs-1", "logs-old-1"]),
        ("logs-*,-logs-*", []),
        ("logs-*,-logs-*,logs-1", ["logs-1"]),
        ("logs-1,logs-*,-logs-1", ["logs-2", "logs-old-1", "plain"]),
        ("logs-1,nope-*,-logs-1", []),
        ("logs-all,nope-*,-logs-1", ["logs-1", "logs-2", "logs-old-1"]),
        ("logs-pl*,-plain", []),
        ("log*,-logs-a*", ["plain"]),
        ("log*,-logs-all", ["logs-1", "logs-2", "logs-old-1", "plain"]),
        ("e*,-.ds-ev*", []),
        ("logs-closed", ["logs-closed"]),
        ("logs-cl*", []),
        ("logs-m*", ["logs-2"]),
        ("logs-mixed,nope-*", ["logs-2", "logs-closed"]),
        ("logs-closed,l*,-logs-c*", ["logs-1", "logs-2", "logs-closed", "logs-old-1", "plain"]),
        ("secret", ["secret"]),
        ("sec*", []),
        (".*", [".dot", ".ds-ev-1", ".ds-ev-2", "plain"]),
        (".ds-*", [".ds-ev-1", ".ds-ev-2"]),
        ("UP*", ["plain"]),
        ("up*", []),
        ("nope-*", []),
        ("*,-*", []),
        ("*,-nope,-metrics*,-logs*", [".ds-ev-1", ".ds-ev-2"]),
    ],
)
def test_the_indices_are_those_that_a_node_gives(expression: str, indices: list[str]) -> None:
    """Each case was tried on a real node, by `_mapping`."""
    assert indices_of(expression) == indices


def test_a_name_that_is_taken_away_by_name_is_gone() -> None:
    """An alias or data stream too, unless something else gives its indices."""
    assert names_of("e*,-ev-web") == indices_of("e*,-ev-web") == []
    assert "logs-all" not in names_of("logs-*,-logs-all")
    assert names_of("logs-all,nope-*,-logs-*") == []


def test_what_is_missing_is_named() -> None:
    """Exact names alone: a pattern may match nothing."""
    resolved = resolve(snapshot(), "nope,logs-1,none-*,Upper")
    assert resolved.missing == ("nope", "Upper")
    assert resolved.names == ("logs-1",)
    assert resolve(snapshot(), "nope,logs-*,-nope").missing == ()


def test_what_is_closed_is_told() -> None:
    """So that who gets nothing, or less than expected, learns why."""
    assert resolve(snapshot(), "logs-*").closed == ("logs-closed",)
    assert resolve(snapshot(), "logs-closed,logs-*").closed == ()
    assert resolve(snapshot(), "logs-*,-logs-c*").closed == ()


def test_an_alias_that_lost_some_of_its_indices_is_partial() -> None:
    """Unless the others are given by themselves: then the alias adds nothing, and is left out."""
    by_themselves = resolve(snapshot(), "logs-*,-logs-old-*")
    assert by_themselves.names == ("logs-1", "logs-2", "logs-mixed", "logs-plain", "logs-unread")
    assert by_themselves.partial == ()
    assert resolve(snapshot(), "logs-a*,-logs-1").partial == ("logs-all",)
    assert resolve(snapshot(), "logs-all,logs-*,-logs-1").partial == ()


def test_nothing_invisible_is_given_or_told() -> None:
    """An alias that is visible stands for all of its indices, visible or not."""
    visible = Visible(("ev-*", "logs-a*"))
    assert names_of("*", visible) == ["ev-web", "logs-all"]
    assert indices_of("*", visible) == [".ds-ev-1", ".ds-ev-2", "logs-1", "logs-2", "logs-old-1"]
    assert resolve(snapshot(), "logs-1,ev-web", visible).missing == ("logs-1",)
    assert resolve(snapshot(), "logs-cl*", visible).closed == ()


@pytest.mark.parametrize(
    "illegal",
    [
        *("a,", ",a", "a,,b", "-a", "-a,b*", "a,-a", "a,-b*", "*,-", "a,.", "a,..", "..,a*", "a,<logs-{now/d}>"),
        *("<logs-*>", "a,cluster:index", "*:*", "cluster*:index*", "_foo*", "_foo,a", "*,_all", "_all,a*", "a, b"),
        *("a/b,c", "+a*", "a?*", "*,--*"),
    ],
)
def test_illegal_parts_are_refused(illegal: str) -> None:
    """Whatever is illegal alone is illegal in a list; and the words say what to send."""
    with pytest.raises(IllegalName):
        parse(illegal)


def test_too_much_is_refused() -> None:
    """Bounded in bytes and in patterns, each said with its remedy."""
    with pytest.raises(IllegalName, match="patterns"):
        parse(",".join(["a*"] * (MAX_PATTERNS + 1)))
    with pytest.raises(IllegalName, match=str(MAX_EXPRESSION_BYTES)):
        parse(",".join(["abcd"] * (MAX_EXPRESSION_BYTES // 5 + 1)))


def test_what_is_asked_for() -> None:
    """A name, or a list or pattern for who may see some names; a name that he may not see isn't there."""
    visible = Visible(("a*",))
    assert [asked(text, visible) for text in ("a", "a,b", "b*", "_all")] == [
        *("a", Expression("a,b", visible), Expression("b*", visible), Expression("_all", visible)),
    ]
    with pytest.raises(MappingNotFound):
        asked("b", visible)
    with pytest.raises(IllegalName):
        asked("-b", visible)


def test_what_was_recorded_may_be_gone_or_closed() -> None:
    """For the history an index that was deleted is matched as if it were there, and closed ones are as others."""
    known = with_recorded(snapshot(), ["logs-0", ".gone", "logs-1"])
    assert resolve(known, "logs-*,-*all").indices == ("logs-0", "logs-closed", "plain")
    assert resolve(known, "logs-0,logs-2").indices == ("logs-0", "logs-2")
    assert ".gone" not in resolve(known, "*").indices


def test_the_age_of_all_is_that_of_the_oldest() -> None:
    """What a pattern gives was listed; a newer confirmation of everything renews all."""
    entries = {name: IndexEntry(None, "a" * 32, at, Source.ELASTICSEARCH) for name, at in (("a", 5.0), ("b", 9.0))}
    known = Snapshot(indices=entries, listed_at=7.0, listed=frozenset({"unread"}))

    def confirmed(known: Snapshot, text: str) -> float:
        resolved = resolve(known, text)
        return known.confirmed_of_all(resolved.names, by_listing=resolved.has_patterns)

    moments = {text: confirmed(known, text) for text in ("a,b", "b,c*", "b,none", "unr*", "a*")}
    assert moments == {"a,b": 5.0, "b,c*": 7.0, "b,none": 9.0, "unr*": 7.0, "a*": 5.0}
    later = replace(known, confirmed_at=8.0)
    assert confirmed(later, "a,b") == 8.0


NAMES = ["a", "ab", "abc", "b", "ba", "bab", "c", ".a", ".ab", ".ba"]
PATTERNS = ["*", "a*", "*a", "ab*", "*b*", "b*a", ".*", ".a*", "c*"]
PARTS = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(PATTERNS),
    st.sampled_from(["-" + text for text in (*NAMES, *PATTERNS) if text != "*"]),
)


@st.composite
def clusters(draw: st.DrawFn) -> Snapshot:
    indices = draw(st.sets(st.sampled_from(NAMES[:5] + NAMES[7:]), min_size=1))
    streams = draw(st.sets(st.sampled_from([name for name in NAMES if name not in indices])))
    members = st.sets(st.sampled_from(sorted(indices)), min_size=1)
    aliases = {name: tuple(sorted(draw(members))) for name in sorted(streams)}
    closed, hidden = draw(st.sets(st.sampled_from(sorted(indices)))), draw(st.sets(st.sampled_from(sorted(indices))))
    entries = {name: IndexEntry(None, "a" * 32, 0.0, Source.ELASTICSEARCH) for name in indices}
    return Snapshot(
        indices=entries,
        aliases=aliases,
        closed=frozenset(closed),
        hidden=frozenset(name for name in hidden if not name.startswith(".")),
    )


def reference(known: Snapshot, expression: str) -> tuple[set[str], set[str]]:
    """The indices that a node gives, and those that only aliases give that were taken away by their exact names."""
    strings: set[str] = set()
    concrete: set[str] = set()
    taken: set[str] = set()
    there = {**{name: (name,) for name in known.indices}, **known.aliases}
    for text in expression.split(","):
        name = text.removeprefix("-")
        if "*" not in name:
            (strings.discard if text.startswith("-") else strings.add)(name)
            if text.startswith("-"):
                concrete.discard(name)
                if name in known.aliases:
                    taken.add(name)
            continue
        found = {
            index
            for one, indices in there.items()
            if fnmatchcase(one, name) and (name.startswith(".") if one.startswith(".") else one not in known.hidden)
            for index in indices
            if index not in known.closed
        }
        if text.startswith("-"):
            concrete -= found
            strings -= found
            taken.update(alias for alias in known.aliases if fnmatchcase(alias, name))
        else:
            concrete |= found
    given = {index for name in strings for index in there.get(name, ())}
    return concrete | given, {index for alias in taken for index in known.aliases[alias]}


@given(clusters(), st.lists(PARTS, min_size=1, max_size=5))
def test_it_stands_for_what_a_plain_reading_gives(known: Snapshot, parts: list[str]) -> None:
    """Elasticsearch's way, on sets of indices, gives the same; but for aliases that were taken away."""
    expression = ",".join(parts)
    try:
        parse(expression)
    except IllegalName:
        assume(False)
    resolved = resolve(known, expression)
    given, of_taken = reference(known, expression)
    assert set(resolved.indices) <= given
    assert given - set(resolved.indices) <= of_taken
    if not resolved.partial:
        there = {**{name: (name,) for name in known.indices}, **known.aliases}
        sent = {index for name in resolved.names for index in there[name]}
        assert sent - known.closed == set(resolved.indices) - known.closed


@given(clusters(), st.lists(PARTS, min_size=1, max_size=5), st.lists(st.sampled_from(PATTERNS), max_size=2))
def test_a_scope_only_takes_away(known: Snapshot, parts: list[str], patterns: list[str]) -> None:
    """Every name that is given is visible, and of what isn't, nothing can be told apart from what isn't there."""
    expression, visible = ",".join(parts), Visible(tuple(patterns))
    try:
        resolved = resolve(known, expression, visible)
    except IllegalName:
        assume(False)
    assert all(visible.covers(name) for name in (*resolved.names, *resolved.closed))
    assert {name for name in resolved.missing if re.fullmatch(r"[.a-c]+", name)} == set(resolved.missing)
    without = Snapshot(
        indices=known.indices,
        aliases={name: members for name, members in known.aliases.items() if visible.covers(name)},
        closed=known.closed,
        hidden=known.hidden,
    )
    assert resolve(without, expression, visible) == resolved
