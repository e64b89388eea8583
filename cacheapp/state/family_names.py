"""Find the family that a name belongs to in the latest snapshot."""

from collections.abc import KeysView, Mapping, Sequence
from dataclasses import dataclass

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
class _Families:
    """The families of some names.

    Args:
        aliases, data_streams, indices: The names.
        families: The kind and the name of the family of each index.
        members: The members of the families that are neither aliases nor data streams, by the beginning of their names.
    """

    aliases: Mapping[str, tuple[str, ...]]
    data_streams: frozenset[str]
    indices: KeysView[str]
    families: Mapping[str, tuple[str, str]]
    members: Mapping[str, list[str]]


NO_FAMILIES = _Families({}, frozenset(), {}.keys(), {}, {})
_last = NO_FAMILIES


def _families_in(snapshot: Snapshot) -> _Families:
    """Return the families of a snapshot. The last ones are kept until there are other names, for all who look for some:
    with 50 000 indices, finding them holds the event loop for a tenth of a second.
    """
    global _last
    known, aliases, data_streams = _last, snapshot.aliases, snapshot.data_streams
    if known.aliases is aliases and known.data_streams == data_streams and known.indices == snapshot.indices.keys():
        return known
    names = names_by_index(aliases)
    families = {index: family_of(index, names.get(index, ()), aliases, data_streams) for index in snapshot.indices}
    members: dict[str, list[str]] = {}
    for index, (kind, beginning) in families.items():
        if kind == INDICES:
            members.setdefault(beginning, []).append(index)
    _last = _Families(aliases, data_streams, snapshot.indices.keys(), families, members)
    return _last


class FamilyNames:
    """Finds families by the names that callers ask for: an alias or data stream is a family itself, an index belongs to
    one. Keeps what it needs of the latest snapshot.
    """

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._known = NO_FAMILIES
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
            kind, beginning = self._known.families[name]
            if kind != INDICES:
                found = self.find(beginning, snapshot)
            else:
                members = tuple(sorted(self._known.members[beginning]))
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
        members = self._known.members.get(name[:-1])
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
        known = _families_in(snapshot)
        if known is self._known:
            return
        self._known = known
        self._found = {}
