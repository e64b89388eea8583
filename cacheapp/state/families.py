"""Families of indices: those of one data stream; or else of an alias; or else those whose names differ only by a
trailing date or number. Pure.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence

_TRAILING = re.compile(r"(?:[-_.][wq]?[0-9]+|[0-9]{4,})+$")
_NUMBER = re.compile(r"([0-9]+)")
NaturalKey = tuple[tuple[str, int], ...]
DATA_STREAM, ALIAS, INDICES = "data stream", "alias", "indices"
"""The kinds of families; `INDICES` are neither a data stream nor an alias."""


def stem_of(index: str) -> str:
    """Return a name without its trailing date or number."""
    return _TRAILING.sub("", index) or index


def family_by_name(index: str) -> str:
    """Return the name of the family of an index that is in no data stream or alias, as changes tell it: the beginning
    of its names with `*`, whether or not there are others.

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
    """Return kind and name of an index's family; of the kind `INDICES` the beginning of its names.

    Args:
        names: the aliases and data streams that the index belongs to.
        aliases: the members of each of them.
        data_streams: which of them are data streams.
    """
    streams = [name for name in names if name in data_streams]
    if streams:
        return DATA_STREAM, min(streams)
    if names:  # of several aliases, the one of most indices
        return ALIAS, min(names, key=lambda name: (-len(aliases[name]), name))
    return INDICES, stem_of(index)


class Series:
    """The members of a family in their order, numbers and dates by their value; sorted once."""

    def __init__(self, members: Iterable[str]) -> None:
        self._members = sorted((natural_key(name), name) for name in members)
        self._alike: dict[str, list[tuple[NaturalKey, str]]] = {}
        for key, name in self._members:
            self._alike.setdefault(stem_of(name), []).append((key, name))

    def before(self, index: str) -> str | None:
        """Return the member that comes before an index; None: none does.

        Of one whose name differs by a trailing date or number alone rather than of another: an alias may be over
        anything.
        """
        own = (natural_key(index),)
        for among in (self._alike.get(stem_of(index), []), self._members):
            if place := bisect_left(among, own):
                return among[place - 1][1]
        return None


def natural_key(name: str) -> NaturalKey:
    """Sort names by this, and `logs-10` comes after `logs-9`."""
    pieces = _NUMBER.split(name)
    return tuple((text, int(number or 0)) for text, number in zip(pieces[::2], [*pieces[1::2], ""], strict=True))
