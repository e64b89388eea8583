"""After a rotation of Elasticsearch's key: said clearly, stale answers go on, and no storm on the cluster."""

import asyncio
import json
import time
from collections.abc import Mapping

import httpx
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.service import TOKEN
from tests.support.fixtures import OpenApp

REVOKED = "Elasticsearch refused our credentials (401): it wants credentials, and has been given none."
"""The proxy, which knows nothing of revoked keys, answers as if there were no credentials."""
OLD_KEY = "b2xkLWlkOm9sZC1rZXk="
LOAD_SECONDS = 4.0
COLD_NAMES = 20
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


async def load(http: httpx.AsyncClient, until: float) -> dict[str, list[httpx.Response]]:
    """Ask for one warm name and some cold ones, one after the other, until then."""
    answers: dict[str, list[httpx.Response]] = {"warm": [], "cold": []}
    while time.monotonic() < until:
        number = len(answers["cold"])
        answers["warm"].append(await http.get("/api/mappings/warm", headers=AUTHORIZED))
        answers["cold"].append(await http.get(f"/api/mappings/cold-{number % COLD_NAMES}", headers=AUTHORIZED))
        await http.get("/api/health", headers=AUTHORIZED)
        await asyncio.sleep(0)
    return answers


async def test_a_revoked_key(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """The key is revoked under load: health says that the credentials were refused, warm names are answered from
    memory, stale, cold ones get 503, and the calls that reach the cluster are bounded by names and seconds, not by
    requests.
    """
    accepted = {f"ApiKey {OLD_KEY}"}

    def authorize(headers: Mapping[str, str]) -> bool:
        return headers.get("authorization") in accepted

    cluster.indices.create(index="warm", mappings={"properties": {"a": {"type": "keyword"}}})
    with FaultProxy(node.url, authorize=authorize) as proxy:
        async with open_app(
            proxy.url, api_key=OLD_KEY, cache={"ttl": 0.2, "max_stale": 600}, health={"ttl": 1.0, "timeout": 1.0}
        ) as http:
            assert (await http.get("/api/mappings/warm", headers=AUTHORIZED)).status_code == 200
            accepted.clear()
            await asyncio.sleep(0.3)  # past the TTL: each answer from now on asks for a revalidation
            proxy.reset()
            callers = [load(http, time.monotonic() + LOAD_SECONDS) for _ in range(8)]
            answers = await asyncio.gather(*callers)
            calls = proxy.count()
            health = await http.get("/api/health", headers=AUTHORIZED)
            accepted.add(f"ApiKey {OLD_KEY}")
            await _healthy_again(http)
            fresh = await http.get("/api/mappings/warm", headers=AUTHORIZED)
    warm = [answer for each in answers for answer in each["warm"]]
    cold = [answer for each in answers for answer in each["cold"]]
    assert len(warm) >= 50
    assert {answer.status_code for answer in warm} == {200}
    assert {answer.headers["X-Cache-State"] for answer in warm} == {"stale"}
    assert {answer.status_code for answer in cold} == {503}
    assert {json.loads(answer.content)["detail"] for answer in cold} == {REVOKED}
    # A failed flight is remembered for a second; a 401 is not tried again.
    assert calls <= (COLD_NAMES + 2) * (LOAD_SECONDS + 1)
    assert health.status_code == 503
    report = health.json()
    assert report["status"] == "unhealthy"
    assert report["services"]["elasticsearch"]["error"] == REVOKED
    assert fresh.status_code == 200


async def _healthy_again(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(10):
        while (await http.get("/api/health")).status_code != 200:  # noqa: ASYNC110  (it is another's state)
            await asyncio.sleep(0.1)


async def test_refused_calls_are_not_tried_again(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """One cold get under 401 or 403 is one call."""
    cluster.indices.create(index="cold")
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=3) as http:
            for status, name in ((401, "one"), (403, "two")):
                with proxy.fault(path="_mapping", status=status):
                    proxy.reset()
                    answer = await http.get(f"/api/mappings/cold-{name}", headers=AUTHORIZED)
                    assert (answer.status_code, proxy.count(path=f"/cold-{name}/_mapping")) == (503, 1)
                    assert f"({status})" in answer.json()["detail"]
