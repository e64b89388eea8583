"""The node of the tests: its version, and what it counted."""

import os

from elasticsearch import Elasticsearch

from dev.elasticsearch.node import DEFAULT_VERSION

NODE_VERSION = os.environ.get("ESASSISTANT_TEST_ELASTICSEARCH", DEFAULT_VERSION)
"""Of Elasticsearch; `make test-compat` sets another."""


def route_calls(cluster: Elasticsearch, route: str) -> int:
    """How often the node itself counted calls of `route`, such as `/{index}/_mapping/`. Absent until first used."""
    answer = cluster.perform_request("GET", "/_nodes/stats/http", headers={"accept": "application/json"})
    routes = (node["http"].get("routes", {}).get(route, {}) for node in answer.body["nodes"].values())
    return sum(found.get("requests", {}).get("count", 0) for found in routes)
