"""What an answer of the cluster means: the one place that decides it. Pure."""

import enum
from collections.abc import Mapping

import msgspec
from elasticsearch import ApiError

PRODUCT = ("x-elastic-product", "Elasticsearch")
"""The header that is on every answer of Elasticsearch's REST layer, also on errors and on answers to HEAD."""
BARE_STATUSES = frozenset({413, 417})
"""Elasticsearch's HTTP layer gives these before the REST layer has seen the request, without the header."""
REFUSALS = frozenset({400, 403, 404, 405, 410})
"""Not allowed to our credentials, or not there at all (serverless): asking again won't help."""

INDEX_FAILURES = frozenset(
    {"search_phase_execution_exception", "no_shard_available_action_exception", "unavailable_shards_exception"}
)
"""Errors by which Elasticsearch says, with 503, that an index has no shards to ask: the index is red, not the cluster
away.
"""


class AnswerKind(enum.Enum):
    """What an answer means for whoever asked."""

    ANSWERED = "answered"
    ABSENT = "absent"
    """It is proven that there is no index, alias or data stream of the name."""
    REFUSED = "refused"
    UNAUTHORIZED = "unauthorized"
    FAILED = "failed"
    NOT_ELASTICSEARCH = "not Elasticsearch"
    """Something else answered, a gateway for instance. It says nothing of the cluster, which can't be asked."""


def answer_kind(status: int, headers: Mapping[str, str], body: object = None, name: str | None = None) -> AnswerKind:
    """Decide what an answer means.

    Args:
        status: the HTTP status.
        headers: of the answer; looked up by lower-case names.
        body: of an error, decoded or as JSON bytes. Needed for `ABSENT` alone.
        name: the one index, alias or data stream that was asked for.
    """
    # The first that applies:
    #   1. 429 and 5xx: failed, whoever says so. The cluster, or what stands before it, can't serve.
    #   2. 401: unauthorized, whoever says so. While the security index recovers, good credentials get it too.
    #   3. 413 and 417: failed; the header proves nothing there.
    #   4. No header: not Elasticsearch, whatever the status.
    #   5. 2xx: answered.
    #   6. 404, and the error says that no index has exactly that name: absent. A search may miss another index than
    #      the one that it was sent to, and a URL with a path too many names one that nobody asked for.
    #   7. 400, 403, 404, 405, 410: refused.
    #   8. Anything else (a redirect, 406, 409): failed.
    header, value = PRODUCT
    if status == 429 or status >= 500 or status in BARE_STATUSES:
        return AnswerKind.FAILED
    if status == 401:
        return AnswerKind.UNAUTHORIZED
    if headers.get(header) != value:
        return AnswerKind.NOT_ELASTICSEARCH
    if 200 <= status < 300:
        return AnswerKind.ANSWERED
    if status == 404 and name is not None and missing_index(body) == name:
        return AnswerKind.ABSENT
    return AnswerKind.REFUSED if status in REFUSALS else AnswerKind.FAILED


def failure_kind(error: BaseException | None, name: str | None = None) -> AnswerKind | None:
    """Decide what the answer means that `error` was raised for; None: it isn't an answer's. `name` as above."""
    if not isinstance(error, ApiError):
        return None
    return answer_kind(error.meta.status, error.meta.headers, error.body, name)


def missing_index(body: object) -> str | None:
    """Return the name of which an error of Elasticsearch, decoded or as bytes, says that no index has it."""
    match _decoded(body):
        case {"error": {"type": "index_not_found_exception", "resource.id": str(name)}}:
            return name
    return None


def is_index_failure(status: int, body: object) -> bool:
    """Say whether an answer, its body decoded or as bytes, is about an index that can't be asked: it says nothing
    against the cluster, nor against the node that gave it, and asking again at once doesn't help.
    """
    if status != 503:
        return False
    match _decoded(body):
        case {"error": {"type": str(kind)}}:
            return kind in INDEX_FAILURES
    return False


def _decoded(body: object) -> object:
    if not isinstance(body, bytes):
        return body
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):  # msgspec's own error is a ValueError
        return None
