"""What changed from one snapshot to the next: indices created, deleted, or with another mapping. Pure."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from cacheapp.mapping.diff import FieldChanges, field_changes
from cacheapp.state.snapshot import Snapshot


class ChangeKind(enum.StrEnum):
    """What happened to an index."""

    CREATED = "created"
    CHANGED = "changed"
    RECREATED = "recreated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class IndexChange:
    """What happened to one index between two snapshots; `fields` is None unless both had its mapping."""

    index: str
    kind: ChangeKind
    fields: FieldChanges | None = None


def index_changes(before: Snapshot, after: Snapshot) -> Iterator[IndexChange]:
    """By name. One at a time: each pair of distinct mappings is compared once, which takes milliseconds."""
    compared: dict[tuple[str, str], FieldChanges] = {}
    for name in sorted({*before.indices, *after.indices}):
        old, new = before.indices.get(name), after.indices.get(name)
        if old is None:
            yield IndexChange(name, ChangeKind.CREATED)
        elif new is None:
            yield IndexChange(name, ChangeKind.DELETED)
        elif old.mapping_hash != new.mapping_hash or (old.uuid and new.uuid and old.uuid != new.uuid):
            pair = (old.mapping_hash, new.mapping_hash)
            if old.mapping_hash == new.mapping_hash:
                compared[pair] = FieldChanges()
            elif pair not in compared and all(
                hashed in of.bodies for hashed, of in zip(pair, (before, after), strict=True)
            ):
                compared[pair] = field_changes(before.bodies[pair[0]], after.bodies[pair[1]])
            recreated = old.uuid and new.uuid and old.uuid != new.uuid
            kind = ChangeKind.RECREATED if recreated else ChangeKind.CHANGED
            yield IndexChange(name, kind, compared.get(pair))
