"""Calls whose request bodies and answers are passed on as bytes.

Between the API of a client and its node, elasticsearch-py and elastic-transport encode, decode, copy headers and build
objects that nobody needs here. That is more than half of what a search costs, and these calls leave it out. They use
the same transport, with its pools, breakers, retries, budget and counts, and raise the same errors.
"""

from collections.abc import Mapping
from typing import cast

from elastic_transport import ApiResponseMeta
from elasticsearch import ApiError, AsyncElasticsearch
from elasticsearch.exceptions import HTTP_EXCEPTIONS

from esassistant.elasticsearch.node import LEAST_ERROR_STATUS
from esassistant.elasticsearch.transport import Transport

HEADERS = {
    # Without the `compatible-with` of elasticsearch-py: the body comes from the caller, and is meant for the version of
    # the cluster.
    "accept": "application/json",
    "content-type": "application/json",
    # Compressing an answer that is passed on at once costs both sides more than it saves, between machines in one
    # place.
    "accept-encoding": "identity",
}


class PassingCalls:
    """Makes calls whose bodies are passed on, through one of our clients, with its credentials. Lives as long as it."""

    def __init__(self, client: AsyncElasticsearch, request_timeout: float) -> None:
        """
        Args:
            request_timeout: How many seconds a call may take, with its retries.
        """
        self._transport = cast("Transport", client.transport)
        self._otel = client._otel  # noqa: SLF001  (each call is one span, as those of the client are)
        self._headers = {**client._headers, **HEADERS}  # noqa: SLF001  (which has no public way)
        self._request_timeout = request_timeout

    async def post(self, target: str, body: bytes, *, endpoint: str, path_parts: Mapping[str, str]) -> bytes:
        """Send a POST and return the body of a successful answer.

        Args:
            target: Path and query, encoded.
            body: JSON.
            endpoint: The name of this API in elasticsearch-py, such as `search`; it names the call's OpenTelemetry
                span.
            path_parts: The parts of the API's path, for the span.

        Raises:
            ApiError: Any other answer; its body is bytes.
            TransportError: As for calls of the client itself.
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
    """Return the error that elasticsearch-py would raise for an answer."""
    return HTTP_EXCEPTIONS.get(meta.status, ApiError)(f"status {meta.status}", meta, body)
