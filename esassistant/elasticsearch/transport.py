"""The transport: retries around single attempts.

elastic-transport's own retries are off (`max_retries=0` on each attempt): it sleeps only after exceptions, so that a
503 is tried four times within milliseconds, and a loop of ours around its own would multiply attempts.
"""

import asyncio
from typing import Any

from elastic_transport import AsyncTransport, TransportApiResponse, TransportError

from esassistant.elasticsearch.retry import RetryPolicy
from esassistant.elasticsearch.stats import PoolCounters


class Transport(AsyncTransport):
    """elasticsearch-py's transport with our retry policy. Lives as long as its client."""

    def __init__(self, *args: Any, retry: RetryPolicy, counters: PoolCounters, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._retry = retry
        self.counters = counters

    async def perform_request(  # type: ignore[override]
        self, method: str, target: str, **kwargs: Any
    ) -> TransportApiResponse:
        """One call with its retries. The arguments are those of `AsyncTransport.perform_request`; its retry arguments
        are overruled.
        """
        kwargs.update(max_retries=0, retry_on_status=(), retry_on_timeout=False)
        attempt = 0
        while True:
            attempt += 1
            try:
                response = await super().perform_request(method, target, **kwargs)
            except TransportError as error:
                delay = self._retry.delay_after_error(attempt, method, error)
                if delay is None:
                    raise
            else:
                retry_after = response.meta.headers.get("retry-after")
                delay = self._retry.delay_after_status(attempt, method, response.meta.status, retry_after)
                if delay is None:
                    return response
            self.counters.retries_total += 1
            await asyncio.sleep(delay)
