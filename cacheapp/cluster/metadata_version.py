"""The cluster's metadata version, a number that grows with each change of mappings, indices, aliases, settings or
templates.

Elasticsearch never gives the number itself. But it answers whether it has reached a given number, and can wait until it
has: so the number can be searched for, and a change can be waited for. An upper-case pattern matches no index, so no
metadata is rendered, and an answer has about 200 bytes.
"""

import asyncio
import math
from dataclasses import dataclass, replace
from typing import Annotated, Final

import msgspec
from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from cacheapp.errors import WatchRefused
from esassistant.elasticsearch.answers import AnswerKind, failure_kind, missing_privilege
from esassistant.elasticsearch.client import MAX_SMALL_ANSWER_BYTES, two_nodes, unavailable
from esassistant.elasticsearch.node import reading_at_most
from esassistant.elasticsearch.node_pool import only_at
from esassistant.errors import ClusterUnavailable

TARGET = (
    "/_cluster/state/version,metadata/X*"
    "?filter_path=wait_for_timed_out,cluster_uuid,version,state_uuid,metadata.cluster_coordination.term"
    "&wait_for_metadata_version={version}&wait_for_timeout={milliseconds}ms"
)
QUICK_SECONDS = 5.0
"""How long an answer may take that waits for nothing; or, if it waits for a change, how much longer than that wait."""
OTHER_NODE_SECONDS = 1.0
"""After one node has waited in vain, how much longer the other node may take."""
FIRST = 1
"""The lowest version that may be asked for; every cluster has reached it."""


class _Coordination(msgspec.Struct):
    term: int


class _Metadata(msgspec.Struct):
    cluster_coordination: _Coordination


_Id = Annotated[str, msgspec.Meta(max_length=128)]


class _Answer(msgspec.Struct):
    wait_for_timed_out: bool
    cluster_uuid: _Id | None = None
    version: int = 0
    state_uuid: _Id | None = None
    metadata: _Metadata | None = None


_decoder = msgspec.json.Decoder(_Answer)


@dataclass(frozen=True, slots=True)
class Era:
    """A cluster and its term. Versions only grow within an era: after a full restart of a cluster they may begin again
    with a lower number.
    """

    cluster_uuid: str
    term: int

    def is_before(self, other: "Era") -> bool:
        """Return whether this is an earlier term of the same cluster. A node that answers with it lags behind."""
        return self.cluster_uuid == other.cluster_uuid and self.term < other.term


@dataclass(frozen=True, slots=True)
class Seen:
    """What an answer shows: the era, and the id of the whole cluster state, which also changes when the metadata
    doesn't. `url`: the node that gave the answer, if it was chosen on purpose.
    """

    era: Era
    state_uuid: str
    state_version: int = 0
    url: str | None = None


@dataclass(frozen=True, slots=True)
class MetadataVersion:
    """A metadata version (`number`) in its era, and one of the cluster states that have it."""

    era: Era
    number: int
    state_uuid: str


MAX_ERAS: Final = 3
"""How often a search for the version may begin again because the era changed."""


class MetadataClock:
    """Reads the metadata version, and waits for changes of it. Used only on the event loop of its client.

    Every method raises `WatchRefused` if Elasticsearch itself doesn't allow it, and `ClusterUnavailable` if
    Elasticsearch can't be asked.
    """

    def __init__(self, client: AsyncElasticsearch) -> None:
        self._client = client
        # Made once, because `options()` copies the client each time.
        self._quick_client = client.options(request_timeout=QUICK_SECONDS)
        self.requests_total = 0

    async def later_than(self, known: MetadataVersion, *, within_seconds: float) -> Seen | None:
        """Wait until the metadata is later than `known`; return None if it isn't within `within_seconds`.

        If there are several nodes, two are asked at once, because one of them may hang or lag behind. Each answer
        counts as it comes:

        1. A later version, or one of a later era: return it, whatever the other node says.
        2. No change, or a version of an earlier era (the node lags behind): give the other node a moment to answer.
        3. A failure: wait for the other node. If both fail, raise the last failure.
        """
        urls = two_nodes(self._client)
        asked = {
            asyncio.create_task(self._reached_at(url, known.number + 1, within_seconds), name=f"wait at {url}")
            for url in urls
        }
        waiting, failure, is_quiet = asked, None, False
        try:
            while waiting:
                done, waiting = await asyncio.wait(
                    waiting, timeout=OTHER_NODE_SECONDS if is_quiet else None, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    break
                for task in done:
                    if (error := task.exception()) is not None:
                        if not isinstance(error, WatchRefused | ClusterUnavailable):
                            raise error
                        failure = error
                    elif (seen := task.result()) is None or seen.era.is_before(known.era):
                        is_quiet = True
                    else:
                        return seen
        finally:
            for task in waiting:
                task.cancel()
            # Wait for all: two may have ended in the same turn, and nothing else retrieves the error of the second.
            await asyncio.gather(*asked, return_exceptions=True)
        if failure is not None and not is_quiet:
            raise failure
        return None

    async def _reached_at(self, url: str, number: int, within_seconds: float) -> Seen | None:
        with only_at(url):
            seen = await self.reached(number, within_seconds=within_seconds)
        return None if seen is None else replace(seen, url=url)

    async def reached(self, number: int, *, within_seconds: float = 0.0) -> Seen | None:
        """Wait until the version is at least `number`; return None if it isn't within `within_seconds`."""
        self.requests_total += 1
        target = TARGET.format(version=number, milliseconds=math.ceil(within_seconds * 1000))
        client = self._quick_client
        if within_seconds:
            client = self._client.options(request_timeout=within_seconds + QUICK_SECONDS)
        try:
            with reading_at_most(MAX_SMALL_ANSWER_BYTES):  # the client for mappings allows more
                response = await client.perform_request("GET", target, headers={"accept": "application/json"})
        except (ApiError, TransportError) as error:
            kind = failure_kind(error)
            if isinstance(error, ApiError) and kind is not None and kind.is_refusal:
                lacking = f", this service's role lacks {missing_privilege(error.body)}"
                why = f"{error.status_code}{lacking if kind is AnswerKind.DENIED else ''}"
                raise WatchRefused(
                    f"Elasticsearch doesn't let us wait for changes ({why}): they are found by full passes alone."
                ) from error
            raise unavailable(error) from error
        try:
            answer = _decoder.decode(response.body)
        except msgspec.MsgspecError as error:
            raise ClusterUnavailable("Elasticsearch answered with something that is not what was asked for.") from error
        if answer.wait_for_timed_out:
            return None
        if answer.cluster_uuid is None or answer.state_uuid is None or answer.metadata is None:
            raise WatchRefused("Elasticsearch doesn't show its term: changes are found by full passes alone.")
        era = Era(answer.cluster_uuid, answer.metadata.cluster_coordination.term)
        return Seen(era, answer.state_uuid, answer.version)

    async def now(self, at_least: int = FIRST) -> MetadataVersion:
        """Return the present version. It is searched for from `at_least` by galloping: steps double until they are too
        large, then the last step is halved. The number of requests is about 2·log₂ of the distance. Raise
        `ClusterUnavailable` if eras change too quickly.
        """
        for _ in range(MAX_ERAS):
            if (found := await self._galloped(at_least)) is not None:
                return found
            at_least = FIRST
        raise ClusterUnavailable(
            "The cluster changes while its version is read: its master changes, or one URL leads to several clusters.",
            retry_after_seconds=5,
        )

    async def _galloped(self, at_least: int) -> MetadataVersion | None:
        """Return the version; None if the era changes during the search.

        If nothing is known, the first step is the version of the whole cluster state. That changes at least as often as
        the metadata, so only the halving is left.
        """
        seen = await self.reached(at_least)
        if seen is None:
            if at_least == FIRST:
                raise ClusterUnavailable("Elasticsearch has not recovered its metadata yet.", retry_after_seconds=5)
            return None  # the version has become lower
        low, step = at_least, max(1, seen.state_version) if at_least == FIRST else 1
        while (higher := await self.reached(low + step)) is not None:
            if higher.era != seen.era:
                return None
            seen = higher
            low += step
            step *= 2
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            if (higher := await self.reached(middle)) is None:
                high = middle
            elif higher.era != seen.era:
                return None
            else:
                low, seen = middle, higher
        return MetadataVersion(seen.era, low, seen.state_uuid)

    async def is_still(self, known: MetadataVersion) -> bool:
        """Return whether the metadata is still the same. Takes one request if nothing at all has happened in the
        cluster, otherwise two.
        """
        seen = await self.reached(known.number)
        if seen is None or seen.era != known.era:
            return False
        return seen.state_uuid == known.state_uuid or await self.reached(known.number + 1) is None
