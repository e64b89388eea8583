"""The state in the form in which processes publish it for each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec


class StoredIndex(msgspec.Struct, frozen=True, gc=False):
    """One index: its uuid (None: not known), the hash of its mapping, and how long ago the cluster confirmed it.

    `age_seconds` None: it was confirmed together with the state as a whole. So a pass that found nothing new writes one
    row, not one per index.
    """

    uuid: str | None
    mapping_hash: str
    age_seconds: float | None = None
    field_count: int | None = None


class HistoryMark(msgspec.Struct, frozen=True):
    """What a publisher says of the history.

    Args:
        name: The name of the history in its database; empty: not known.
        last_id: The number of the last change there, if all that is published is recorded up to it; None: some of it
            isn't recorded yet.
        lost: Whether some changes could not be recorded and are lost.
    """

    name: Annotated[str, msgspec.Meta(max_length=32)] = ""
    last_id: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class StoredState:
    """All mappings of a cluster, as one full pass found them.

    Args:
        age_seconds: How long ago that pass was.
        indices: The indices, with the hashes of their mappings.
        aliases: The members of each alias and data stream.
        bodies: The mappings by their hashes. Those that the receiver has already may be missing.
        data_streams: Which of the aliases are data streams.
        cluster_uuid: The uuid of the cluster; empty: not known.
        cluster_urls: A hash of the URLs of the cluster.
        listed_age_seconds: How long ago the indices and aliases were listed; None: in that pass.
        unread: Indices that are listed too, but whose mappings the publisher could not read.
        closed: Which of the listed indices are closed.
        hidden: Which of the listed indices are hidden by their settings.
        history: How far its changes are recorded. None: version 1.0 published it, which records the changes only
            afterwards.
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
    """What `Store.load` returns: the published state, and the number of its generation."""

    generation: int
    state: StoredState
