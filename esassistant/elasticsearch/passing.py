"""Calls whose bodies and answers go through as the bytes that they are.

Between a client's API and its node, elasticsearch-py and elastic-transport encode, decode, copy headers and build
objects that nobody here looks at: more than half of what a search costs. These calls leave that out; they have the same
transport, with its pools, breakers, retries, budget and counts, and the same errors.
"""

from collections.abc import Mapping
from typing import cast

from elastic_transport import ApiResponseMeta
from elasticsearch import ApiError, AsyncElasticsearch
from elasticsearch.exceptions import HTTP_EXCEPTIONS

from esassistant.elasticsearch.node import LEAST_ERROR_STATUS
from esassistant.elasticsearch.transport import Transport

HEADERS = {
    # Without elasticsearch-py's `compatible-with`: the body is the caller's own, for the version of the cluster.
    "accept": "application/json",
    "content-type": "application/json",
    # To compress what is sent on at once costs both sides more than it saves between machines of one place.
    "accept-encoding": "identity",
}


class PassingCalls:
    """Calls by way of one of our clients, with its credentials. Lives as long as that."""

    def __init__(self, client: AsyncElasticsearch, request_timeout: float) -> None:
        """`request_timeout`: seconds that a call may take, with its retries."""
        self._transport = cast("Transport", client.transport)
        self._otel = client._otel  # noqa: SLF001  (each call is one span, as those of the client are)
        self._headers = {**client._headers, **HEADERS}  # noqa: SLF001  (which has no public way)
        self._request_timeout = request_timeout

    async def post(self, target: str, body: bytes, *, endpoint: str, path_parts: Mapping[str, str]) -> bytes:
        """The body of a good answer.

        Args:
            target: path and query, encoded.
            body: JSON.
            endpoint: what elasticsearch-py calls this API, such as `search`; it names the call's span.
            path_parts: of the API, for the span.

        Raises:
            ApiError: for any other answer; its body is bytes.
            TransportError: as the client's own calls do.
        """
        with self._otel.span("POST", endpoint_id=endpoint, path_parts=path_parts) as span:
            meta, answer = await self._transport.pass_on(
                "POST", target, body, self._headers, self._request_timeout, span
            )
            span.set_elastic_cloud_metadata(meta.headers)
            if meta.status >= LEAST_ERROR_STATUS:
                raise error_of(meta, answer)
            return answer


def error_of(meta: ApiResponseMeta, body: bytes) -> ApiError:
    """The error that elasticsearch-py raises for an answer."""
    return HTTP_EXCEPTIONS.get(meta.status, ApiError)(f"status {meta.status}", meta, body)
