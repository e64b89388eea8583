"""Return all that is known of one field of a name: how each mapping defines it, and in which indices.

Pure; called in a thread, because it parses mappings.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cacheapp.mapping.diff import parameters_of
from cacheapp.mapping.fields import Field
from cacheapp.mapping.tree import OBJECT_TYPES, nodes, parse
from cacheapp.state.distinct import Distinct
from cacheapp.values.known import KnownOfName
from cacheapp.values.shown import ShownFieldValues, shown_values
from esassistant.advice import percent

SHOWN_INDICES = 10
MAX_MAPPINGS = 50
"""How many distinct mappings are parsed, those of the most indices; one with five thousand fields takes 10 ms."""
MAX_RELATED = 100


@dataclass(frozen=True, slots=True)
class FieldDefinition:
    """How some mappings define a field, and the indices that have these mappings. `type` is empty if they don't have
    it.
    """

    type: str
    parameters: tuple[tuple[str, str], ...]
    indices: tuple[str, ...]
    indices_total: int


@dataclass(frozen=True, slots=True)
class ValueShare:
    """One value, and how many documents of the sample have it."""

    value: str
    documents: int
    share_percent: float | None


@dataclass(frozen=True, slots=True)
class FieldDetails:
    """One field in detail.

    Args:
        field: The field, as in lists of fields.
        definitions: The different definitions, the one of the most indices first.
        looked_at_total: How many distinct mappings were parsed, those of the most indices, of `mappings_total`.
        multi_fields: Its multi-fields.
        aliases: Alias fields that stand for it.
        below_total: How many fields are below it, multi-fields aside.
        values: What values documents have; None: not known.
        shares: The same, with the share of documents for each value.
        sample_documents: How many documents the sample has.
    """

    field: Field
    definitions: tuple[FieldDefinition, ...]
    looked_at_total: int
    mappings_total: int
    multi_fields: tuple[Field, ...]
    aliases: tuple[Field, ...]
    below_total: int
    values: ShownFieldValues | None
    shares: tuple[ValueShare, ...]
    sample_documents: int

    @property
    def is_object(self) -> bool:
        return OBJECT_TYPES.issuperset(self.field.types)


def field_details(
    fields: Sequence[Field], distinct: Sequence[Distinct], path: str, known: KnownOfName | None
) -> FieldDetails | None:
    """Return what is known of the field with that path; None if there is none.

    Args:
        fields: All fields of the name, sorted.
        distinct: The distinct mappings of the name, with the indices that have each.
        path: Of the field.
        known: What is known of the values of the name's fields.
    """
    field = next((one for one in fields if one.name == path), None)
    if field is None:
        return None
    looked_at = sorted(distinct, key=lambda one: -len(one.indices))[:MAX_MAPPINGS]
    values = shown_values(known, path, field.types)
    beginning = f"{path}."
    return FieldDetails(
        field=field,
        definitions=_definitions(looked_at, field),
        looked_at_total=len(looked_at),
        mappings_total=len(distinct),
        multi_fields=tuple(one for one in fields if one.multi_field_of == path)[:MAX_RELATED],
        aliases=tuple(one for one in fields if one.alias_of == path)[:MAX_RELATED],
        below_total=sum(one.name.startswith(beginning) and one.multi_field_of != path for one in fields),
        values=values,
        shares=_shares(values, known),
        sample_documents=0 if known is None else known.sample_documents,
    )


def _definitions(distinct: Iterable[Distinct], field: Field) -> tuple[FieldDefinition, ...]:
    found: dict[tuple[str, tuple[tuple[str, str], ...]], list[str]] = {}
    for one in distinct:
        found.setdefault(_definition(one.body, field), []).extend(one.indices)
    return tuple(
        FieldDefinition(kind, parameters, tuple(sorted(indices)[:SHOWN_INDICES]), len(indices))
        for (kind, parameters), indices in sorted(found.items(), key=lambda item: (not item[0][0], -len(item[1])))
    )


def _definition(body: bytes, field: Field) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the type and the parameters of a field in one mapping.

    A runtime field comes last in a mapping, and shadows a mapped field of the same name. A field that no mapping
    defines is an object that exists only as the beginning of dotted names, or the short name of a field in a
    passthrough object.
    """
    kind = ""
    parameters: tuple[tuple[str, str], ...] = ()
    begins = f"{field.name}."
    for node in nodes(parse(body)):
        if node.path == field.name:
            said = parameters_of(node)
            kind = node.type
            parameters = tuple((name, _written(said[name])) for name in sorted(said) if name != "type")
        elif not kind and (
            node.path.startswith(begins) or (field.alias_of is not None and node.path == field.alias_of)
        ):
            kind = "object" if field.alias_of is None else node.type
    return kind, parameters


def _written(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _shares(values: ShownFieldValues | None, known: KnownOfName | None) -> tuple[ValueShare, ...]:
    if values is None or known is None or not values.values:
        return ()
    return tuple(
        ValueShare(_as_text(one.value), one.documents, percent(one.documents, known.sample_documents))
        for one in values.values
    )


def _as_text(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else value
