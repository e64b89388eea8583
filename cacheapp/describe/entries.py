"""What a description says of each field: one entry for each field that can be searched, with its multi-fields in it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec

from cacheapp.mapping.fields import Field
from cacheapp.mapping.tree import parse

_UNSEEN = r"\s\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f"
"""Blanks, and characters that are invisible or change the direction of writing: with these, a reader would see another
text than is there.
"""
_PLAIN = re.compile(rf"[^{_UNSEEN}\"';:,()\[\]{{}}<>=|`]+")
_BLANKS = re.compile(rf"[{_UNSEEN}]+")
MAX_NOTE_CHARACTERS = 300
_PLAIN_TYPES = {"raw": ("keyword",), "keyword": ("constant_keyword", "wildcard")}
"""Names of multi-fields that make their types obvious, so that the types aren't written."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One field as it is written.

    Args:
        path: The full name of the field.
        types: Its type; if indices disagree, all types with `+` between them.
        marks: What is written after its name: its multi-fields, the field that it is an alias of, that it is a runtime
            field, and how many indices have it if not all do.
        note: Which indices have which type if they disagree, and what `meta` says of the field; may be empty.
        nested_path: The nested object that it is in.
    """

    path: str
    types: str
    marks: str = ""
    note: str = ""
    nested_path: str | None = None


def entries(fields: Sequence[Field], indices_total: int) -> tuple[Entry, ...]:
    """Return the entries for the fields of a name that stands for `indices_total` indices, sorted by path.

    An object has an entry only if no field in it is known. A nested object is recognised by the entries of its fields.
    """
    parents = {field.name.rpartition(".")[0] for field in fields if field.multi_field_of is None}
    multi_fields: dict[str, list[Field]] = {}
    for field in fields:
        if field.multi_field_of is not None:
            multi_fields.setdefault(field.multi_field_of, []).append(field)
    return tuple(
        Entry(
            field.name,
            "+".join(field.types),
            _marks(field, multi_fields.get(field.name, ()), indices_total),
            _note(field),
            field.nested_path,
        )
        for field in fields
        if field.multi_field_of is None and not (field.name in parents and _is_object(field))
    )


@lru_cache(maxsize=50_000)
def written(name: str) -> str:
    """Return a name as it is written: in quotes if it has characters with a meaning in descriptions."""
    return name if _PLAIN.fullmatch(name) else json.dumps(name)


def prose(text: str) -> str:
    """Return a text from the cluster on one line, shortened if it is long."""
    flat = _BLANKS.sub(" ", text).strip()
    return flat if len(flat) <= MAX_NOTE_CHARACTERS else flat[: MAX_NOTE_CHARACTERS - 1] + "…"


def _is_object(field: Field) -> bool:
    return set(field.types) <= {"object", "nested", "passthrough"}


def _marks(field: Field, multi_fields: Iterable[Field], indices_total: int) -> str:
    marks = []
    for multi in multi_fields:
        name = multi.name.rpartition(".")[2]
        is_plain = any(name in kind or kind in _PLAIN_TYPES.get(name, ()) for kind in multi.types)
        marks.append(written(f".{name}") + ("" if is_plain else f" {'+'.join(multi.types)}"))
    if field.alias_of is not None:
        marks.append(f"= {written(field.alias_of)}")
    if field.runtime:
        marks.append("runtime")
    if field.indices_total < indices_total:
        marks.append(f"in {field.indices_total}")
    return f"({', '.join(marks)})" if marks else ""


def _note(field: Field) -> str:
    said = [
        f"{one.type} in {one.indices_total:,} ({', '.join(one.indices[:2])}{', …' if one.indices_total > 2 else ''})"
        for one in field.conflict
    ]
    conflict = [f"conflict: {', '.join(said)}"] if said else []
    return prose("; ".join(conflict + _meta_words(field.meta)))


def _meta_words(meta: Mapping[str, str]) -> list[str]:
    """Return what `meta` says: each value with its key, a description without it."""
    return [value if key == "description" else f"{key} {value}" for key, value in meta.items() if value.strip()]


def about_of(mappings: Iterable[bytes]) -> str:
    """Return what mappings, given as JSON, say of themselves in `_meta`, on one line: the description; without one, all
    texts and numbers. The first mapping that says anything counts.
    """
    for mapping in mappings:
        meta = parse(mapping).get("_meta")
        if isinstance(meta, dict):
            description = meta.get("description")
            if isinstance(description, str) and description.strip():
                return prose(description)
            plain = {key: value for key, value in meta.items() if isinstance(value, str | int) and key != "managed"}
            if plain:
                return prose(", ".join(f"{key} {value}" for key, value in plain.items()))
    return ""
