"""Fields by words, over many names: which there are, and of which families. Pure."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cacheapp.describe.entries import written
from cacheapp.mapping.fields import Field, search
from cacheapp.state.distinct import Distinct
from cacheapp.state.families import INDICES, family_of, names_by_index
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import Visible

MAX_SHOWN: Final = 60
SHOWN_FAMILIES: Final = 4


def matching(fields: Sequence[Field], words: str, type_: str) -> tuple[list[Field], bool]:
    """The fields that have all words in their paths, best first, or else those that have some of them, those with most
    first; and whether it is all. `type_` may be empty.

    Raises:
        BadRequest: There are too many characters.
    """
    wanted = [field for field in fields if not type_ or type_ in field.types]
    if found := search(wanted, words):
        return list(found), True
    counts: dict[str, tuple[int, Field]] = {}
    for word in dict.fromkeys(words.split()):
        for field in search(wanted, word):
            counts[field.name] = counts.get(field.name, (0, field))[0] + 1, field
    return [field for _, field in sorted(counts.values(), key=lambda one: (-one[0], one[1].name))], False


def families_by_field(
    found: Iterable[Field],
    parts: Sequence[tuple[Distinct, tuple[Field, ...]]],
    snapshot: Snapshot,
    visible: Visible,
) -> dict[str, list[str]]:
    """The families that have each of these fields, by name.

    Args:
        found: The fields.
        parts: Distinct mappings, each with its fields, sorted by path.
        snapshot: Says what belongs together.
        visible: What exists for the caller: an alias that doesn't is no family either.
    """
    names = {
        index: [name for name in having if visible.covers(name)]
        for index, having in names_by_index(snapshot.aliases).items()
    }
    families = [(_families(one.indices, names, snapshot), fields) for one, fields in parts]
    return {
        field.name: sorted({family for having, fields in families if _has(fields, field.name) for family in having})
        for field in found
    }


def _families(indices: Iterable[str], names: Mapping[str, Sequence[str]], snapshot: Snapshot) -> set[str]:
    families = set()
    for index in indices:
        kind, name = family_of(index, names.get(index, ()), snapshot.aliases, snapshot.data_streams)
        families.add(f"{name}*" if kind == INDICES and name != index else name)
    return families


def _has(fields: Sequence[Field], path: str) -> bool:
    place = bisect_left(fields, path, key=lambda field: field.name)
    return place < len(fields) and fields[place].name == path


def field_line(field: Field, families: Sequence[str]) -> str:
    """A field on one line: path, type or types with how many indices have each, and the families that have it."""
    if field.conflict:
        types = ", ".join(f"{one.type} in {one.indices_total:,}" for one in field.conflict)
        kind = f"conflict: {types} indices"
    else:
        kind = "+".join(field.types)
    nested = f" (nested in {written(field.nested_path)})" if field.nested_path else ""
    more = f" and {len(families) - SHOWN_FAMILIES} more" if len(families) > SHOWN_FAMILIES else ""
    return f"{written(field.name)}: {kind}{nested} — {', '.join(map(written, families[:SHOWN_FAMILIES]))}{more}"
