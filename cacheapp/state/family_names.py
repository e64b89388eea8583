"""Find the family that a name belongs to in the latest snapshot."""

from bisect import bisect_left
from collections.abc import KeysView, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

from cacheapp.state.families import ALIAS, DATA_STREAM, INDICES, family_of, names_by_index
from cacheapp.state.snapshot import Snapshot

MAX_NAMES = 1_000
"""How many names a list or pattern may stand for, so that their common family is looked for."""


@dataclass(frozen=True, slots=True)
class NamedFamily:
    """A family, with all of its indices, sorted. `kind` is one of the kinds of `cacheapp.state.families`.

    If the family is of the kind `INDICES` and has several members, its name is the common beginning of theirs, with
    `*`.
    """

    name: str
    kind: str
    indices: tuple[str, ...]

    @property
    def is_alias(self) -> bool:
        return self.kind == ALIAS


@dataclass(frozen=True, slots=True)
class _Names:
    """All names of a snapshot. Families are only found when they are asked for: finding those of 50 000 indices at once
    would hold the event loop for a tenth of a second, after each change of a name.

    Args:
        aliases, data_streams, indices: As in the snapshot.
        in_order: The indices, sorted.
        names_of: The aliases and data streams that each index belongs to.
    """

    aliases: Mapping[str, tuple[str, ...]]
    data_streams: frozenset[str]
    indices: KeysView[str]
    in_order: Sequence[str]
    names_of: Mapping[str, Sequence[str]]

    def family_of(self, index: str) -> tuple[str, str]:
        """Return the kind and the name of an index's family."""
        return family_of(index, self.names_of.get(index, ()), self.aliases, self.data_streams)

    def members(self, beginning: str) -> tuple[str, ...]:
        """Return the indices of the family of the kind `INDICES` whose names have this beginning, sorted."""
        first = bisect_left(self.in_order, beginning)
        alike = takewhile(lambda name: name.startswith(beginning), islice(self.in_order, first, None))
        return tuple(name for name in alike if self.family_of(name) == (INDICES, beginning))


NO_NAMES = _Names({}, frozenset(), {}.keys(), (), {})
_last = NO_NAMES


def _names_in(snapshot: Snapshot) -> _Names:
    """Return the names of a snapshot. The last ones are kept until there are others, for all who look for families."""
    global _last
    known, aliases, data_streams = _last, snapshot.aliases, snapshot.data_streams
    if known.aliases is aliases and known.data_streams == data_streams and known.indices == snapshot.indices.keys():
        return known
    names_of = known.names_of if known.aliases is aliases else names_by_index(aliases)
    _last = _Names(aliases, data_streams, snapshot.indices.keys(), sorted(snapshot.indices), names_of)
    return _last


class FamilyNames:
    """Finds families by the names that callers ask for: an alias or data stream is a family itself, an index belongs to
    one. Keeps what it needs of the latest snapshot.
    """

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._known = NO_NAMES
        self._found: dict[str, NamedFamily] = {}

    def find(self, name: str, snapshot: Snapshot) -> NamedFamily | None:
        """Return the family of a name; None if the name doesn't exist."""
        self._look_at(snapshot)
        if (found := self._found.get(name)) is not None:
            return found
        if (aliased := snapshot.aliases.get(name)) is not None:
            kind = DATA_STREAM if name in snapshot.data_streams else ALIAS
            found = NamedFamily(name, kind, tuple(sorted(aliased)))
        elif name in snapshot.indices:
            kind, beginning = self._known.family_of(name)
            if kind != INDICES:
                found = self.find(beginning, snapshot)
            else:
                members = self._known.members(beginning)
                found = NamedFamily(name if len(members) == 1 else f"{beginning}*", INDICES, members)
                self._found.update(dict.fromkeys(members, found))
        if found is not None:
            self._found[name] = found
        return found

    def of_family(self, name: str, snapshot: Snapshot) -> NamedFamily | None:
        """Return the family of this name, which may be a family's own name or that of an index; None if it no longer
        exists.
        """
        if not name.endswith("*"):
            return self.find(name, snapshot)
        self._look_at(snapshot)
        members = self._known.members(name[:-1])
        return self.find(members[0], snapshot) if members else None

    def find_one(self, names: Sequence[str], snapshot: Snapshot) -> NamedFamily | None:
        """Return the family to which all of these names belong; None if there is none, or if there are more than
        `MAX_NAMES` names.
        """
        if not 0 < len(names) <= MAX_NAMES:
            return None
        first = self.find(names[0], snapshot)
        return first if all(self.find(name, snapshot) == first for name in names[1:]) else None

    def _look_at(self, snapshot: Snapshot) -> None:
        if self._snapshot is snapshot:
            return
        self._snapshot = snapshot
        known = _names_in(snapshot)
        if known is self._known:
            return
        self._known = known
        self._found = {}
