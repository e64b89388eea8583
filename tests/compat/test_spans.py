"""The client's OpenTelemetry spans, which it makes where OpenTelemetry is installed, come through our transport."""

from collections.abc import Iterator
from typing import Any

import elasticsearch
import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from esassistant.registry import registry
from tests.support.fixtures import OpenApp

WHY = "OpenTelemetry is installed for `make test-compat` alone"
# By name: where it isn't installed, neither tests nor type checks need it.
trace: Any = pytest.importorskip("opentelemetry.trace", reason=WHY)
sdk: Any = pytest.importorskip("opentelemetry.sdk.trace", reason=WHY)
export: Any = pytest.importorskip("opentelemetry.sdk.trace.export", reason=WHY)
in_memory: Any = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter", reason=WHY)

KEY = "c2VjcmV0LWlkOnNlY3JldC1rZXk="


@pytest.fixture(scope="session")
def exporter() -> Any:
    """Takes the spans of the whole process: OpenTelemetry's provider can be set only once."""
    made = in_memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(made))
    trace.set_tracer_provider(provider)
    return made


@pytest.fixture
def spans(exporter: Any) -> Iterator[Any]:
    """Spans of one test; ask for them by `named`."""
    exporter.clear()
    yield exporter
    exporter.clear()


def named(exporter: Any, name: str) -> list[Any]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


async def test_a_call_is_a_span(node: Node, cluster: Elasticsearch, open_app: OpenApp, spans: Any) -> None:
    """One call is one span within its caller's, with the attributes that a stock client gives it (their names change
    with the version), and without credentials or bodies.
    """
    cluster.indices.create(index="shop")
    query = {"term": {"a": "confidential"}}
    async with open_app(node.url, api_key=KEY), AsyncElasticsearch(node.url) as stock:
        client: AsyncElasticsearch = registry.get("elasticsearch")
        with trace.get_tracer("tests").start_as_current_span("view") as view:
            await client.search(index="shop", query=query)
            await stock.search(index="shop", query=query)
    ours, theirs = named(spans, "search")
    assert dict(ours.attributes) == dict(theirs.attributes)
    assert ours.attributes["url.full"] == f"{node.url}/shop/_search"
    assert {"elasticsearch", "search", "shop", "POST", "127.0.0.1"} <= set(ours.attributes.values())
    assert ours.parent.span_id == view.get_span_context().span_id
    assert ours.status.status_code is trace.StatusCode.UNSET


async def test_attempts_are_one_span(node: Node, cluster: Elasticsearch, open_app: OpenApp, spans: Any) -> None:
    """Our retries stay within the call's one span: it lasts as long as the caller waits, and ends well."""
    cluster.indices.create(index="shop")
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=2):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            proxy.reset()
            spans.clear()
            with proxy.fault(path="/shop/_mapping", status=503, delay_seconds=0.2, times=2):
                await client.indices.get_mapping(index="shop")
            assert proxy.count(path="/shop/_mapping") == 3
    (span,) = named(spans, "indices.get_mapping")
    assert (span.end_time - span.start_time) / 1e9 >= 0.4
    assert span.attributes["url.full"] == f"{proxy.url}/shop/_mapping"
    assert span.status.status_code is trace.StatusCode.UNSET


async def test_a_failed_call_is_a_span_with_an_error(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, spans: Any
) -> None:
    """An answer that is an error, and no answer at all, end the span with the exception that the caller gets."""
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=1):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            with pytest.raises(elasticsearch.NotFoundError):
                await client.get(index="absent", id="1")
            with proxy.fault(path="/_count", cut=True), pytest.raises(elasticsearch.ConnectionError):
                await client.count()
    for name, error in (("get", "NotFoundError"), ("count", "ConnectionError")):
        (span,) = named(spans, name)
        assert span.status.status_code is trace.StatusCode.ERROR
        (event,) = span.events
        assert event.attributes["exception.type"].rpartition(".")[2] == error


async def test_background_calls_are_spans_of_their_own(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, spans: Any
) -> None:
    """What background tasks ask is traced too, but belongs to no caller, not even to whoever opened the application."""
    cluster.indices.create(index="shop")
    spans.clear()
    with trace.get_tracer("tests").start_as_current_span("start"):
        async with open_app(node.url):
            pass
    made = [span for span in spans.get_finished_spans() if span.name != "start"]
    assert all("elasticsearch" in span.attributes.values() for span in made)
    assert any(span.attributes["url.full"].startswith(f"{node.url}/shop/_mapping") for span in made)
    assert [span.name for span in made if span.parent is not None] == []
