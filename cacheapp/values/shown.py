"""How field values are shown: in descriptions, in lists of fields, and on pages. Pure."""

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
"""So many values of a field stand in a description."""
BRIEF_CHARACTERS = 80


class ShownFieldValues(msgspec.Struct, frozen=True):
    """The values of one field, as the API shows them: null is what isn't known, or what its type doesn't have.

    Args:
        missing_percent: Of the sample.
        values: The most frequent ones, each with the number of documents of the sample that have it.
        more: Whether there are others; None where values aren't listed.
        min, max: Of numbers and dates.
    """

    missing_percent: float | None
    values: tuple[ValueCount, ...] | None = None
    more: bool | None = None
    min: int | float | str | None = None
    max: int | float | str | None = None


class ValuesNote(msgspec.Struct, frozen=True):
    """What all values of an answer have in common: whose they are, how old, and of how many documents.

    Args:
        family: Of all whose indices they are.
        age_seconds: Since they were gathered.
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
    """Return what all values have in common."""
    return ValuesNote(known.family, known.age_seconds, known.sample_documents, known.is_whole, known.fields_left_out)


def shown_values(known: KnownOfName | None, name: str, types: Sequence[str]) -> ShownFieldValues | None:
    """Return the values of a field that has these types now, as the API shows them; None: none are known, or of another
    type.
    """
    values = None if known is None else known.fields.get(name)
    if known is None or values is None or tuple(types) != (values.type,):
        return None
    missing_percent = percent(values.missing_documents, known.sample_documents)
    if values.type not in LISTED_TYPES:
        return ShownFieldValues(missing_percent, min=values.min, max=values.max)
    return ShownFieldValues(missing_percent, values.values, values.more)


def add_values(body: bytes, known: KnownOfName | None) -> bytes:
    """Add values to a list of fields, given as JSON: to each field those that it has, and to the list what all have in
    common; null where none are known.
    """
    listed: dict[str, Any] = msgspec.json.decode(body)
    listed["values"] = None if known is None else note_of(known)
    for field in listed["fields"]:
        field["values"] = shown_values(known, field["name"], field["types"])
    return msgspec.json.encode(listed)


def held_values(known: KnownOfName) -> HeldValues:
    """Return the values as descriptions write them."""
    texts = {path: (values.type, text) for path, values in known.fields.items() if (text := brief(values))}
    return HeldValues(texts, known.age_seconds, known.sample_documents, known.is_whole)


def brief_values(known: KnownOfName, fields: Iterable[Field]) -> dict[str, str]:
    """Return what is said in short of the values of fields, by name; of those whose type has changed since, nothing."""
    found = ((field, known.fields.get(field.name)) for field in fields)
    return {
        field.name: text
        for field, values in found
        if values is not None and field.types == (values.type,) and (text := brief(values))
    }


def brief(values: FieldValues) -> str:
    """Write the values of a field on few characters: `values open, closed, 3 more`; `from 0 to 99`. Empty: none."""
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
    """Say how far values can be trusted: of how many documents they are, and how old."""
    documents = f"{known.sample_documents:,} document{'' if known.sample_documents == 1 else 's'}"
    sample = f"all {documents}" if known.is_whole else f"a sample of {documents}"
    return f"of {sample} of {known.family}, {as_duration(known.age_seconds)} old"
