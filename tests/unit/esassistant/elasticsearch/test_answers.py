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
    failure_kind,
    is_index_failure,
    missing_index,
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
    """Without the header nothing is proven, whatever the status and whatever the body says."""
    kinds = {
        answer_kind(status, headers, index_not_found("a").encode(), "a")
        for status in (200, 204, 301, 302, 400, 403, 404, 405, 406, 410)
    }
    assert kinds == {AnswerKind.NOT_ELASTICSEARCH}


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
