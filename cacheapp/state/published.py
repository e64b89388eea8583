"""The state as processes publish it for each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec


class StoredIndex(msgspec.Struct, frozen=True, gc=False):
    """One index: its uuid (None: not known), the hash of its mapping, and how long ago the cluster confirmed it.

    `age_seconds` None: when the state as a whole was confirmed. So a pass that found nothing new writes one row, not
    one per index.
    """

    uuid: str | None
    mapping_hash: str
    age_seconds: float | None = None
    field_count: int | None = None


class HistoryMark(msgspec.Struct, frozen=True):
    """What a publisher says of the history: the name of its database's, empty where it isn't known; and the number of
    the last change there, in which all of what is published is recorded. `last_id` None: not all of it is, yet. `lost`:
    something that was not is lost.
    """

    name: Annotated[str, msgspec.Meta(max_length=32)] = ""
    last_id: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class StoredState:
    """All mappings of a cluster as one full pass found them, `age_seconds` ago. `bodies` may lack what the receiver
    has.

    `data_streams`: which of the aliases are. `cluster_uuid`, and a hash of its URLs, say of which cluster.
    `listed_age_seconds`: how long ago it was looked up which indices and aliases there are; None: in that pass.
    `unread`: indices that are listed too, but whose mappings the publisher doesn't know, as it could not read them.
    `closed`, `hidden`: which of the listed indices are.
    `history` None: version 1.0 published it, which writes the changes of it afterwards.
    """

    age_seconds: float
    indices: Mapping[str, StoredIndex]
    aliases: Mapping[str, tuple[str, ...]]
    bodies: Mapping[str, bytes]
    data_streams: frozenset[str] = frozenset()
    cluster_uuid: str = ""
    cluster_urls: str = ""
    listed_age_seconds: float | None = None
    unread: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    history: HistoryMark | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `load` gives: the published state, and the number of its generation."""

    generation: int
    state: StoredState
