"""What changed from one mapping to the next, and from one snapshot to the next. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cacheapp.mapping.tree import MAX_DEPTH, Definition, bodies, definitions, type_of

NAMED = 100
"""Of each kind of difference in one mapping; the totals are given beside."""
CHILDREN = frozenset({"properties", "fields", "runtime"})


@dataclass(frozen=True, slots=True)
class Retyped:
    """A field that has another type than before."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class FieldChanges:
    """Fields that came, went, got another type, or only other parameters; the first by name of each, and all counted."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    retyped: tuple[Retyped, ...] = ()
    altered: tuple[str, ...] = ()
    added_total: int = 0
    removed_total: int = 0
    retyped_total: int = 0
    altered_total: int = 0


def field_changes(before: bytes, after: bytes) -> FieldChanges:
    """The fields that differ between two mappings, multi-fields and runtime fields included."""
    old, new = _flat(before), _flat(after)
    added = sorted(new.keys() - old.keys())
    removed = sorted(old.keys() - new.keys())
    both = sorted(old.keys() & new.keys())
    retyped = [Retyped(name, old[name][0], new[name][0]) for name in both if old[name][0] != new[name][0]]
    altered = [name for name in both if old[name][0] == new[name][0] and old[name] != new[name]]
    return FieldChanges(
        tuple(added[:NAMED]),
        tuple(removed[:NAMED]),
        tuple(retyped[:NAMED]),
        tuple(altered[:NAMED]),
        len(added),
        len(removed),
        len(retyped),
        len(altered),
    )


def _flat(body: bytes) -> dict[str, tuple[str, Mapping[str, Any]]]:
    [parsed] = bodies({"": body})
    return dict(_below(parsed.mapping, "", 0))


def _below(definition: Definition, path: str, depth: int) -> Iterator[tuple[str, tuple[str, Mapping[str, Any]]]]:
    for within in sorted(CHILDREN):
        for name, below in definitions(definition, within).items():
            own = {parameter: value for parameter, value in below.items() if parameter not in CHILDREN}
            yield path + name, (type_of(below), own)
            if depth < MAX_DEPTH:
                yield from _below(below, f"{path}{name}.", depth + 1)
