"""Which cluster this is: its name and version, for people. Asked beside everything else, and kept while the cluster is
away.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from esassistant.clock import Sleep
from esassistant.elasticsearch.answers import failure_kind
from esassistant.resource import Handle, ReportHandle

KNOWN_SECONDS = 600.0
"""Once it is known, or refused: a cluster is upgraded, or a role changed, now and then."""
AGAIN_SECONDS = 15.0
"""After a failure."""
SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """What the cluster said that it is; empty: not known, or not told."""

    name: str = ""
    version: str = ""


class IdentityWatch:
    """Knows the identity of the cluster. One per process; belongs to the loop of its client."""

    def __init__(
        self, client: AsyncElasticsearch, is_there: Callable[[], Awaitable[object]], *, sleep: Sleep = asyncio.sleep
    ) -> None:
        """`is_there` waits until the cluster is known to answer: asked before, it would only fail."""
        self._client = client
        self._is_there = is_there
        self._sleep = sleep
        self._identity = ClusterIdentity()

    def report(self) -> ClusterIdentity:
        return self._identity

    async def keep_asking(self) -> None:
        """Background task."""
        await self._is_there()
        while True:
            await self._sleep(KNOWN_SECONDS if await self._ask() else AGAIN_SECONDS)

    async def _ask(self) -> bool:
        """Whether it makes sense to ask again only much later. What was known before stays where there is no answer."""
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
