"""The version of each index's mapping. It grows with every change, even one that leaves the number of fields as it is.

Elasticsearch gives it only in the cluster state. It renders the whole state before it filters the answer, so the answer
is small, but expensive for the cluster.
"""

import msgspec
from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from cacheapp.cluster.reader import MAX_LISTING_BYTES
from cacheapp.errors import VersionsRefused
from esassistant.elasticsearch.answers import failure_kind
from esassistant.elasticsearch.client import unavailable
from esassistant.elasticsearch.node import reading_at_most
from esassistant.errors import ClusterUnavailable
from esassistant.long_work import in_thread_if_large

TARGET = (
    "/_cluster/state/metadata?filter_path=wait_for_timed_out,metadata.indices.*.mapping_version"
    "&wait_for_metadata_version={version}&wait_for_timeout=500ms"
)
TIMEOUT_SECONDS = 5.0


class _Index(msgspec.Struct, gc=False):
    mapping_version: int


class _Metadata(msgspec.Struct):
    indices: dict[str, _Index] = {}


class _Answer(msgspec.Struct):
    wait_for_timed_out: bool
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


_decoder = msgspec.json.Decoder(_Answer)


class MappingVersions:
    """Reads the versions of all mappings. Used only on the event loop of its client, which leaves bodies as bytes."""

    def __init__(self, client: AsyncElasticsearch) -> None:
        # Made once, because `options()` copies the client each time.
        self._client = client.options(request_timeout=TIMEOUT_SECONDS)
        self.requests_total = 0

    async def read(self, metadata_version: int) -> dict[str, int]:
        """Return the version of the mapping of each index that our credentials may see.

        Args:
            metadata_version: the version that the answering node must have applied: a node that lags behind would miss
                the change.

        Raises:
            VersionsRefused: Elasticsearch itself doesn't allow it.
            ClusterUnavailable: Elasticsearch can't be asked, or the node still lags behind.
        """
        self.requests_total += 1
        target = TARGET.format(version=metadata_version)
        try:
            with reading_at_most(MAX_LISTING_BYTES):
                response = await self._client.perform_request("GET", target, headers={"accept": "application/json"})
        except (ApiError, TransportError) as error:
            kind = failure_kind(error)
            if isinstance(error, ApiError) and kind is not None and kind.is_refusal:
                raise VersionsRefused(
                    f"Elasticsearch doesn't tell the versions of mappings ({error.status_code}): changes of parameters "
                    "alone are found by full passes."
                ) from error
            raise unavailable(error) from error
        body: bytes = response.body
        try:
            return await in_thread_if_large(len(body), _versions, body)
        except msgspec.MsgspecError as error:
            raise ClusterUnavailable("Elasticsearch answered with something that is not what was asked for.") from error


def _versions(body: bytes) -> dict[str, int]:
    answer = _decoder.decode(body)
    if answer.wait_for_timed_out:
        raise ClusterUnavailable("The node that answered lags behind the master.")
    return {name: index.mapping_version for name, index in answer.metadata.indices.items()}
