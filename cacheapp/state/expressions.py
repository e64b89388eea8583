"""Expressions of names: lists and patterns, such as `logs-*,metrics-*,-logs-old-*`, and what they stand for. Pure.

They have the same meaning as in Elasticsearch's search and mapping APIs. Source: `IndexNameExpressionResolver` of 8.19,
and tests on nodes of 8.19.

1. `a,b` is a list of names, read from left to right; a name that is given twice counts once.
2. `*` stands for any characters; `*` alone, and `_all` alone, for everything. A pattern gives the names of indices,
   aliases and data streams that match, and may match nothing.
3. Hidden names are names that begin with a dot (among them the backing indices `.ds-…` of a data stream), and indices
   that are hidden by their settings. A name with a dot is given by its exact name or by a pattern that begins with a
   dot too; an index that is hidden by its settings, by its exact name.
4. A pattern gives no closed index, neither by its own name nor as a member of an alias or data stream. An exact name
   does.
5. `-x` takes away names that were given before it. If `x` is exact, it takes away the name `x`. If `x` is a pattern, it
   takes away the names that match and the indices that these stand for. It has to come after a pattern: at the
   beginning, or after exact names alone, `-x` is illegal. (Elasticsearch answers 404 there, and reads `-x*` as a
   pattern of names that begin with a minus.)
6. An index that is taken away is also taken out of the aliases and data streams that a pattern gave. Aliases and data
   streams that were given by their exact names keep all of their indices.
7. An exact name that doesn't exist is an error that names it, wherever it stands.
8. Empty names, `.`, `..`, date math and indices of remote clusters are illegal in a list as well as alone.

In two cases Elasticsearch's APIs disagree with one another, or tell too little, and one meaning was chosen here. An
alias or data stream that is taken away by its exact name is gone, unless something else gives its indices.
(`_resolve/index` does the same; `_mapping` and `_search` ignore it.) And an alias whose name begins with a dot counts
as hidden even if its `is_hidden` isn't set, because no listing tells that.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from cacheapp.errors import IllegalName
from cacheapp.state.names import check_name, matcher
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from cacheapp.state.visible import Visible

MAX_EXPRESSION_BYTES = 8_000
MAX_PATTERNS = 50
"""How many patterns an expression may have: each is compared with all names."""
LARGE_LOOKS = 4_000
"""This many comparisons of a name with a pattern take a millisecond or two."""
EVERYTHING = "*"
ALL = "_all"


@dataclass(frozen=True, slots=True)
class Expression:
    """A list or a pattern, together with the names that are visible for the caller: both decide what it stands for."""

    text: str
    visible: Visible

    def __str__(self) -> str:
        return self.text


Asked = str | Expression
"""What a caller asks for the mappings of: one name of an index, alias or data stream, or an expression."""


def asked(text: str, visible: Visible) -> Asked:
    """Read the name or expression in an address, for a caller who may see the names `visible`.

    Raises `IllegalName` or `MappingNotFound` for a single name that isn't visible. An expression isn't checked yet.
    """
    if "," in text or "*" in text or text == ALL:
        return Expression(text, visible)
    visible.check(text)
    return text


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an expression.

    Args:
        text: The name or pattern, without the minus of an excluded part.
        matches: The test whether a name matches the text.
        is_excluded: Whether a minus stands before it.
    """

    text: str
    matches: Callable[[str], bool] = field(compare=False)
    is_excluded: bool = False

    @property
    def is_pattern(self) -> bool:
        return "*" in self.text


@dataclass(frozen=True, slots=True)
class Resolved:
    """What an expression stands for.

    Args:
        names: The names of indices, aliases and data streams that the caller gets, in alphabetical order.
        exact: Those of `names` that were given by their exact names.
        indices: All known indices that the names stand for, in alphabetical order.
        missing: Exact names that aren't known, or that the caller may not see.
        closed: Indices that match a pattern, but are left out because they are closed.
        partial: Aliases and data streams among `names` that lost some of their indices to a `-x`, while their other
            indices are given by nothing else. No list of names has the same meaning.
        has_patterns: Whether any part is a pattern.
    """

    names: tuple[str, ...]
    exact: frozenset[str]
    indices: tuple[str, ...]
    missing: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()

    has_patterns: bool = False


def is_long_work(snapshot: Snapshot, expression: Expression) -> bool:
    """Return whether an expression should be resolved in a thread, because it takes long."""
    names_total = len(snapshot.indices) + len(snapshot.aliases)
    return names_total * max(1, expression.text.count("*")) > LARGE_LOOKS


def names_of(asked: Asked, resolved: Resolved | None) -> tuple[str, ...]:
    """Return the name that was asked for, or all names that an expression stands for."""
    return (str(asked),) if resolved is None else resolved.names


def parse(expression: str) -> tuple[Part, ...]:
    """Parse an expression. Raises an `IllegalName` that says what to send instead."""
    if len(expression.encode(errors="replace")) > MAX_EXPRESSION_BYTES:
        raise IllegalName(
            f"A list of names has at most {MAX_EXPRESSION_BYTES} bytes: use patterns, such as logs-*, or ask for some "
            "of the names at a time."
        )
    if expression == ALL:
        return (Part("*", matcher("*")),)
    parts: list[Part] = []
    has_pattern = False
    for text in expression.split(","):
        part = _part(text)
        if part.is_excluded and not has_pattern:
            raise IllegalName(
                f"{text[:100]!r} takes nothing away: what is to be left out comes after a pattern, as in "
                f"logs-*,{text[:100]}."
            )
        has_pattern = has_pattern or part.is_pattern
        parts.append(part)
    if sum(part.is_pattern for part in parts) > MAX_PATTERNS:
        raise IllegalName(f"A list of names has at most {MAX_PATTERNS} patterns: use wider ones, or fewer at a time.")
    return tuple(parts)


def _part(text: str) -> Part:
    is_excluded = text.startswith("-") and len(text) > 1
    name = text[1:] if is_excluded else text
    if not name:
        raise IllegalName("A list of names has an empty one: send the names with one comma between two of them.")
    if name == ALL:
        raise IllegalName("Use _all alone, and * in a list.")
    # A legal character takes the place of each star, so that the rest of the pattern is checked. Upper case is allowed
    # because of aliases; which names are aliases isn't known here.
    check_name(name.replace("*", "x"), upper_case=True)
    return Part(name, matcher(name), is_excluded)


def resolve(snapshot: Snapshot, expression: Expression) -> Resolved:
    """Return what an expression stands for. Raises `IllegalName` if it isn't legal.

    Each pattern is compared with all names: for 20 000 names that takes some milliseconds.
    """
    resolution = _Resolution(snapshot, expression.visible)
    for part in parse(expression.text):
        if part.is_pattern:
            found = resolution.matching(part.matches, shows_hidden=part.text.startswith("."))
            if part.is_excluded:
                resolution.exclude_matching(found)
            else:
                resolution.include_matching(found)
        elif part.is_excluded:
            resolution.exclude(part.text)
        else:
            resolution.include(part.text)
    return resolution.resolved()


def with_recorded(snapshot: Snapshot, recorded: Iterable[str]) -> Snapshot:
    """Return a snapshot for resolving expressions about recorded changes. It also has the indices `recorded`, which may
    be gone, and no index counts as closed.
    """
    gone = dict.fromkeys(recorded, IndexEntry(None, "", -math.inf, Source.STORE))
    return replace(snapshot, indices={**gone, **snapshot.indices}, closed=frozenset())


@dataclass(slots=True)
class _Resolution:
    """The state while an expression is read. `given`: the open indices that patterns gave and that weren't taken
    away.
    """

    snapshot: Snapshot
    visible: Visible
    exact: dict[str, None] = field(default_factory=dict)
    missing: dict[str, None] = field(default_factory=dict)
    matched: set[str] = field(default_factory=set)
    given: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    has_patterns: bool = False
    unread: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.unread = self.snapshot.unread

    def matching(self, does_match: Callable[[str], bool], *, shows_hidden: bool) -> list[str]:
        """Return the visible names that match, including closed indices."""
        snapshot, visible, hidden = self.snapshot, self.visible, self.snapshot.hidden
        sees = (lambda _: True) if visible.everything else visible.covers
        return [
            name
            for names in (snapshot.indices, self.unread, snapshot.aliases)
            for name in names
            if does_match(name) and (shows_hidden if name.startswith(".") else name not in hidden) and sees(name)
        ]

    def include_matching(self, names: Iterable[str]) -> None:
        closed = self.snapshot.closed
        self.has_patterns = True
        for name in names:
            if name in closed:
                self.closed.add(name)
                continue
            self.matched.add(name)
            self.given.update(index for index in self._stands_for(name) if index not in closed)

    def exclude_matching(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self.snapshot.closed:
                self.closed.discard(name)  # stays in `exact`: patterns don't take away closed ones
                continue
            self.exclude(name)
            self.given.difference_update(self._stands_for(name))

    def include(self, name: str) -> None:
        is_known = self.visible.covers(name) and self._is_known(name)
        (self.exact if is_known else self.missing)[name] = None

    def exclude(self, name: str) -> None:
        for names in (self.matched, self.given, self.closed):
            names.discard(name)
        for given in (self.exact, self.missing):
            given.pop(name, None)

    def resolved(self) -> Resolved:
        names, partial_names = set(self.exact), set[str]()
        indices = {index for name in self.exact for index in self._stands_for(name)}
        itself = self.given & self.matched
        for name in self.matched - self.exact.keys():
            members = [index for index in self._stands_for(name) if index not in self.snapshot.closed]
            left = [index for index in members if index in self.given]
            indices.update(left)
            if len(left) == len(members):
                names.add(name)
            elif not itself.issuperset(left):
                partial_names.add(name)
            # Otherwise all of its remaining indices are given by themselves, so the alias adds nothing.
        return Resolved(
            tuple(sorted(names | partial_names)),
            frozenset(self.exact),
            tuple(sorted(index for index in indices if index in self.snapshot.indices)),
            tuple(self.missing),
            tuple(sorted(self.closed - self.exact.keys())),
            tuple(sorted(partial_names)),
            self.has_patterns,
        )

    def _is_known(self, name: str) -> bool:
        return self.snapshot.knows(name) or name in self.unread

    def _stands_for(self, name: str) -> tuple[str, ...]:
        return self.snapshot.aliases.get(name, (name,))
