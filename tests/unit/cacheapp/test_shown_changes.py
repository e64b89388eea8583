"""Changes as callers see them, and whose history a page of them is."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from cacheapp.shown_changes import ChangesPage, ShownChange, as_answer, as_seen
from cacheapp.state.changes import index_changes
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from cacheapp.state.visible import Visible
from tests.support.changes import change

PAGE = ChangesPage([], 0, None, 0, "own")


@pytest.mark.parametrize(
    ("others", "shared"),
    [
        ([], True),
        ([{"name": "own"}, {"name": "own"}], True),
        ([{"name": None}, {}], True),
        ([{"name": "own"}, {"name": "another"}], False),
        (None, None),
    ],
)
def test_whose_history_it_is(others: list[dict[str, Any]] | None, shared: bool | None) -> None:
    """All instances', unless another tells of another one; not known while the store doesn't say what they tell."""
    answer = as_answer(PAGE, others)
    assert (answer.shared, answer.history, answer.oldest_id) == (shared, "own", None)


def created(index: str, indices: Sequence[str], aliases: Mapping[str, tuple[str, ...]], scope: Visible) -> ShownChange:
    """What a caller is told of a new index of a cluster."""
    entries = {name: IndexEntry("u", f"hash of {name}", 1.0, Source.ELASTICSEARCH) for name in indices}
    state = Snapshot(indices=entries, aliases=aliases, listed=frozenset(entries), listed_at=1.0)
    [found] = index_changes({}, None, state, [index])
    compared = {"compared": found.compared_with is not None, "compared_with": found.compared_with}
    added = {"added": ["a"], "added_total": 1} if found.compared_with else {}
    told = change(1, index, "created", family=found.recorded.family, **compared, **added)
    return as_seen(told, found.recorded.names, scope)


FOREIGN_NAMES = ("logs-2", "logs-1.5", "logs.1", "logs_2", "logs2026", "payroll-2025.12", "payroll-2026.015", "vault")


@pytest.mark.parametrize("index", ["logs-3", "payroll-2026.02"])
@pytest.mark.parametrize(
    "patterns",
    [
        ("payroll-2026.02", "logs-3"),
        ("payroll-2026.0*", "logs-1", "logs-3"),
        ("payroll-2026.01", "payroll-2026.02", "logs-*"),
        ("payroll*", "logs*"),
        ("all", "logs-3", "payroll-*"),
        ("all", "every", "logs-*"),
    ],
)
@pytest.mark.parametrize("foreign", [*FOREIGN_NAMES, FOREIGN_NAMES])
def test_what_is_not_seen_changes_nothing(
    index: str, patterns: tuple[str, ...], foreign: str | tuple[str, ...]
) -> None:
    """A caller with a scope is told the same of a new index whether or not there are others, or aliases, that it may
    not see: also of its family, and of what it is compared with.
    """
    scope = Visible(patterns)
    own = ["logs-1", "logs-3", "payroll-2026.01", "payroll-2026.02"]
    indices = [name for name in own if scope.covers(name)]
    both = {"all": ("logs-3", "payroll-2026.02"), "every": tuple(own)}
    aliases = {name: members for name, members in both.items() if scope.covers(name)}
    alone = created(index, sorted({*indices, index}), aliases, scope)
    others = [name for name in ((foreign,) if isinstance(foreign, str) else foreign) if not scope.covers(name)]
    for foreign_aliases in ({}, {"a-first": tuple(own)}, {"zzz": (index, *others)}, {"zzz": tuple(own + others)}):
        whole = created(index, sorted({*own, *others}), {**both, **foreign_aliases}, scope)
        assert msgspec.json.encode(whole) == msgspec.json.encode(alone)


def test_what_a_scope_leaves() -> None:
    """Family and comparison are told where they follow from what is visible; to who sees everything, always."""
    indices, aliases = ["logs-1", "logs-2", "orders-blue", "orders-green"], {"orders": ("orders-blue", "orders-green")}
    for index, patterns, family, compared_with in (
        ("logs-2", ("logs-*",), "logs*", "logs-1"),
        ("logs-2", ("*s-*",), "logs*", "logs-1"),
        ("logs-2", ("logs-1", "logs-2"), "logs*", None),
        ("orders-green", ("*",), "orders", "orders-blue"),
        ("orders-green", ("orders",), "orders", None),
        ("orders-green", ("orders-*",), "orders-green", None),
    ):
        told = created(index, indices, aliases, Visible(patterns))
        assert (told.family, told.compared_with) == (family, compared_with), patterns
        assert (told.compared, told.added_total) == (compared_with is not None, int(compared_with is not None))
    assert as_seen(change(1, None, "gap"), (), Visible(("a",))) == change(1, None, "gap")
    assert as_seen(change(1, "a"), (), Visible(("a",))).family is None  # version 1.0 recorded none
