"""Which cluster something is about, and who else is about the same one. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class ClusterId:
    """A cluster: its uuid (empty: not known, or the cluster doesn't tell), and a hash of the URLs it is reached by."""

    uuid: str
    urls: str

    def is_same_as(self, other: "ClusterId") -> bool:
        """By the uuids; by the URLs where one of these isn't known. Several clusters may be reached by one URL, such as
        http://localhost:9200 on several machines, and one cluster by several.
        """
        return self.uuid == other.uuid if self.uuid and other.uuid else self.urls == other.urls


class _Told(msgspec.Struct):
    """What an instance tells of itself, as far as it concerns us. Version 1.0 doesn't tell its cluster."""

    cluster: ClusterId | None = None


_told = msgspec.json.Decoder(_Told)


def users_of(cluster: ClusterId, reports: Iterable[bytes]) -> int:
    """How many of the instances that gave these reports may use `cluster`: those that don't tell are counted too."""
    return sum(told is None or told.is_same_as(cluster) for told in map(_cluster_of, reports))


def _cluster_of(report: bytes) -> ClusterId | None:
    try:
        return _told.decode(report).cluster
    except msgspec.MsgspecError:
        return None
