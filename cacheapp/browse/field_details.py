"""Say all that is known of one field of a name: how each mapping defines it, in which indices. Pure; takes mappings
apart, so that it belongs in a thread.
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
"""So many distinct mappings are taken apart, those of the most indices; one of five thousand fields takes 10 ms."""
MAX_RELATED = 100


@dataclass(frozen=True, slots=True)
class FieldDefinition:
    """How some mappings define a field, and the indices that have them. `type` empty: it isn't there."""

    type: str
    parameters: tuple[tuple[str, str], ...]
    indices: tuple[str, ...]
    indices_total: int


@dataclass(frozen=True, slots=True)
class ValueShare:
    """One value, and in how many documents of the sample it is."""

    value: str
    documents: int
    share_percent: float | None


@dataclass(frozen=True, slots=True)
class FieldDetails:
    """One field.

    Args:
        field: As lists of fields have it.
        definitions: Those that differ, the one of the most indices first.
        looked_at_total: Of how many distinct mappings, those of the most indices; `mappings_total` there are.
        multi_fields: Those that index its values once more.
        aliases: Fields that stand for it.
        below_total: How many fields are below it, multi-fields aside.
        values: What documents hold; None: it isn't known.
        shares: The same value by value.
        sample_documents: So many documents were looked at.
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
    """Say what is known of the field of that path; None: there is none.

    Args:
        fields: Of the name, sorted.
        distinct: Its mappings, with the indices that have each.
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
    """Type and parameters in one mapping. A runtime field comes last, and shadows a mapped one of its name. What no
    mapping defines is an object that only stands before the dots of other names, or a short name of a passthrough one.
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
