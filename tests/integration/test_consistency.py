"""Whatever happens to a real cluster: the watch and one full pass know what the cluster itself says."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
from elasticsearch import Elasticsearch
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cacheapp.reports import PassOutcome, RefreshReport, WatchState
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy, Rule
from dev.servers.service import TOKEN
from esassistant.registry import registry
from tests.support.fakes import mappings_of
from tests.support.fixtures import OpenApp

BEARER = {"Authorization": f"Bearer {TOKEN}"}
NAMES = ("one", "two", "three")
TYPES = ("keyword", "long", "date", "ip")
PROGRAMS = 10
SETTLED_SECONDS = 8.0

name = st.sampled_from(NAMES)
field_type = st.sampled_from(TYPES)
VISIBLE = st.one_of(
    st.tuples(st.just("create"), name, field_type),
    st.tuples(st.just("recreate"), name, field_type),
    st.tuples(st.just("delete"), name, field_type),
    st.tuples(st.just("add field"), name, field_type),
    st.tuples(st.just("alias"), name, field_type),
    st.tuples(st.just("unalias"), name, field_type),
    st.tuples(st.just("hide"), name, field_type),
)
"""What the watch finds by itself."""
FAULTS = st.tuples(st.sampled_from(["refuse", "fail", "repair"]), name, field_type)
PARAMETERS = st.tuples(st.sampled_from(["ignore_above", "dynamic", "meta"]), name, field_type)
"""What only a full pass finds."""
PROGRAM = st.tuples(
    st.lists(st.one_of(VISIBLE, VISIBLE, VISIBLE, FAULTS), min_size=4, max_size=14),
    st.lists(st.one_of(VISIBLE, PARAMETERS), min_size=1, max_size=6),
)


class World:
    """The cluster, as the steps of a program change it, and the proxy that its faults are in."""

    def __init__(self, cluster: Elasticsearch, proxy: FaultProxy) -> None:
        self._cluster = cluster
        self._proxy = proxy
        self._fields = 0
        self._refused = False

    def step(self, kind: str, index: str, type_: str) -> None:
        """Do one thing, if it can be done now."""
        indices, exists = self._cluster.indices, bool(self._cluster.indices.exists(index=index))
        self._fields += 1
        field = {f"f{self._fields}": {"type": type_}}
        if kind == "recreate" and exists:
            indices.delete(index=index)
        if kind in ("create", "recreate") and (kind == "recreate" or not exists):
            # Always as many fields, so that of a recreated index the uuid alone tells.
            properties: dict[str, Any] = {"k": {"type": "keyword"}, **field}
            indices.create(index=index, mappings={"properties": properties}, settings={"number_of_replicas": 0})
        elif kind in ("refuse", "fail", "repair"):
            self._break(kind)
        elif not exists:
            return
        elif kind == "delete":
            indices.delete(index=index)
        elif kind == "add field":
            indices.put_mapping(index=index, properties=field)
        elif kind == "alias":
            indices.put_alias(index=index, name="alias")
        elif kind == "unalias":
            self._cluster.options(ignore_status=404).indices.delete_alias(index=index, name="alias")
        elif kind == "hide":
            indices.put_settings(index=index, settings={"index.hidden": True})
        elif kind in ("ignore_above", "dynamic", "meta"):
            self._set_parameter(kind, index)

    def _set_parameter(self, kind: str, index: str) -> None:
        """Change a parameter alone, which no count of fields tells."""
        parameters: dict[str, dict[str, Any]] = {
            "ignore_above": {"properties": {"k": {"type": "keyword", "ignore_above": self._fields}}},
            "dynamic": {"dynamic": "strict" if self._fields % 2 else "false"},
            "meta": {"meta": {"step": self._fields}},
        }
        self._cluster.indices.put_mapping(index=index, **parameters[kind])

    def _break(self, kind: str) -> None:
        self._proxy.clear()
        if self._refused:
            self._proxy.accept()
        self._refused = kind == "refuse"
        if kind == "refuse":
            self._proxy.refuse()
        elif kind == "fail":
            self._proxy.add(Rule(status=503, probability=0.5))

    def repair(self) -> None:
        self._break("repair")

    def truth(self) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """The mapping of each index and the indices of each alias, by the cluster itself."""
        mappings = self._cluster.indices.get_mapping(index="*", expand_wildcards="all").body
        aliases: dict[str, list[str]] = {}
        for index, found in self._cluster.indices.get_alias(index="*", expand_wildcards="all").body.items():
            for alias in found["aliases"]:
                aliases.setdefault(alias, []).append(index)
        sorted_aliases = {alias: sorted(indices) for alias, indices in aliases.items()}
        return {index: found["mappings"] for index, found in mappings.items()}, sorted_aliases


def known() -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The same, by the cache."""
    cache = registry.get("mapping_cache")
    mappings = {index: json.loads(body) for index, body in mappings_of(cache, cache.snapshot.indices).items()}
    return mappings, {alias: sorted(indices) for alias, indices in cache.snapshot.aliases.items()}


async def agrees(truth: Callable[[], Any], seconds: float) -> None:
    """Wait until the cache knows the truth."""
    wanted = await asyncio.to_thread(truth)
    deadline = time.monotonic() + seconds
    while known() != wanted:
        assert time.monotonic() < deadline, f"the cache has {known()}, the cluster {wanted}"
        await asyncio.sleep(0.02)


async def run_program(
    http: httpx.AsyncClient, world: World, visible: list[tuple[str, str, str]], anything: list[tuple[str, str, str]]
) -> None:
    """Its first part is found by the watch, though faults come with it; its second by one full pass."""
    for step in visible:
        await asyncio.to_thread(world.step, *step)
    await asyncio.to_thread(world.repair)
    await agrees(world.truth, SETTLED_SECONDS)
    for step in anything:
        await asyncio.to_thread(world.step, *step)
    await http.post("/api/cache/refresh?wait=true", headers=BEARER)
    last: RefreshReport = registry.read("refresher").last
    assert last.outcome in (PassOutcome.COMPLETED, PassOutcome.UNCHANGED)
    assert known() == await asyncio.to_thread(world.truth)


def programs(total: int) -> list[tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]]:
    """What hypothesis makes of the strategy: the application is opened only once, in the loop of the test."""
    made: list[Any] = []

    @hypothesis_settings(
        max_examples=total,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(PROGRAM)
    def collect(program: Any) -> None:
        made.append(program)

    collect()
    return made


async def test_the_cache_agrees_with_the_cluster(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """After creations, deletions, re-creations, added fields and moved aliases, amid refused connections and 503s, the
    watch leaves the cache as the cluster is; after changes of parameters too, one full pass does.
    """
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, cache={"watch": True, "min_refresh_interval": 0.0}, max_retries=1) as http:
            world = World(cluster, proxy)
            for visible, anything in programs(PROGRAMS):
                await run_program(http, world, visible, anything)
            assert registry.read("watch").state is WatchState.WATCHING
