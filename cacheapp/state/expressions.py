"""Expressions of names: lists and patterns, such as `logs-*,metrics-*,-logs-old-*`, and what they stand for. Pure.

They mean what they mean to Elasticsearch where it searches and gives mappings (read from `IndexNameExpressionResolver`
of 8.19, and tried on nodes of 8.19):

1. `a,b` is a list of names, read from left to right; a name that is given twice counts once.
2. `*` stands for any characters; `*` alone, and `_all` alone, for everything. A pattern gives the names of indices,
   aliases and data streams that match, and may match nothing.
3. Hidden names are given by a pattern that begins with a dot, as theirs do, or by their exact name: those that begin
   with a dot (the backing indices `.ds-…` of a data stream among them), and indices that are hidden by their settings.
4. A pattern gives no closed index, neither by its own name nor as one of an alias or data stream. An exact name does.
5. `-x` takes away, of what stands before it: an exact `-x` the name `x`; a pattern the names that match it, and the
   indices that these stand for. It has to come after a pattern: `-x` at the beginning, or after exact names alone, is
   illegal. (Elasticsearch says 404 to that, and takes `-x*` there for a pattern of names that begin with a minus.)
6. An index that is taken away is gone from the aliases and data streams that a pattern gave too. Those that were given
   by their exact names keep all of theirs.
7. An exact name that isn't there is an error that names it, wherever it stands.
8. Empty names, `.`, `..`, date math and indices of remote clusters are as illegal in a list as alone.

Two things are meant otherwise, as Elasticsearch itself is of two minds: an alias or data stream that is taken away by
name is gone, unless something else gives its indices (to `_resolve/index` it is gone, while `_mapping` and `_search`
ignore that); and an alias with a dot is hidden even if it isn't so by `is_hidden`, which no listing tells.
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
"""Each is held against all names there are."""
LARGE_LOOKS = 4_000
"""So many names held against a pattern take a millisecond or two."""
EVERYTHING = "*"
ALL = "_all"


@dataclass(frozen=True, slots=True)
class Expression:
    """A list or a pattern, and what exists for who asks: together they decide what it stands for."""

    text: str
    visible: Visible

    def __str__(self) -> str:
        return self.text


Asked = str | Expression
"""What mappings are asked for by: one name of an index, alias or data stream, or an expression."""


def asked(text: str, visible: Visible) -> Asked:
    """What stands for a name in an address, asked for by who may see these names.

    Raises `IllegalName` or `MappingNotFound` of a single name that isn't visible. An expression isn't looked into yet.
    """
    if "," in text or "*" in text or text == ALL:
        return Expression(text, visible)
    visible.check(text)
    return text


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an expression. `text` is without the minus of what `is_excluded`; `matches` is the test of what
    `is_pattern`, which follows from it.
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
        names: Of indices, aliases and data streams as the caller sees them, in alphabetical order.
        exact: Those of them that were given by their exact names.
        indices: All that the names stand for, in alphabetical order, as far as they are known.
        missing: Exact names that aren't known, or that the caller may not see.
        closed: Indices that match a pattern, and are left out because they are closed.
        partial: Aliases and data streams among the names of which some indices were taken away, while others are given
            by nothing else: no list of names stands for that.
        has_patterns: Whether anything was asked for by a pattern.
    """

    names: tuple[str, ...]
    exact: frozenset[str]
    indices: tuple[str, ...]
    missing: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()

    has_patterns: bool = False


def is_long_work(snapshot: Snapshot, expression: Expression) -> bool:
    """Whether to resolve an expression belongs into a thread."""
    names_total = len(snapshot.indices) + len(snapshot.aliases)
    return names_total * max(1, expression.text.count("*")) > LARGE_LOOKS


def names_of(asked: Asked, resolved: Resolved | None) -> tuple[str, ...]:
    """The names that mappings were asked for by: one name, or all that an expression stands for."""
    return (str(asked),) if resolved is None else resolved.names


def parse(expression: str) -> tuple[Part, ...]:
    """The parts of an expression. Raises `IllegalName` that says what to send instead."""
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
    # Whatever a star may stand for is legal in a name. Upper case is for aliases, which have to be known to be told.
    check_name(name.replace("*", "x"), upper_case=True)
    return Part(name, matcher(name), is_excluded)


def resolve(snapshot: Snapshot, expression: Expression) -> Resolved:
    """What an expression stands for. Raises `IllegalName`.

    It takes a look at every name for each pattern: 20 000 names take some milliseconds.
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
    """A snapshot to resolve expressions in that are about what was recorded: with indices that may be gone, and without
    a difference between open and closed.
    """
    gone = dict.fromkeys(recorded, IndexEntry(None, "", -math.inf, Source.STORE))
    return replace(snapshot, indices={**gone, **snapshot.indices}, closed=frozenset())


@dataclass(slots=True)
class _Resolution:
    """An expression while it is read. `given` are the open indices that patterns gave, and that are still there."""

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
        """The visible names that match, closed ones too."""
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
                self.closed.discard(name)  # it may have been given by its exact name, which patterns of open ones leave
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
            # Else its indices are given by themselves, and it adds nothing.
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
