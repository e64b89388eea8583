"""The node of the tests: its version, and the calls that it counted itself."""

import os

from elasticsearch import Elasticsearch

from dev.elasticsearch.node import DEFAULT_VERSION

NODE_VERSION = os.environ.get("ESASSISTANT_TEST_ELASTICSEARCH", DEFAULT_VERSION)
"""The version of Elasticsearch; `make test-compat` sets another one."""


def route_calls(cluster: Elasticsearch, route: str) -> int:
    """Return how many calls of `route`, such as `/{index}/_mapping/`, the node itself counted. Elasticsearch lists a
    route only after its first call.
    """
    answer = cluster.perform_request("GET", "/_nodes/stats/http", headers={"accept": "application/json"})
    routes = (node["http"].get("routes", {}).get(route, {}) for node in answer.body["nodes"].values())
    return sum(found.get("requests", {}).get("count", 0) for found in routes)
