"""What an answer of the cluster means: every case of the one decision."""

import json
from typing import Any

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import ApiError, ConnectionTimeout

from esassistant.elasticsearch.answers import (
    INDEX_FAILURES,
    AnswerKind,
    answer_kind,
    block_reason,
    closed_index,
    credentials_fault,
    failure_kind,
    is_index_failure,
    is_partial,
    missing_index,
    missing_privilege,
)
from tests.support.fakes import index_not_found

OURS = {"x-elastic-product": "Elasticsearch"}


@pytest.mark.parametrize("headers", [OURS, {}], ids=["Elasticsearch", "gateway"])
@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ((429, 500, 501, 502, 503, 504), AnswerKind.FAILED),
        ((413, 417), AnswerKind.FAILED),
        ((401,), AnswerKind.UNAUTHORIZED),
    ],
)
def test_whoever_says_so(headers: dict[str, str], statuses: tuple[int, ...], kind: AnswerKind) -> None:
    """Overload, failure, a body too large, and refused credentials mean the same from a gateway."""
    assert {answer_kind(status, headers) for status in statuses} == {kind}


@pytest.mark.parametrize("headers", [{}, {"x-elastic-product": ""}, {"x-elastic-product": "Other"}])
def test_what_is_not_elasticsearch(headers: dict[str, str]) -> None:
    """Without the header nothing is proven, whatever the status and, 403 aside, whatever the body says."""
    kinds = {
        answer_kind(status, headers, index_not_found("a").encode(), "a")
        for status in (200, 204, 301, 302, 400, 404, 405, 406, 410)
    }
    assert kinds == {AnswerKind.NOT_ELASTICSEARCH}


def error(kind: object, reason: object = "no", **more: object) -> dict[str, Any]:
    return {"error": {"root_cause": [], "type": kind, "reason": reason, **more}}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (error("security_exception"), AnswerKind.DENIED),
        (json.dumps(error("security_exception")).encode(), AnswerKind.DENIED),
        (error("cluster_block_exception"), AnswerKind.BLOCKED),
        (error("something_else_exception"), AnswerKind.REFUSED),
        ({"error": {"type": "security_exception", "reason": "no"}}, AnswerKind.NOT_ELASTICSEARCH),
        (error(None), AnswerKind.REFUSED),
        ({"error": "forbidden"}, AnswerKind.NOT_ELASTICSEARCH),
        ({"message": "Forbidden"}, AnswerKind.NOT_ELASTICSEARCH),
        (b"<html>forbidden</html>", AnswerKind.NOT_ELASTICSEARCH),
        (b"", AnswerKind.NOT_ELASTICSEARCH),
    ],
)
def test_forbidden(body: Any, kind: AnswerKind) -> None:
    """Elasticsearch puts no header on a 403: that it is its own, and what it means, is seen by the body's error."""
    assert answer_kind(403, {}, body) is kind
    assert kind.is_refusal is (kind in (AnswerKind.DENIED, AnswerKind.REFUSED))


GRANTED = (
    "action [x] is unauthorized for user [u] with effective roles [r] on indices [i], this action is granted by the "
)


@pytest.mark.parametrize(
    ("reason", "privilege"),
    [
        (GRANTED + "cluster privileges [monitor,manage,all]", "the cluster privilege monitor"),
        (GRANTED + "cluster privileges [read_ccr,transport_client,monitor,all]", "the cluster privilege monitor"),
        (GRANTED + "index privileges [view_index_metadata,manage,all]", "the index privilege view_index_metadata"),
        (GRANTED + "index privileges [read,all]", "the index privilege read"),
        (GRANTED + "index privileges [create_doc,index]", "the index privilege create_doc"),
        ("current license is non-compliant for [x]", "a privilege that Elasticsearch doesn't name"),
        (GRANTED + "index privileges [<b>secret</b>]", "a privilege that Elasticsearch doesn't name"),
        (["no", "text"], "a privilege that Elasticsearch doesn't name"),
    ],
)
def test_missing_privileges(reason: object, privilege: str) -> None:
    """The least privilege that would do is named; nothing else of the reason is, which names users and roles."""
    assert missing_privilege(error("security_exception", reason)) == privilege


def test_the_privilege_for_settings() -> None:
    """Of privileges that would do, the one that mappings need anyhow, and not one more."""
    reason = GRANTED + "index privileges [monitor,view_index_metadata,manage,all]"
    assert missing_privilege(error("security_exception", reason)) == "the index privilege view_index_metadata"


@pytest.mark.parametrize(
    ("body", "block"),
    [
        (
            error("cluster_block_exception", "index [a] blocked by: [FORBIDDEN/7/index read (api)];"),
            "index read (api) of a",
        ),
        (
            error("cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];"),
            "state not recovered / initialized",
        ),
        (error("cluster_block_exception", "for some reason"), "one that Elasticsearch doesn't name"),
        (error("security_exception", "index [a] blocked by: [FORBIDDEN/7/index read (api)];"), None),
        (b"<html>", None),
    ],
)
def test_blocks(body: object, block: str | None) -> None:
    """A block is named by its own text, and the index that has it."""
    assert block_reason(body) == block


UNABLE = "unable to authenticate with provided credentials and anonymous access is not allowed for this request"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (
            error(
                "security_exception",
                UNABLE,
                additional_unsuccessful_credentials="API key: api key [x] has been invalidated",
            ),
            "the API key has been invalidated",
        ),
        (
            error("security_exception", UNABLE, additional_unsuccessful_credentials="API key: api key is expired"),
            "the API key has expired",
        ),
        (
            error(
                "security_exception",
                UNABLE,
                additional_unsuccessful_credentials="API key: unable to find apikey with id x",
            ),
            "there is no API key of this id",
        ),
        (
            error(
                "security_exception",
                UNABLE,
                additional_unsuccessful_credentials="API key: invalid credentials for API key [x]",
            ),
            "the secret of the API key is wrong",
        ),
        (
            error("security_exception", "unable to authenticate user [x] for REST request [/]"),
            "the user or the password is wrong",
        ),
        (
            error("security_exception", "missing authentication credentials for REST request [/]"),
            "it wants credentials, and has been given none",
        ),
        (error("security_exception", UNABLE), None),
        (b"<html>", None),
    ],
)
def test_faults_of_credentials(body: object, fault: str | None) -> None:
    """What is wrong with our credentials is said in our words: Elasticsearch's have user names and ids of keys."""
    assert credentials_fault(body) == fault


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ((200, 201, 204), AnswerKind.ANSWERED),
        ((400, 403, 404, 405, 410), AnswerKind.REFUSED),
        ((302, 304, 406, 408, 409), AnswerKind.FAILED),
    ],
)
def test_what_elasticsearch_says(statuses: tuple[int, ...], kind: AnswerKind) -> None:
    """With the header the status says what an answer means, unless it proves that a name is absent."""
    assert {answer_kind(status, OURS) for status in statuses} == {kind}


def test_the_header_in_any_case() -> None:
    """Names of headers have no case: Elasticsearch writes `X-elastic-product`."""
    assert answer_kind(200, HttpHeaders({"X-elastic-product": "Elasticsearch"})) is AnswerKind.ANSWERED


@pytest.mark.parametrize(
    ("status", "body", "name", "kind"),
    [
        (404, index_not_found("a").encode(), "a", AnswerKind.ABSENT),
        (404, json.loads(index_not_found("a")), "a", AnswerKind.ABSENT),
        (404, index_not_found("b").encode(), "a", AnswerKind.REFUSED),
        (404, index_not_found("a").encode(), None, AnswerKind.REFUSED),
        (400, index_not_found("a").encode(), "a", AnswerKind.REFUSED),
        (404, b'{"error":{"type":"resource_not_found_exception","resource.id":"a"}}', "a", AnswerKind.REFUSED),
        (404, b'{"error":{"type":"index_not_found_exception"}}', "a", AnswerKind.REFUSED),
        (404, b'{"error":"alias [a] missing","status":404}', "a", AnswerKind.REFUSED),
        (404, None, "a", AnswerKind.REFUSED),
    ],
)
def test_absence_is_proven(status: int, body: Any, name: str | None, kind: AnswerKind) -> None:
    """A name is absent only by a 404 whose error says that no index has that very name."""
    assert answer_kind(status, OURS, body, name) is kind


@pytest.mark.parametrize("body", [b"", b"404 page not found", b"<html>", b"\xff", b"[]", b"null", b"[" * 5_000, "a"])
def test_bodies_that_name_nothing(body: object) -> None:
    """A body of any kind may come with an error: it proves nothing, and raises nothing."""
    assert missing_index(body) is None


@pytest.mark.parametrize("kind", sorted(INDEX_FAILURES))
def test_failures_of_an_index(kind: str) -> None:
    """A 503 that names one of these errors, in a body decoded or not, is about an index; no other answer is."""
    body = {"error": {"type": kind}, "status": 503}
    assert is_index_failure(503, body)
    assert is_index_failure(503, json.dumps(body).encode())
    assert not is_index_failure(500, body)
    others: tuple[object, ...] = ({"error": {"type": "cluster_block_exception"}}, {"error": kind}, b"<html>", b"", None)
    assert not any(is_index_failure(503, other) for other in others)


def test_failures() -> None:
    """An error that was raised for an answer means what the answer does; others are no answer's."""
    meta = ApiResponseMeta(404, "1.1", HttpHeaders(OURS), 0.0, NodeConfig("http", "es", 9200))
    error = ApiError("x", meta, index_not_found("a").encode())
    assert (failure_kind(error, "a"), failure_kind(error)) == (AnswerKind.ABSENT, AnswerKind.REFUSED)
    assert failure_kind(ConnectionTimeout("x")) is failure_kind(None) is None


WHOLE = {"took": 1, "timed_out": False, "_shards": {"total": 2, "successful": 2, "failed": 0}, "hits": {"hits": []}}
IN_PART: list[dict[str, Any]] = [{**WHOLE, "timed_out": True}, {**WHOLE, "_shards": {"total": 2, "failed": 1}}]


@pytest.mark.parametrize("body", IN_PART)
def test_answers_in_part(body: dict[str, Any]) -> None:
    """A search whose time ran out, or whose shards failed, says so, decoded or as bytes; a field of that name in a hit
    doesn't.
    """
    assert is_partial(body)
    assert is_partial(json.dumps(body).encode())
    nested = {**WHOLE, "hits": {"hits": [{"_source": body}]}}
    for whole in (WHOLE, nested, {"took": 1}, {"hits": {"_source": body}}):
        assert not is_partial(whole)
        assert not is_partial(json.dumps(whole).encode())
    assert not is_partial(None)


def test_a_closed_index_is_named() -> None:
    """Only an error that says so names a closed index, decoded or as bytes."""
    error = {"error": {"type": "index_closed_exception", "index": "old", "root_cause": []}}
    assert closed_index(error) == closed_index(json.dumps(error).encode()) == "old"
    assert closed_index(index_not_found("gone")) is None
    assert closed_index(b"<html>") is None
