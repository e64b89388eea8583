"""Tell which cluster something is about, and which instances use the same cluster. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class ClusterId:
    """The identity of a cluster: its uuid (empty: not known, or the cluster doesn't tell), and a hash of the URLs it is
    reached by.
    """

    uuid: str
    urls: str

    def is_same_as(self, other: "ClusterId") -> bool:
        """Return whether both are the same cluster: by their uuids, or by their URLs where a uuid isn't known.

        The uuids come first because one URL can mean several clusters, such as http://localhost:9200 on several
        machines, and because one cluster can have several URLs.
        """
        return self.uuid == other.uuid if self.uuid and other.uuid else self.urls == other.urls


class _Told(msgspec.Struct):
    """The part of an instance's report that names its cluster. Version 1.0 doesn't report it."""

    cluster: ClusterId | None = None


_told = msgspec.json.Decoder(_Told)


def users_of(cluster: ClusterId, reports: Iterable[bytes]) -> int:
    """Return how many of the instances with these reports may use `cluster`. Those that don't report their cluster are
    counted too.
    """
    return sum(told is None or told.is_same_as(cluster) for told in map(_cluster_of, reports))


def _cluster_of(report: bytes) -> ClusterId | None:
    try:
        return _told.decode(report).cluster
    except msgspec.MsgspecError:
        return None
