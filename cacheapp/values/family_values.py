"""What the fields of a family hold: some values with their counts, ranges, and the share of documents without any.
Pure.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from cacheapp.mapping.fields import Field
from cacheapp.queries.places import DATES, NUMBERS, TEXTS
from cacheapp.state.clusters import ClusterId

MAX_VALUES = 20
"""Of one field."""
LISTED_TYPES = frozenset({"keyword", "constant_keyword", "boolean"})
"""Types whose values are listed; of numbers and dates the range is given, of all others nothing."""
RANGED_TYPES = NUMBERS | DATES
KEPT_SECONDS = 86_400.0
"""Values that are older are forgotten: who asked for them last asked a day ago."""


LEFT_OUT = ("filtered", "denied", "gone", "failed")
"""Why a family has no values: it is an alias with a filter, this service's role doesn't cover it, it is not there any
more, it could not be asked.
"""


class ValueCount(msgspec.Struct, frozen=True, gc=False):
    """One value, and how many documents of the sample have it."""

    value: str | bool
    documents: int


class FieldValues(msgspec.Struct, frozen=True):
    """What one field holds.

    Args:
        type: As the mapping named it when this was gathered.
        values: The most frequent ones, of a keyword or boolean; at most `MAX_VALUES`.
        more: Whether there are others.
        min, max: The range of a number or date, dates as ISO 8601 in UTC; None where no document has one.
        missing_documents: How many documents of the sample have no value.
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
        gathered_at_ms: When, by the clock of the store, in milliseconds since 1970.
        indices: Those that were asked.
        indices_total: How many the family had then.
        sample_documents: How many documents were looked at.
        is_whole: Whether these were all documents of all indices of the family.
        fields: By their names.
        fields_left_out: How many fields had no room in the search; those that nobody may see aren't counted.
        cluster: Which cluster has the family.
        left_out: Why the family has no values at all, one of `LEFT_OUT`; None: it has.
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
    """Whether a field's values may be gathered, given all fields by name.

    1. Types that are neither listed nor have a range: no. A field whose type differs among the indices: no.
    2. Without doc values, or computed by a script (which costs the cluster too much): no.
    3. Within a nested object: no, as each of its documents would count.
    4. Another name for a field: no, the field itself has the values.
    5. A keyword that is the whole of a text: no, it is text.
    """
    if len(field.types) != 1 or field.types[0] not in LISTED_TYPES | RANGED_TYPES:
        return False
    if field.aggregatable is not True or field.runtime or field.nested_path is not None or field.alias_of is not None:
        return False
    around = among.get(field.multi_field_of) if field.multi_field_of is not None else None
    return around is None or not TEXTS.intersection(around.types)


def iso_date(milliseconds: float) -> str | None:
    """Return a moment as ISO 8601 in UTC; None where it is beyond what calendars have."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(tuple[FamilyValues, ...])


def encoded(families: Iterable[FamilyValues]) -> bytes:
    """Write what several families hold as JSON."""
    return _encoder.encode(tuple(families))


def decoded(raw: bytes) -> tuple[FamilyValues, ...]:
    """Read it again; what can't be read counts as nothing."""
    try:
        return _decoder.decode(raw) if raw else ()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()
