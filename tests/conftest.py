"""What all tests share: one Elasticsearch node of their own, ended afterwards."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import DEFAULT_VERSION, Node

NODE_VERSION = os.environ.get("ESASSISTANT_TEST_ELASTICSEARCH", DEFAULT_VERSION)
"""Of Elasticsearch; `make test-compat` sets another."""


Figure = Callable[[int, str], None]


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """`figure(1, "1 call, 0 errors")`: what the test of a case of docs/reliability.md measured, at the end of the test.

    Kept in the JUnit report as the properties `case` and `figure`, as `record_property` would, which warns about the
    default form of that report.
    """

    def record(case: int, text: str) -> None:
        request.node.user_properties += [("case", case), ("figure", text)]

    return record


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A real node of `NODE_VERSION` on a free port, with an empty data directory."""
    # Without it, "delete everything" is refused.
    settings = {"action.destructive_requires_name": "false"}
    data = Path(tmp_path_factory.mktemp("elasticsearch"))
    with Node(data, version=NODE_VERSION, settings=settings) as running:
        yield running


@pytest.fixture
def cluster(node: Node) -> Iterator[Elasticsearch]:
    """A client straight to the node, to arrange and to count; every index is gone afterwards."""
    with Elasticsearch(node.url, request_timeout=30) as client:
        yield client
        client.indices.delete(index="*", expand_wildcards="all", ignore_unavailable=True)


def route_calls(cluster: Elasticsearch, route: str) -> int:
    """How often the node itself counted calls of `route`, such as `/{index}/_mapping/`. Absent until first used."""
    answer = cluster.perform_request("GET", "/_nodes/stats/http", headers={"accept": "application/json"})
    routes = (node["http"].get("routes", {}).get(route, {}) for node in answer.body["nodes"].values())
    return sum(found.get("requests", {}).get("count", 0) for found in routes)
