"""What the mapping browser says of one name, besides its fields. Pure; belongs into a thread, as `browse_list` does."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse

from cacheapp.browse.names import ALIAS, DATA_STREAM, INDEX, NAMED, Group, groups_of
from cacheapp.mapping.fields import FieldCounts
from cacheapp.state.snapshot import Snapshot

SHOWN_GROUPS = 20


@dataclass(frozen=True, slots=True)
class About:
    """Of an index: the others with its mapping, and the aliases and data streams that lead to it. Of those: the
    distinct mappings of the indices they stand for.
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


@dataclass(frozen=True, slots=True)
class Raw:
    """An address of the API that says the same to programs, and the command that asks it. `id`: of the command, on the
    page.
    """

    id: str
    label: str
    url: str
    command: str


def about(snapshot: Snapshot, counts: FieldCounts, name: str, indices: tuple[str, ...]) -> About:
    """`indices`: what `name` was just found to stand for; the snapshot may know better by now, or less."""
    known = [index for index in indices if index in snapshot.indices]
    if indices != (name,):
        return About(
            kind=DATA_STREAM if name in snapshot.data_streams else ALIAS,
            mapping_hash="",
            indices_total=len(indices),
            groups=groups_of(snapshot, counts, known, 0, SHOWN_GROUPS),
            groups_total=len({snapshot.indices[index].mapping_hash for index in known}),
            others=(),
            others_total=0,
            reached_by=(),
            reached_by_total=0,
        )
    mapping_hash = snapshot.indices[name].mapping_hash if known else ""
    others = sorted(
        other for other, entry in snapshot.indices.items() if entry.mapping_hash == mapping_hash and other != name
    )
    reached_by = sorted(alias for alias, members in snapshot.aliases.items() if name in members)
    return About(
        kind=INDEX,
        mapping_hash=mapping_hash,
        indices_total=1,
        groups=(),
        groups_total=0,
        others=tuple(others[:NAMED]),
        others_total=len(others),
        reached_by=tuple(reached_by[:NAMED]),
        reached_by_total=len(reached_by),
    )


def raw_links(name: str, q: str, absolute: Callable[[str], str], *, public: bool) -> tuple[Raw, ...]:
    """`absolute`: a path with the scheme and the host that the page was asked for with. `public`: no token is
    needed.
    """
    fields = reverse("mapping-fields", args=[name]) + (f"?{urlencode({'q': q})}" if q else "")
    addresses = (
        ("raw-mapping", "Mapping, as Elasticsearch renders it", reverse("mapping", args=[name])),
        ("raw-schema", "JSON Schema of its documents", reverse("mapping-schema", args=[name])),
        ("raw-fields", f"Fields with “{q}” in their path" if q else "Fields as a flat list", fields),
        ("raw-history", "History", reverse("mapping-history", args=[name])),
    )
    return tuple(Raw(key, label, url, curl(absolute(url), public=public)) for key, label, url in addresses)


def curl(url: str, *, public: bool) -> str:
    """The command that asks `url`, as a shell takes it."""
    token = "" if public else '-H "Authorization: Bearer $TOKEN" '
    return f"curl {token}{shlex.quote(url)}"
