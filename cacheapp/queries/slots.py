"""The building blocks of the tables of queries, aggregations and bodies."""

from collections.abc import Mapping

import msgspec

from cacheapp.queries.places import Place


class Slot(msgspec.Struct, frozen=True):
    """What stands under one key of a clause.

    Args:
        reader: How it is read: the name of a reader, as in the `READERS` of the walk.
        place: For readers of field names: which place it is.
        clause: For readers of objects: the keys of these objects.
    """

    reader: str
    place: Place | None = None
    clause: "Clause | None" = None


class Keyed(msgspec.Struct, frozen=True):
    """The rule for a clause that has the name of a field as its key: `{"term": {"status": …}}`.

    Args:
        place: What the clause needs of the field.
        value: The key of the long form under which the value stands; None where there is none.
        inner: The other keys of the long form; None: they aren't checked.
        has_short_form: Whether the value may stand in place of the object.
        check: How the value is checked: the name of a check.
    """

    place: Place
    value: str | None = "value"
    inner: Mapping[str, Slot] | None = None
    has_short_form: bool = True
    check: str = "any"


class Clause(msgspec.Struct, frozen=True):
    """One row of a table: an object of a search, such as a query or a sort.

    Args:
        keys: The keys that it may have, and what stands under each. With `keyed`: the keys beside the field's name.
        required: The keys that it must have.
        keyed: The rule for the field's name, if that is one of its keys.
        is_open: Whether it may have keys that aren't listed here.
        synonyms: Names that callers use for its keys by mistake, with the right ones.
        also: The name of a further check.
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
    """Return slots of these names whose values aren't checked."""
    return dict.fromkeys(names.split(), ANY)


def field(place: Place) -> Slot:
    """Return the slot of a field's name."""
    return Slot("field", place)


def fields(place: Place) -> Slot:
    """Return the slot of several field names, with boosts and patterns: a list or one text."""
    return Slot("fields", place)


def one(clause: Clause) -> Slot:
    """Return the slot of an object."""
    return Slot("object", clause=clause)


def some(clause: Clause) -> Slot:
    """Return the slot of a list of objects, or one of them."""
    return Slot("objects", clause=clause)
