"""Compare two versions of a mapping. Pure."""

from dataclasses import dataclass

from cacheapp.mapping.tree import OBJECT_TYPES, Definition, FieldNode, nodes, parse

MAX_NAMED_FIELDS = 100
"""How many fields are named for each kind of difference at most. The total number is given in a member of its own."""


@dataclass(frozen=True, slots=True)
class Retyped:
    """A field that has another type than before."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class FieldChanges:
    """The fields that were added, were removed, got another type, or kept their type and got other parameters.

    Each list has the first `MAX_NAMED_FIELDS` fields by name; the totals count all of them.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    retyped: tuple[Retyped, ...] = ()
    altered: tuple[str, ...] = ()
    added_total: int = 0
    removed_total: int = 0
    retyped_total: int = 0
    altered_total: int = 0


def field_changes(before: bytes, after: bytes) -> FieldChanges:
    """Compare the fields of two mappings (JSON), multi-fields and runtime fields included."""
    old, new = _fields(before), _fields(after)
    added = sorted(new.keys() - old.keys())
    removed = sorted(old.keys() - new.keys())
    both = sorted(old.keys() & new.keys())
    retyped = [Retyped(name, old[name][0], new[name][0]) for name in both if old[name][0] != new[name][0]]
    altered = [name for name in both if old[name][0] == new[name][0] and old[name] != new[name]]
    return FieldChanges(
        tuple(added[:MAX_NAMED_FIELDS]),
        tuple(removed[:MAX_NAMED_FIELDS]),
        tuple(retyped[:MAX_NAMED_FIELDS]),
        tuple(altered[:MAX_NAMED_FIELDS]),
        len(added),
        len(removed),
        len(retyped),
        len(altered),
    )


def _fields(body: bytes) -> dict[str, tuple[str, Definition]]:
    """Return the type and the parameters of each field, by path."""
    return {node.path: (node.type, parameters_of(node)) for node in nodes(parse(body))}


def parameters_of(node: FieldNode) -> Definition:
    """Return what a definition says of the field itself, without the fields below it: `nodes` gives those as nodes of
    their own.
    """
    below = () if node.multi_field_of else ("fields", "properties") if node.type in OBJECT_TYPES else ("fields",)
    return {parameter: value for parameter, value in node.definition.items() if parameter not in below}
