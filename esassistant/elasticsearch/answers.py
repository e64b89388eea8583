"""Decides what an answer of the cluster means; nothing else does. Pure."""

import enum
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from elasticsearch import ApiError

from esassistant.elasticsearch.search_head import read_head

PRODUCT = ("x-elastic-product", "Elasticsearch")
"""The header of every answer of Elasticsearch's REST layer, also of errors and of answers to HEAD. Only 401 and 403
never have it, with or without security.
"""
BARE_STATUSES = frozenset({413, 417})
"""Elasticsearch's HTTP layer answers these without the header, before the REST layer has seen the request."""
REFUSALS = frozenset({400, 403, 404, 405, 410})
"""The call isn't permitted for our credentials, or doesn't exist there at all (serverless). Trying again won't help."""
BLOCK = "cluster_block_exception"
PRIVILEGES = re.compile(r"granted by the (cluster|index) privileges? \[([a-z_,]{1,500})\]")
"""Matches the end of the reason of a denial. Before it stand the user or key and the roles, which nobody else needs to
know.
"""
USUAL_PRIVILEGES = {"cluster": ("monitor",), "index": ("view_index_metadata", "read")}
"""The privileges that this service needs; docs/operations.md says for what."""
BLOCK_REASON = re.compile(r"(?:index \[([^\[\]\s]{1,255})\] )?blocked by: \[[A-Z_]+/\d+/([\w (),./-]{1,100})\]")
KEY_FAULTS = (
    ("has been invalidated", "the API key has been invalidated"),
    ("is expired", "the API key has expired"),
    ("unable to find apikey", "there is no API key of this id"),
    ("invalid credentials for API key", "the secret of the API key is wrong"),
    ("unable to authenticate user", "the user or the password is wrong"),
    ("missing authentication credentials", "it wants credentials, and has been given none"),
)
"""What is wrong with our credentials, in Elasticsearch's words and in ours. Elasticsearch's own messages contain user
names and ids.
"""

INDEX_FAILURES = frozenset(
    {"search_phase_execution_exception", "no_shard_available_action_exception", "unavailable_shards_exception"}
)
"""Errors with status 503 which say that an index has no shard that could answer. The index is red; the cluster isn't
away.
"""


class AnswerKind(enum.Enum):
    """What an answer means for the caller."""

    ANSWERED = "answered"
    ABSENT = "absent"
    """There is certainly no index, alias or data stream with this name."""
    REFUSED = "refused"
    DENIED = "denied"
    """Refused by Elasticsearch's security: our credentials lack a privilege, on these names or at all."""
    BLOCKED = "blocked"
    """Somebody has set a block on the index or the cluster, and may remove it at any time."""
    UNAUTHORIZED = "unauthorized"
    FAILED = "failed"
    NOT_ELASTICSEARCH = "not Elasticsearch"
    """Something else answered, such as a gateway. The answer says nothing about the cluster, which we can't reach."""

    @property
    def is_refusal(self) -> bool:
        """True if trying again won't help until somebody gives us a privilege, or another cluster."""
        return self in (AnswerKind.REFUSED, AnswerKind.DENIED)


FORBIDDEN = {"security_exception": AnswerKind.DENIED, BLOCK: AnswerKind.BLOCKED}
"""The meaning of a 403, by the type of its error."""


def answer_kind(status: int, headers: Mapping[str, str], body: object = None, name: str | None = None) -> AnswerKind:
    """Decide what an answer means.

    Args:
        status: The HTTP status.
        headers: The headers of the answer; looked up by lower-case names.
        body: The body of an error, decoded or as JSON bytes. Needed for `ABSENT`, `DENIED` and `BLOCKED`.
        name: The one index, alias or data stream that the call was for.
    """
    # The first rule that applies:
    # 1. 429 or 5xx: FAILED, whoever sent it. The cluster, or something in front of it, can't serve.
    # 2. 401: UNAUTHORIZED, whoever sent it. Good credentials get it too while the security index recovers.
    # 3. 413 or 417: FAILED; these never have the header.
    # 4. 403 whose body is an error in Elasticsearch's form: DENIED, BLOCKED or REFUSED, by the type of the error. A 403
    #    never has the header.
    # 5. No header: NOT_ELASTICSEARCH, whatever the status.
    # 6. 2xx: ANSWERED.
    # 7. 404 with an error that says that no index has exactly this name: ABSENT. The error may name another index: a
    #    search may lack a different index than the one it was sent to, and with a superfluous path in the URL
    #    Elasticsearch takes a part of the path for a name.
    # 8. 400, 403, 404, 405, 410: REFUSED.
    # 9. Anything else (a redirect, 406, 409): FAILED.
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
    """Return what the answer means for which `error` was raised, or None if the error isn't about an answer. `name`:
    see `answer_kind`.
    """
    if not isinstance(error, ApiError):
        return None
    return answer_kind(error.meta.status, error.meta.headers, error.body, name)


def missing_index(body: object) -> str | None:
    """Return the index name that an error of Elasticsearch (decoded or as bytes) says doesn't exist, or None."""
    match _error_of(body):
        case {"type": "index_not_found_exception", "resource.id": str(name)}:
            return name
    return None


def closed_index(body: object) -> str | None:
    """Return the index that an error of Elasticsearch (decoded or as bytes) says is closed, or None."""
    match _error_of(body):
        case {"type": "index_closed_exception", "index": str(name)}:
            return name
    return None


def is_index_failure(status: int, body: object) -> bool:
    """Return True if an answer says that an index can't answer now. `body` is decoded or bytes.

    Such an answer says nothing against the cluster, nor against the node that sent it. Trying again at once doesn't
    help.
    """
    if status != 503:
        return False
    return _error_of(body).get("type") in INDEX_FAILURES


def is_partial(body: object) -> bool:
    """Return True if the answer to a search says itself that it is incomplete: its time ran out, or shards failed.

    `body` is decoded or bytes; of bytes, only the head is read.
    """
    if isinstance(body, bytes):
        head = read_head(body)
        return head is not None and (head.timed_out or head.failed_shards > 0)
    if not isinstance(body, Mapping):
        return False
    shards = body.get("_shards")
    return body.get("timed_out") is True or (isinstance(shards, Mapping) and shards.get("failed") not in (0, None))


def missing_privilege(body: object) -> str:
    """Return the privilege that would allow a denied call, as the error says. If it names several, the first that this
    project usually has is taken.
    """
    found = PRIVILEGES.search(_reason_of(body))
    if found is None:
        return "a privilege that Elasticsearch doesn't name"
    scope, privileges = found[1], found[2].split(",")
    wanted = next((usual for usual in USUAL_PRIVILEGES[scope] if usual in privileges), privileges[0])
    return f"the {scope} privilege {wanted}"


def block_reason(body: object) -> str | None:
    """Return the block that an error names, such as "index read (api) of orders", or None if the error isn't about a
    block.
    """
    if _error_of(body).get("type") != BLOCK:
        return None
    found = BLOCK_REASON.search(_reason_of(body))
    if found is None:
        return "one that Elasticsearch doesn't name"
    return found[2] if found[1] is None else f"{found[2]} of {found[1]}"


def credentials_fault(body: object) -> str | None:
    """Return what is wrong with our credentials, as a 401 of Elasticsearch says, or None if it doesn't say."""
    said = f"{_error_of(body).get('additional_unsuccessful_credentials', '')} {_reason_of(body)}"
    return next((ours for theirs, ours in KEY_FAULTS if theirs in said), None)


def _error_of(body: object) -> Mapping[str, Any]:
    """Return the error in an answer of Elasticsearch (decoded or as bytes), or an empty mapping."""
    match _decoded(body):
        case {"error": dict(error)}:
            return error
    return {}


def _decoded(body: object) -> object:
    if not isinstance(body, bytes):
        return body
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):  # msgspec's own error is a ValueError too
        return None


def _reason_of(body: object) -> str:
    reason = _error_of(body).get("reason")
    return reason if isinstance(reason, str) else ""
