"""Find the family of an index. It is the data stream that the index belongs to; else an alias; else the indices whose
names differ only by a trailing date or number. Pure.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence

_TRAILING = re.compile(r"(?:[0-9]{4,}|[-_.][wq]?[0-9]+)(?:[-_.][wq]?[0-9]+)*$")
"""Only the first part may begin with a digit. If each might, a name of many digits could be divided in very many ways,
and trying all of them would take for ever.
"""
_NUMBER = re.compile(r"([0-9]+)")
NaturalKey = tuple[tuple[str, int], ...]
DATA_STREAM, ALIAS, INDICES = "data stream", "alias", "indices"
"""The kinds of families. `INDICES` is that of families that are neither a data stream nor an alias."""


def stem_of(index: str) -> str:
    """Return a name without its trailing date or number."""
    return _TRAILING.sub("", index) or index


def family_by_name(index: str) -> str:
    """Return the name that changes give to the family of an index that is in no data stream or alias: the common
    beginning of the names with `*`. It doesn't depend on whether other members exist.

    >>> family_by_name("logs-2026.11.30"), family_by_name("orders")
    ('logs*', 'orders')
    """
    stem = stem_of(index)
    return index if stem == index else f"{stem}*"


def names_by_index(aliases: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Return the aliases and data streams that each index belongs to."""
    names: dict[str, list[str]] = {}
    for alias, aliased in aliases.items():
        for index in aliased:
            names.setdefault(index, []).append(alias)
    return names


def family_of(
    index: str, names: Sequence[str], aliases: Mapping[str, Collection[str]], data_streams: Collection[str]
) -> tuple[str, str]:
    """Return the kind and the name of an index's family. The name of a family of the kind `INDICES` is the common
    beginning of its names.

    Args:
        index: The name of the index.
        names: The aliases and data streams that the index belongs to.
        aliases: The members of each of them.
        data_streams: Which of them are data streams.
    """
    streams = [name for name in names if name in data_streams]
    if streams:
        return DATA_STREAM, min(streams)
    if names:  # of several aliases, the one with the most indices
        return ALIAS, min(names, key=lambda name: (-len(aliases[name]), name))
    return INDICES, stem_of(index)


class Series:
    """The members of a family in their order, in which numbers and dates count by their value. Sorted once."""

    def __init__(self, members: Iterable[str]) -> None:
        self._members = sorted((natural_key(name), name) for name in members)
        self._alike: dict[str, list[tuple[NaturalKey, str]]] = {}
        for key, name in self._members:
            self._alike.setdefault(stem_of(name), []).append((key, name))

    def before(self, index: str) -> str | None:
        """Return the member that comes before an index; None if there is none.

        If there is one whose name differs only by a trailing date or number, that one is returned rather than another
        member: an alias can have any indices.
        """
        own = (natural_key(index),)
        for among in (self._alike.get(stem_of(index), []), self._members):
            if place := bisect_left(among, own):
                return among[place - 1][1]
        return None


def natural_key(name: str) -> NaturalKey:
    """Return a sort key for names, by which `logs-10` comes after `logs-9`."""
    pieces = _NUMBER.split(name)
    return tuple((text, int(number or 0)) for text, number in zip(pieces[::2], [*pieces[1::2], ""], strict=True))
