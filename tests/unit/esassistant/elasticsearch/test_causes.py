"""Why Elasticsearch can't be asked; tests/faults/test_causes.py has the same on real servers."""

import gzip
import json
import zlib
from typing import Any

import aiohttp
import pytest

from esassistant.connection_causes import Cause
from esassistant.elasticsearch.causes import (
    NodeFailure,
    Product,
    cause_of,
    has_path_too_many,
    not_elasticsearch,
    product_of,
    unreachable,
)

ELASTIC = "You Know, for Search"
OPENSEARCH = Product(is_opensearch=True, version="2.19.1")


def raised_for(error: Exception, origin: Exception) -> Exception:
    error.__cause__ = origin
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (aiohttp.ClientConnectorDNSError(None, OSError(None, "by another resolver")), Cause.NAME),  # type: ignore[arg-type]
        (aiohttp.ServerDisconnectedError(), Cause.CLOSED),
        (aiohttp.ServerDisconnectedError(object()), Cause.CUT),  # type: ignore[arg-type]  # a part of the head
        (aiohttp.ClientPayloadError("not completed"), Cause.CUT),
        (raised_for(aiohttp.ClientPayloadError("x"), ConnectionResetError("Connection lost")), Cause.CUT),
        (raised_for(aiohttp.ClientPayloadError("x"), gzip.BadGzipFile("no gzip")), None),
        (raised_for(aiohttp.ClientPayloadError("x"), zlib.error("broken")), None),
        (raised_for(aiohttp.ClientPayloadError("x"), EOFError()), None),
        (aiohttp.ClientResponseError(None, (), status=400), Cause.NOT_HTTP),  # type: ignore[arg-type]
        (ConnectionResetError("Connection lost"), Cause.CLOSED),
        (ValueError("something else"), None),
    ],
)
def test_causes(error: Exception, cause: Cause | None) -> None:
    """Told by the error of aiohttp, and by those that it came from."""
    assert cause_of(error) is cause


def root(number: object, tagline: object = ELASTIC, **version: object) -> bytes:
    return json.dumps({"version": {"number": number, **version}, "tagline": tagline}).encode()


@pytest.mark.parametrize(
    ("body", "product"),
    [
        (root("2.19.1", "x", distribution="opensearch"), OPENSEARCH),
        (root("2.19.1", "The OpenSearch Project: https://opensearch.org/"), OPENSEARCH),
        (root("7.10.2"), Product(is_opensearch=False, version="7.10.2")),
        (root("9.0.0-beta1"), Product(is_opensearch=False, version="9.0.0-beta1")),
        (root("7.10.2", "something else"), None),
        (root("<script>"), None),
        (root("9"), None),
        (root(9), None),
        (b"{}", None),
        (b"[]", None),
        (b"<html>", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
)
def test_products(body: bytes, product: Product | None) -> None:
    """Named by what they say at their root; what is no version is not repeated."""
    assert product_of(body) == product


@pytest.mark.parametrize(
    ("product", "has_path", "words"),
    [
        (None, False, "is not Elasticsearch (status 404): a gateway, or a path is missing in the URL."),
        (None, True, "is not Elasticsearch (status 404): a gateway, or the path in the URL is wrong."),
        (OPENSEARCH, False, "is OpenSearch 2.19.1, which is not supported."),
        (Product(is_opensearch=False, version="7.13.4"), False, "is Elasticsearch 7.13.4, which is too old."),
        (Product(is_opensearch=False, version="7.14.0"), True, "is Elasticsearch 7.14.0 behind a gateway"),
        (Product(is_opensearch=False, version="9.0-beta"), True, "is Elasticsearch 9.0-beta behind a gateway"),
    ],
)
def test_what_answers_instead(product: Product | None, has_path: bool, words: str) -> None:
    """Each has its own sentence; host and port are for operators alone."""
    callers = not_elasticsearch(404, product, has_path=has_path)
    operators = not_elasticsearch(404, product, has_path=has_path, at="es:9200")
    assert callers.startswith(f"What answers at ELASTICSEARCH_URL {words}")
    assert operators == callers.replace("ELASTICSEARCH_URL", "ELASTICSEARCH_URL (es:9200)", 1)


@pytest.mark.parametrize(
    ("status", "body", "is_so"),
    [
        (400, {"error": "no handler found for uri [/es/_cluster/health] and method [GET]"}, True),
        (400, b'{"error":"no handler found for uri [/es/_x] and method [GET]"}', True),
        (404, {"error": "no handler found for uri [/es/_x] and method [GET]"}, False),
        (400, {"error": {"type": "parsing_exception"}}, False),
        (400, {"error": "something else"}, False),
        (400, b"no JSON", False),
        (400, None, False),
    ],
)
def test_a_path_too_many(status: int, body: Any, is_so: bool) -> None:
    """Elasticsearch says in these words that it has nothing at an address."""
    assert has_path_too_many(status, body) is is_so


def test_a_failure_says_its_cause() -> None:
    """For a traceback: the cause, and nothing that a server sent."""
    assert str(NodeFailure("es:9200", Cause.REFUSED)) == "cause-refused"
    assert str(NodeFailure("es:9200", product=OPENSEARCH)) == "no cause is known"
    assert unreachable(None) == "Elasticsearch could not be reached."
