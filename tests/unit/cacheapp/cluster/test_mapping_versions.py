"""The versions of all mappings: what is asked, what an answer says, and what each failure becomes."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from cacheapp.cluster.mapping_versions import MappingVersions
from cacheapp.cluster.reader import MAX_LISTING_BYTES
from cacheapp.errors import VersionsRefused
from dev.faults.proxy import FaultProxy, ProxyResponse
from esassistant.apps import declare
from esassistant.elasticsearch.client import ELASTICSEARCH_WATCH, new_client
from esassistant.errors import ClusterUnavailable
from esassistant.registry import Registry
from tests.support.clients import elasticsearch_config, pools

STATE = "^/_cluster/state/metadata[?]"


@pytest.fixture
async def versions(stub: FaultProxy) -> AsyncIterator[MappingVersions]:
    config = elasticsearch_config(stub.url)
    async with new_client(config, pools(maxsize=1), request_timeout=2.0, max_retries=0, raw=True) as client:
        yield MappingVersions(client)


def answer(stub: FaultProxy, body: object, status: int = 200) -> None:
    stub.respond(STATE, lambda _: ProxyResponse(json.dumps(body), status))


async def test_what_is_told(stub: FaultProxy, versions: MappingVersions) -> None:
    """The version by index, also of many, which are taken apart in a thread; asked of a node that has the change."""
    for total in (1, 3000):
        told = {f"logs-2026.11.{number}": number + 1 for number in range(total)}
        indices = {name: {"mapping_version": version} for name, version in told.items()}
        stub.stop_responding()
        answer(stub, {"wait_for_timed_out": False, "metadata": {"indices": indices}})
        assert await versions.read(42) == told
    assert versions.requests_total == len(stub.requests) == 2
    assert "&wait_for_metadata_version=42&wait_for_timeout=500ms" in stub.requests[0].target


async def test_room_for_many_indices(own_registry: Registry, stub: FaultProxy, settings: Any) -> None:
    """The client that the watch has reads the versions of as many indices as a listing may have."""
    elasticsearch = elasticsearch_config(stub.url)
    settings.ESASSISTANT = replace(settings.ESASSISTANT, elasticsearch=elasticsearch)
    declare(own_registry)
    indices = {f".ds-logs-nginx.access-2026.11.29-{number:06}": {"mapping_version": 1} for number in range(20_000)}
    answer(stub, {"wait_for_timed_out": False, "metadata": {"indices": indices}})
    async with own_registry.open():
        assert len(await MappingVersions(own_registry.get(ELASTICSEARCH_WATCH)).read(1)) == 20_000


async def test_an_answer_without_end(stub: FaultProxy, versions: MappingVersions) -> None:
    """No more is read than of a listing."""
    stub.respond(STATE, lambda _: ProxyResponse(b" " * (MAX_LISTING_BYTES + 1)))
    with pytest.raises(ClusterUnavailable, match="more than 24 MB"):
        await versions.read(1)


async def test_no_indices(stub: FaultProxy, versions: MappingVersions) -> None:
    """A cluster without indices, or without any that our credentials may see, answers without the member."""
    answer(stub, {"wait_for_timed_out": False})
    assert await versions.read(1) == {}


async def test_a_node_that_lags_behind(stub: FaultProxy, versions: MappingVersions) -> None:
    """What it would tell could lack the change: that is no answer."""
    answer(stub, {"wait_for_timed_out": True})
    with pytest.raises(ClusterUnavailable, match="lags behind"):
        await versions.read(42)


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_refused(stub: FaultProxy, versions: MappingVersions, status: int) -> None:
    """Without the privilege, or on serverless: full passes find what changed."""
    answer(stub, {"error": {"type": "security_exception"}}, status)
    with pytest.raises(VersionsRefused, match=rf"\({status}\).*full passes"):
        await versions.read(1)


async def test_denied(stub: FaultProxy, versions: MappingVersions) -> None:
    """As Elasticsearch's security words it, with the error at the root of it."""
    error = {"type": "security_exception", "reason": "action [cluster:monitor/state] is unauthorized"}
    answer(stub, {"error": {**error, "root_cause": [error]}, "status": 403}, 403)
    with pytest.raises(VersionsRefused, match=r"\(403\).*full passes"):
        await versions.read(1)


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_unavailable(stub: FaultProxy, versions: MappingVersions, status: int) -> None:
    """What may be over soon is no refusal."""
    answer(stub, {}, status)
    with pytest.raises(ClusterUnavailable):
        await versions.read(1)


async def test_something_else(stub: FaultProxy, versions: MappingVersions) -> None:
    """An answer that isn't what was asked for."""
    answer(stub, {"metadata": []})
    with pytest.raises(ClusterUnavailable, match="not what was asked for"):
        await versions.read(1)
