"""A cluster with as many indices as a test wants, which the proxy plays: a real node would need too long to make
them.
"""

import json
from collections.abc import Iterable
from urllib.parse import unquote

from dev.faults.proxy import Exchange, FaultProxy, ProxyRequest, ProxyResponse

MAPPING = "/_mapping[?]"
"""A pattern for requests for mappings, as rules and counts of the proxy use it."""


class SimulatedCluster:
    """Answers what the mapping cache asks, from `mappings`: index → its mapping as JSON. Owned by the test."""

    def __init__(self, proxy: FaultProxy, names: Iterable[str]) -> None:
        self.mappings = dict.fromkeys(names, '{"properties":{"a":{"type":"date"}}}')
        proxy.respond("^/_settings/index.uuid", self._uuids)
        proxy.respond("^/_resolve/index/", lambda _: ProxyResponse('{"indices":[],"aliases":[],"data_streams":[]}'))
        proxy.respond("^/_nodes/stats/indices/mappings", lambda _: ProxyResponse('{"_nodes":{"total":1}}'))
        proxy.respond("^/[?]filter_path=cluster_uuid", lambda _: ProxyResponse('{"cluster_uuid":"simulated"}'))
        proxy.respond("^/_cluster/health", lambda _: ProxyResponse('{"status":"green","unassigned_shards":0}'))
        proxy.respond(MAPPING, self._mappings)

    def _uuids(self, _: ProxyRequest) -> ProxyResponse:
        return ProxyResponse(json.dumps({name: {"settings": {"index.uuid": f"uuid-{name}"}} for name in self.mappings}))

    def _mappings(self, request: ProxyRequest) -> ProxyResponse:
        found = [f'"{name}":{{"mappings":{self.mappings[name]}}}' for name in names_of(request.path)]
        return ProxyResponse("{" + ",".join(found) + "}")


def names_of(path: str) -> list[str]:
    """Return the indices that a request for mappings names."""
    return [unquote(name) for name in path.removeprefix("/").removesuffix("/_mapping").split(",")]


def mapping_requests(proxy: FaultProxy) -> list[Exchange]:
    """Return the requests for mappings so far, in the order in which they were sent."""
    asked = [exchange for exchange in proxy.requests if exchange.path.endswith("/_mapping")]
    return sorted(asked, key=lambda exchange: exchange.started_at)
