"""Describe one name for the mapping browser, its fields aside. Pure; called in a thread, because it goes through all
names.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse

from cacheapp.browse.families import SHOWN_ODD, odd_members
from cacheapp.browse.filters import INDEX, SEVERAL, SHOWN_NAMES, kind_of
from cacheapp.browse.names import Group, group_by_mapping
from cacheapp.mapping.fields import FieldCounts
from cacheapp.state.expressions import Resolved
from cacheapp.state.families import family_by_name
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import Visible

SHOWN_GROUPS = 20


@dataclass(frozen=True, slots=True)
class About:
    """What a name, a list or a pattern stands for, and what it is related to.

    For an index: `others` are the indices with the same mapping, and `reached_by` are the aliases and data streams that
    contain it. If no alias or data stream contains it, `family` is the pattern of its family, provided that the family
    has other members.

    For anything else: `groups` are the distinct mappings of its indices, and `odd` the indices with another mapping
    than most. A list or pattern also has `names`, the names it stands for, unless these are just its indices, and
    `closed`, the closed indices that it leaves out. `closed_members` are the closed indices among those it stands for.

    Each list is bounded, with its total beside it.
    """

    kind: str
    mapping_hash: str
    indices_total: int
    groups: tuple[Group, ...]
    groups_total: int
    others: tuple[str, ...]
    others_total: int
    reached_by: tuple[str, ...]
    reached_by_total: int
    family: str = ""
    names: tuple[str, ...] = ()
    names_total: int = 0
    closed: tuple[str, ...] = ()
    closed_total: int = 0
    odd: tuple[str, ...] = ()
    odd_total: int = 0
    usual: str = ""
    closed_members: tuple[str, ...] = ()
    closed_members_total: int = 0

    @property
    def is_closed(self) -> bool:
        """Return whether all that it stands for is closed."""
        return self.closed_members_total == self.indices_total


@dataclass(frozen=True, slots=True)
class Raw:
    """An address of the API that gives programs what the page shows, and a shell command that requests it.

    `id` is the id of the command's element on the page.
    """

    id: str
    label: str
    url: str
    command: str


def describe(
    snapshot: Snapshot,
    counts: FieldCounts,
    name: str,
    indices: tuple[str, ...],
    visible: Visible,
    resolved: Resolved | None = None,
) -> About:
    """Describe `name`, which has just been resolved to `indices`. The snapshot may have changed since, and lack some of
    them.

    `visible`: the names that exist for the reader. `resolved`: what the name stands for, if it is a list or a pattern.
    """
    cached = [index for index in indices if index in snapshot.indices]
    closed_members = [index for index in cached if index in snapshot.closed]
    if resolved is not None or indices != (name,):
        names, closed = ((), ()) if resolved is None else (resolved.names, resolved.closed)
        if set(names) == set(indices):
            names = ()
        mappings_total, usual, odd = odd_members(snapshot, cached) if cached else (0, "", [])
        return About(
            kind=kind_of(snapshot, name) if resolved is None else SEVERAL,
            mapping_hash="",
            indices_total=len(indices),
            groups=group_by_mapping(snapshot, counts, cached, 0, SHOWN_GROUPS),
            groups_total=mappings_total,
            others=(),
            others_total=0,
            reached_by=(),
            reached_by_total=0,
            names=names[:SHOWN_NAMES],
            names_total=len(names),
            closed=closed[:SHOWN_NAMES],
            closed_total=len(closed),
            odd=tuple(odd[:SHOWN_ODD]),
            odd_total=len(odd),
            usual=usual,
            closed_members=tuple(closed_members[:SHOWN_NAMES]),
            closed_members_total=len(closed_members),
        )
    mapping_hash = snapshot.indices[name].mapping_hash if cached else ""
    others = sorted(
        other
        for other, entry in snapshot.indices.items()
        if entry.mapping_hash == mapping_hash and other != name and visible.covers(other)
    )
    reached_by = sorted(
        alias for alias, members in snapshot.aliases.items() if name in members and visible.covers(alias)
    )
    return About(
        kind=INDEX,
        mapping_hash=mapping_hash,
        indices_total=1,
        groups=(),
        groups_total=0,
        others=tuple(others[:SHOWN_NAMES]),
        others_total=len(others),
        reached_by=tuple(reached_by[:SHOWN_NAMES]),
        reached_by_total=len(reached_by),
        family="" if reached_by else _family_of(snapshot, name, visible),
        closed_members=tuple(closed_members),
        closed_members_total=len(closed_members),
    )


def _family_of(snapshot: Snapshot, index: str, visible: Visible) -> str:
    """Return the pattern of the family of an index that is in no alias or data stream; empty: it has no other visible
    member.
    """
    family = family_by_name(index)
    beginning = family.removesuffix("*")
    has_others = family != index and any(
        other.startswith(beginning) and other != index and family_by_name(other) == family and visible.covers(other)
        for other in snapshot.indices
    )
    return family if has_others else ""


def raw_links(name: str, q: str, absolute: Callable[[str], str], *, public: bool) -> tuple[Raw, ...]:
    """Return the addresses of the API about `name`.

    Args:
        name: An index, an alias or a data stream, a list or a pattern.
        q: What the page searches the fields for, if anything.
        absolute: Adds the scheme and host of the page's own address to a path.
        public: Whether the API answers without a token.
    """
    fields = reverse("esassistant:mapping-fields", args=[name]) + (f"?{urlencode({'q': q})}" if q else "")
    addresses = (
        ("raw-mapping", "Mapping, as Elasticsearch renders it", reverse("esassistant:mapping", args=[name])),
        ("raw-schema", "JSON Schema of its documents", reverse("esassistant:mapping-schema", args=[name])),
        ("raw-fields", f"Fields with “{q}” in their path" if q else "Fields as a flat list", fields),
        ("raw-history", "Changes", reverse("esassistant:mapping-history", args=[name])),
    )
    return tuple(Raw(key, label, url, curl(absolute(url), public=public)) for key, label, url in addresses)


def curl(url: str, *, public: bool) -> str:
    """Return the shell command that requests `url`."""
    token = "" if public else '-H "Authorization: Bearer $TOKEN" '
    return f"curl {token}{shlex.quote(url)}"
