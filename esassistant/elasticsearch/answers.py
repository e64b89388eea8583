"""What an answer of the cluster means: the one place that decides it. Pure."""

import enum
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from elasticsearch import ApiError

from esassistant.elasticsearch.search_head import read_head

PRODUCT = ("x-elastic-product", "Elasticsearch")
"""The header that is on every answer of Elasticsearch's REST layer, also on errors and on answers to HEAD; but never on
401 and 403, with security or without.
"""
BARE_STATUSES = frozenset({413, 417})
"""Elasticsearch's HTTP layer gives these before the REST layer has seen the request, without the header."""
REFUSALS = frozenset({400, 403, 404, 405, 410})
"""Not allowed to our credentials, or not there at all (serverless): asking again won't help."""
BLOCK = "cluster_block_exception"
PRIVILEGES = re.compile(r"granted by the (cluster|index) privileges? \[([a-z_,]{1,500})\]")
"""At the end of the reason of a denial; before it stand the user or key and the roles, which nobody else needs."""
USUAL_PRIVILEGES = {"cluster": ("monitor",), "index": ("view_index_metadata", "read")}
"""What this service needs, docs/operations.md says for what."""
BLOCK_REASON = re.compile(r"(?:index \[([^\[\]\s]{1,255})\] )?blocked by: \[[A-Z_]+/\d+/([\w (),./-]{1,100})\]")
KEY_FAULTS = (
    ("has been invalidated", "the API key has been invalidated"),
    ("is expired", "the API key has expired"),
    ("unable to find apikey", "there is no API key of this id"),
    ("invalid credentials for API key", "the secret of the API key is wrong"),
    ("unable to authenticate user", "the user or the password is wrong"),
    ("missing authentication credentials", "it wants credentials, and has been given none"),
)
"""What is said of credentials, in Elasticsearch's words and in ours: its own have user names and ids in them."""

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
    DENIED = "denied"
    """Refused by Elasticsearch's security: our credentials lack a privilege, on what was asked for or at all."""
    BLOCKED = "blocked"
    """Somebody has blocked the index, or the cluster; it may be lifted at any time."""
    UNAUTHORIZED = "unauthorized"
    FAILED = "failed"
    NOT_ELASTICSEARCH = "not Elasticsearch"
    """Something else answered, a gateway for instance. It says nothing of the cluster, which can't be asked."""

    @property
    def is_refusal(self) -> bool:
        """Whether asking again won't help until somebody gives us a privilege, or another cluster."""
        return self in (AnswerKind.REFUSED, AnswerKind.DENIED)


FORBIDDEN = {"security_exception": AnswerKind.DENIED, BLOCK: AnswerKind.BLOCKED}
"""What a 403 means, by the type of its error."""


def answer_kind(status: int, headers: Mapping[str, str], body: object = None, name: str | None = None) -> AnswerKind:
    """Decide what an answer means.

    Args:
        status: the HTTP status.
        headers: of the answer; looked up by lower-case names.
        body: of an error, decoded or as JSON bytes. Needed for `ABSENT`, `DENIED` and `BLOCKED`.
        name: the one index, alias or data stream that was asked for.
    """
    # The first that applies:
    #   1. 429 and 5xx: failed, whoever says so. The cluster, or what stands before it, can't serve.
    #   2. 401: unauthorized, whoever says so. While the security index recovers, good credentials get it too.
    #   3. 413 and 417: failed; the header proves nothing there.
    #   4. 403 whose body is an error in Elasticsearch's form: denied by its security, blocked, or refused, by the type
    #      of the error. There is no header that could prove it.
    #   5. No header: not Elasticsearch, whatever the status.
    #   6. 2xx: answered.
    #   7. 404, and the error says that no index has exactly that name: absent. A search may miss another index than
    #      the one that it was sent to, and a URL with a path too many names one that nobody asked for.
    #   8. 400, 403, 404, 405, 410: refused.
    #   9. Anything else (a redirect, 406, 409): failed.
    header, value = PRODUCT
    if status == 429 or status >= 500 or status in BARE_STATUSES:
        return AnswerKind.FAILED
    if status == 401:
        return AnswerKind.UNAUTHORIZED
    if status == 403 and isinstance((error := _error_of(body)).get("root_cause"), list):
        return FORBIDDEN.get(str(error.get("type")), AnswerKind.REFUSED)
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
    match _error_of(body):
        case {"type": "index_not_found_exception", "resource.id": str(name)}:
            return name
    return None


def closed_index(body: object) -> str | None:
    """Return the index of which an error of Elasticsearch, decoded or as bytes, says that it is closed."""
    match _error_of(body):
        case {"type": "index_closed_exception", "index": str(name)}:
            return name
    return None


def is_index_failure(status: int, body: object) -> bool:
    """Say whether an answer, its body decoded or as bytes, is about an index that can't be asked: it says nothing
    against the cluster, nor against the node that gave it, and asking again at once doesn't help.
    """
    if status != 503:
        return False
    return _error_of(body).get("type") in INDEX_FAILURES


def is_partial(body: object) -> bool:
    """Say whether the answer to a search, decoded or as bytes, says itself that it is not whole: its time ran out, or
    shards failed. Of bytes the head is read.
    """
    if isinstance(body, bytes):
        head = read_head(body)
        return head is not None and (head.timed_out or head.failed_shards > 0)
    if not isinstance(body, Mapping):
        return False
    shards = body.get("_shards")
    return body.get("timed_out") is True or (isinstance(shards, Mapping) and shards.get("failed") not in (0, None))


def missing_privilege(body: object) -> str:
    """Name the privilege that a denial says would allow the call: of several, the least that this project asks for."""
    found = PRIVILEGES.search(_reason_of(body))
    if found is None:
        return "a privilege that Elasticsearch doesn't name"
    scope, privileges = found[1], found[2].split(",")
    wanted = next((usual for usual in USUAL_PRIVILEGES[scope] if usual in privileges), privileges[0])
    return f"the {scope} privilege {wanted}"


def block_reason(body: object) -> str | None:
    """Return the block that an error says is in the way, such as "index read (api) of orders"; None: it says nothing of
    a block.
    """
    if _error_of(body).get("type") != BLOCK:
        return None
    found = BLOCK_REASON.search(_reason_of(body))
    if found is None:
        return "one that Elasticsearch doesn't name"
    return found[2] if found[1] is None else f"{found[2]} of {found[1]}"


def credentials_fault(body: object) -> str | None:
    """Say what a 401 of Elasticsearch says is wrong with our credentials; None: it doesn't say."""
    said = f"{_error_of(body).get('additional_unsuccessful_credentials', '')} {_reason_of(body)}"
    return next((ours for theirs, ours in KEY_FAULTS if theirs in said), None)


def _error_of(body: object) -> Mapping[str, Any]:
    """The error in an answer of Elasticsearch, decoded or as bytes; empty where there is none."""
    match _decoded(body):
        case {"error": dict(error)}:
            return error
    return {}


def _decoded(body: object) -> object:
    if not isinstance(body, bytes):
        return body
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):  # msgspec's own error is a ValueError
        return None


def _reason_of(body: object) -> str:
    reason = _error_of(body).get("reason")
    return reason if isinstance(reason, str) else ""
