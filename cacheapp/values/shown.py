"""Show field values: in descriptions, in lists of fields, and on pages. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from cacheapp.describe.description import HeldValues
from cacheapp.describe.entries import written
from cacheapp.mapping.fields import Field
from cacheapp.values.family_values import LISTED_TYPES, FieldValues, ValueCount
from cacheapp.values.known import KnownOfName
from esassistant.advice import percent
from esassistant.units import as_duration

BRIEF_VALUES = 6
"""How many values of a field a description shows."""
BRIEF_CHARACTERS = 80


class ShownFieldValues(msgspec.Struct, frozen=True):
    """The values of one field, as the API shows them. A member is null if it isn't known, or if the field's type
    doesn't have it.

    Args:
        missing_percent: The share of the sample's documents without a value.
        values: The most frequent values, each with the number of documents of the sample that have it.
        more: Whether there are other values; None where values aren't listed.
        min, max: The range of a number or date.
    """

    missing_percent: float | None
    values: tuple[ValueCount, ...] | None = None
    more: bool | None = None
    min: int | float | str | None = None
    max: int | float | str | None = None


class ValuesNote(msgspec.Struct, frozen=True):
    """What all values of an answer have in common.

    Args:
        family: The family whose indices the values come from.
        age_seconds: How long ago they were gathered.
        sample_documents: How many documents were looked at.
        is_whole: Whether these were all documents of the family.
        fields_left_out: How many fields had no room in the search.
    """

    family: str
    age_seconds: float
    sample_documents: int
    is_whole: bool
    fields_left_out: int


def note_of(known: KnownOfName) -> ValuesNote:
    """Return what all values of an answer have in common: their family, their age and their sample."""
    return ValuesNote(known.family, known.age_seconds, known.sample_documents, known.is_whole, known.fields_left_out)


def shown_values(known: KnownOfName | None, name: str, types: Sequence[str]) -> ShownFieldValues | None:
    """Return the values of a field that has these types now, as the API shows them; None if none are known, or if they
    are of another type.
    """
    values = None if known is None else known.fields.get(name)
    if known is None or values is None or tuple(types) != (values.type,):
        return None
    missing_percent = percent(values.missing_documents, known.sample_documents)
    if values.type not in LISTED_TYPES:
        return ShownFieldValues(missing_percent, min=values.min, max=values.max)
    return ShownFieldValues(missing_percent, values.values, values.more)


def add_values(body: bytes, known: KnownOfName | None) -> bytes:
    """Add values to a list of fields, given as JSON: to each field its values, and to the list what all values have in
    common. Where nothing is known, null is added.
    """
    listed: dict[str, Any] = msgspec.json.decode(body)
    listed["values"] = None if known is None else note_of(known)
    for field in listed["fields"]:
        field["values"] = shown_values(known, field["name"], field["types"])
    return msgspec.json.encode(listed)


def held_values(known: KnownOfName) -> HeldValues:
    """Return the values in the form that descriptions take."""
    texts = {path: (values.type, text) for path, values in known.fields.items() if (text := brief(values))}
    return HeldValues(texts, known.age_seconds, known.sample_documents, known.is_whole)


def brief_values(known: KnownOfName, fields: Iterable[Field]) -> dict[str, str]:
    """Return short texts about the values of fields, by name. A field whose type has changed since then has none."""
    found = ((field, known.fields.get(field.name)) for field in fields)
    return {
        field.name: text
        for field, values in found
        if values is not None and field.types == (values.type,) and (text := brief(values))
    }


def brief(values: FieldValues) -> str:
    """Return the values of a field as a short text: `values open, closed, 3 more`, or `from 0 to 99`. Empty if there
    are none.
    """
    if values.min is not None and values.max is not None:
        return f"from {_bound(values.min)} to {_bound(values.max)}"
    listed: list[str] = []
    size = 0
    for one in values.values[:BRIEF_VALUES]:
        text = str(one.value).lower() if isinstance(one.value, bool) else written(one.value)
        size += len(text)
        if size > BRIEF_CHARACTERS and listed:
            break
        listed.append(text)
    if not listed:
        return ""
    left = len(values.values) - len(listed)
    if values.more:
        listed.append("…")
    elif left:
        listed.append(f"{left} more")
    return f"values {', '.join(listed)}"


def _bound(value: float | str) -> str:
    if isinstance(value, str):
        return value.removesuffix("T00:00:00Z")
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def about(known: KnownOfName) -> str:
    """Return a text that says how far the values can be trusted: how many documents they come from, and how old they
    are.
    """
    documents = f"{known.sample_documents:,} document{'' if known.sample_documents == 1 else 's'}"
    sample = f"all {documents}" if known.is_whole else f"a sample of {documents}"
    return f"of {sample} of {known.family}, {as_duration(known.age_seconds)} old"
