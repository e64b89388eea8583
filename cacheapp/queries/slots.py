"""What the tables of queries, aggregations and bodies are made of."""

from collections.abc import Mapping

import msgspec

from cacheapp.queries.places import Place


class Slot(msgspec.Struct, frozen=True):
    """What stands under one key.

    Args:
        reader: How it is read: a method of the walk.
        place: Of readers of field names: which place it is.
        clause: Of readers of objects: what they are made of.
    """

    reader: str
    place: Place | None = None
    clause: "Clause | None" = None


class Keyed(msgspec.Struct, frozen=True):
    """That a clause's key is the name of a field: `{"term": {"status": …}}`.

    Args:
        place: What it needs of the field.
        value: Under which key of the long form the value stands; None where there is none.
        inner: What else the long form may have; None: it isn't looked into.
        has_short_form: Whether the value may stand in place of the object.
        check: How the value is checked: a method of the walk.
    """

    place: Place
    value: str | None = "value"
    inner: Mapping[str, Slot] | None = None
    has_short_form: bool = True
    check: str = "any"


class Clause(msgspec.Struct, frozen=True):
    """One row: an object of a search, as a query or a sort.

    Args:
        keys: Which keys it may have, and what stands under each; with `keyed`, beside the field's name.
        required: Of which it must have all.
        keyed: That a field's name is its key.
        is_open: Whether it may have keys that aren't here.
        synonyms: What others call its keys.
        also: A further check: a method of the walk.
    """

    keys: Mapping[str, Slot] = {}
    required: tuple[str, ...] = ()
    keyed: Keyed | None = None
    is_open: bool = False
    synonyms: Mapping[str, tuple[str, ...]] = {}
    also: str | None = None


ANY = Slot("any")
FLAG = Slot("flag")
WHOLE = Slot("whole")
NUMBER = Slot("number")
TEXT = Slot("text")
QUERY = Slot("query")
QUERIES = Slot("queries")
NEGATED = Slot("negated")
ALTERNATIVES = Slot("alternatives")
SCORING_QUERY = Slot("scoring_query")
SCRIPT = Slot("not_checked")
INNER_HITS = Slot("inner_hits")
COMMON: dict[str, Slot] = {"boost": NUMBER, "_name": TEXT}


def any_of(names: str) -> dict[str, Slot]:
    """Return slots that aren't looked into, by name."""
    return dict.fromkeys(names.split(), ANY)


def field(place: Place) -> Slot:
    """A field's name."""
    return Slot("field", place)


def fields(place: Place) -> Slot:
    """Names of fields, with boosts and patterns: a list or one text."""
    return Slot("fields", place)


def one(clause: Clause) -> Slot:
    """An object."""
    return Slot("object", clause=clause)


def some(clause: Clause) -> Slot:
    """A list of objects, or one of them."""
    return Slot("objects", clause=clause)
