"""The name and version of the cluster, for people. They are read in the background, and kept while
the cluster is away.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from esassistant.clock import Sleep
from esassistant.elasticsearch.answers import failure_kind
from esassistant.resource import Handle, ReportHandle

KNOWN_SECONDS = 600.0
"""How often to ask again once the identity is known or was refused: clusters are upgraded, and roles change, now and
then.
"""
AGAIN_SECONDS = 15.0
"""How long to wait after a failure."""
SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """Name and version of the cluster, as it says; empty while they aren't known, or if the cluster refuses to tell."""

    name: str = ""
    version: str = ""


class IdentityWatch:
    """Knows the identity of the cluster. One per process; belongs to the loop of its client."""

    def __init__(
        self, client: AsyncElasticsearch, is_there: Callable[[], Awaitable[object]], *, sleep: Sleep = asyncio.sleep
    ) -> None:
        """
        Args:
            is_there: Waits until the cluster is known to answer; before that, asking would only fail.
        """
        self._client = client
        self._is_there = is_there
        self._sleep = sleep
        self._identity = ClusterIdentity()

    def report(self) -> ClusterIdentity:
        return self._identity

    async def keep_asking(self) -> None:
        """Background task: ask for the identity again and again."""
        await self._is_there()
        while True:
            await self._sleep(KNOWN_SECONDS if await self._ask() else AGAIN_SECONDS)

    async def _ask(self) -> bool:
        """Ask once. Return True if the next time can be much later. If no answer comes, the identity stays
        as it was.
        """
        try:
            answer = await self._client.info(filter_path="cluster_name,version.number")
        except (ApiError, TransportError) as error:
            kind = failure_kind(error)
            return kind is not None and kind.is_refusal
        body = answer.body if isinstance(answer.body, dict) else {}
        version = body.get("version")
        number = version.get("number") if isinstance(version, dict) else None
        self._identity = ClusterIdentity(_short(body.get("cluster_name")), _short(number))
        return True


def _short(value: object) -> str:
    return value[:SHOWN_CHARACTERS] if isinstance(value, str) else ""


CLUSTER_IDENTITY: Handle[IdentityWatch] = Handle("cluster_identity")
CLUSTER_IDENTITY_REPORT: ReportHandle[ClusterIdentity] = ReportHandle("cluster_identity")
