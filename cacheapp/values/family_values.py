"""What the fields of a family hold: some values with their counts, ranges, and the share of documents without a value.
Pure.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from cacheapp.mapping.fields import Field
from cacheapp.queries.places import DATES, NUMBERS, TEXTS
from cacheapp.state.clusters import ClusterId

MAX_VALUES = 20
"""How many values of one field are kept at most."""
LISTED_TYPES = frozenset({"keyword", "constant_keyword", "boolean"})
"""The types whose values are listed. Numbers and dates have a range instead; all other types have nothing."""
RANGED_TYPES = NUMBERS | DATES
KEPT_SECONDS = 86_400.0
"""Values that are older than this are forgotten."""


LEFT_OUT = ("filtered", "denied", "gone", "failed")
"""The reasons why a family has no values. `filtered`: it is an alias with a filter; `denied`: this service's role
doesn't cover it; `gone`: it no longer exists; `failed`: it could not be asked.
"""


class ValueCount(msgspec.Struct, frozen=True, gc=False):
    """One value, and how many documents of the sample have it."""

    value: str | bool
    documents: int


class FieldValues(msgspec.Struct, frozen=True):
    """What one field holds.

    Args:
        type: The type, as the mapping named it when the values were gathered.
        missing_documents: How many documents of the sample have no value.
        values: The most frequent values of a keyword or boolean; at most `MAX_VALUES`.
        more: Whether there are other values.
        min, max: The range of a number or date, dates as ISO 8601 in UTC; None where no document has a value.
    """

    type: str
    missing_documents: int
    values: tuple[ValueCount, ...] = ()
    more: bool = False
    min: int | float | str | None = None
    max: int | float | str | None = None


class FamilyValues(msgspec.Struct, frozen=True):
    """What the fields of a family hold, as one search found it.

    Args:
        family: The name of the family.
        gathered_at_ms: When that was, by the clock of the store, in milliseconds since 1970.
        indices: The indices that were asked.
        indices_total: How many indices the family had then.
        sample_documents: How many documents were looked at.
        is_whole: Whether these were all documents of all indices of the family.
        fields: What each field holds, by the field's name.
        fields_left_out: How many fields had no room in the search. Private fields aren't counted.
        cluster: The cluster that has the family.
        left_out: Why the family has no values at all, one of `LEFT_OUT`; None: it has values.
    """

    family: str
    gathered_at_ms: int
    indices: tuple[str, ...] = ()
    indices_total: int = 0
    sample_documents: int = 0
    is_whole: bool = False
    fields: Mapping[str, FieldValues] = {}
    fields_left_out: int = 0
    left_out: str | None = None
    cluster: ClusterId = ClusterId("", "")


def can_be_asked(field: Field, among: Mapping[str, Field]) -> bool:
    """Return whether the values of a field may be gathered. `among` has all fields of the family by name.

    They may not be gathered if one of these holds:

    1. The type has neither listed values nor a range, or the field's type differs among the indices.
    2. The field has no doc values, or a script computes it, which costs the cluster too much.
    3. The field is in a nested object, each of whose documents would count.
    4. The field is an alias: its target has the values.
    5. The field is a keyword that repeats the whole of a text.
    """
    if len(field.types) != 1 or field.types[0] not in LISTED_TYPES | RANGED_TYPES:
        return False
    if field.aggregatable is not True or field.runtime or field.nested_path is not None or field.alias_of is not None:
        return False
    around = among.get(field.multi_field_of) if field.multi_field_of is not None else None
    return around is None or not TEXTS.intersection(around.types)


def iso_date(milliseconds: float) -> str | None:
    """Return a moment as ISO 8601 in UTC; None if it is outside of the calendar's range."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(tuple[FamilyValues, ...])


def encoded(families: Iterable[FamilyValues]) -> bytes:
    """Return as JSON what several families hold."""
    return _encoder.encode(tuple(families))


def decoded(raw: bytes) -> tuple[FamilyValues, ...]:
    """Return what `encoded` wrote; nothing if it can't be read."""
    try:
        return _decoder.decode(raw) if raw else ()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()
