"""Errors for calls that are refused before anything is sent, and for answers that are too large.

They are errors of elasticsearch-py, as callers get them from its API. They are also errors of this project, so a view
that doesn't catch them answers 503 with `Retry-After`.
"""

from typing import ClassVar

from elastic_transport import TransportError

from esassistant.errors import ClusterUnavailable, EsassistantError, ProblemType
from esassistant.units import as_bytes

TOO_LARGE_RETRY_AFTER_SECONDS = 30.0


class CallRefused(TransportError, EsassistantError):
    """Base of the errors for calls that were not sent. They mark no node as failed, don't count for the breaker, and
    are not tried again.
    """

    status: ClassVar[int] = 503
    title: ClassVar[str] = "Elasticsearch call refused"
    problem_type: ClassVar[ProblemType] = ProblemType(
        "call-refused",
        "This service did not send a call to Elasticsearch, as it could not be answered now.",
        "Ask again after the seconds in `Retry-After`.",
    )

    def __init__(self, detail: str, *, retry_after_seconds: float) -> None:
        TransportError.__init__(self, detail)
        self.detail = self.operator_detail = detail
        self.retry_after_seconds = retry_after_seconds


class PoolTimeout(CallRefused):
    """No connection became free in time (`ELASTICSEARCH_POOL_BLOCK=true`)."""

    title = "Connection pool full"
    problem_type = ProblemType(
        "connection-pool-full",
        "All connections of this process to Elasticsearch are in use.",
        "Ask again after the seconds in `Retry-After`, with fewer requests at once. Operators: `/api/performance` says "
        "whether a larger pool helps.",
    )


class PoolExhausted(CallRefused):
    """All connections and all overflow connections are in use, or too many calls are waiting already."""

    title = PoolTimeout.title
    problem_type = PoolTimeout.problem_type


class BreakerOpen(CallRefused):
    """The breaker is open, or half-open with all its probes under way."""

    title = ClusterUnavailable.title
    problem_type = ClusterUnavailable.problem_type

    def add_cause(self, sentence: str) -> None:
        """Add why the last call failed, as the refused calls can't find that out themselves."""
        self.detail = f"{self.detail} The last failure: {sentence}"
        self.operator_detail = self.detail
        self.message = self.detail
        self.args = (self.detail, *self.args[1:])


class AnswerTooLarge(TransportError, EsassistantError):
    """An answer has more bytes than its client accepts. It was dropped, and its connection was closed.

    This is no `ConnectionError`: the node is well, and the request may be to blame. So it marks no node as failed,
    doesn't count for the breaker, and isn't tried again, which would read as much once more.
    """

    status: ClassVar[int] = 503
    title: ClassVar[str] = "Elasticsearch's answer too large"
    problem_type: ClassVar[ProblemType] = ProblemType(
        "answer-too-large",
        "Elasticsearch's answer has more bytes than this service reads.",
        "Ask for less: fewer names, fewer hits, fewer fields of each.",
    )

    def __init__(self, max_bytes: int) -> None:
        self.detail = f"Elasticsearch answers with more than {as_bytes(max_bytes)}."
        TransportError.__init__(self, self.detail)
        self.retry_after_seconds = TOO_LARGE_RETRY_AFTER_SECONDS
