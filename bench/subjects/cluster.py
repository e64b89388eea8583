"""The clusters of the benches: a node with 1 000 real indices, which are prepared once and copied for each run, and the
families of the replayed ones.

The mappings are made up, but have a realistic shape. There are nine distinct ones: seven with 30 to 300 fields, and two
with thousands. The indices have rolled-over names such as `weblogs-2026.11.18-000322`.
"""

import hashlib
import inspect
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from dev.elasticsearch.node import DEFAULT_VERSION, Node

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "bench"
NODE_URL = "ESASSISTANT_BENCH_NODE_URL"
"""The environment variable with the URL of another process's `running_node`, which several benches use one after the
other.
"""
HEAP = "2g"
START_SECONDS = 300
SETTINGS = {"cluster.routing.allocation.node_initial_primaries_recoveries": "100"}
"""Without this setting, a start with 1 000 indices takes minutes: by default, four of them recover at a time."""
FIRST_DAY = date(2026, 1, 1)
OBJECT_SIZE = 12
"""The number of fields in an object: `http.request_01_bytes` and so on."""
FIELD_LIMIT = 10_000
CREATED_AT_ONCE = 6


@dataclass(frozen=True)
class Family:
    """Rolled-over indices that share one mapping."""

    name: str
    indices: int
    fields: int


FAMILIES = (
    Family("weblogs", 220, 120),
    Family("audit", 150, 60),
    Family("metrics", 150, 300),
    Family("orders", 100, 30),
    Family("traces", 130, 180),
    Family("sessions", 100, 90),
    Family("security", 100, 240),
    Family("events", 30, 2_000),
    Family("catalog", 20, 3_000),
)

SAMPLES = (
    Family("customers", 2, 200),
    Family("orders", 3, 30),
    Family("weblogs", 3, 120),
    Family("audit", 2, 60),
)
"""The families of `sample_node`."""

KINDS: tuple[dict[str, Any], ...] = (
    {"type": "keyword", "ignore_above": 1024},
    {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}},
    {"type": "long"},
    {"type": "date"},
    {"type": "keyword"},
    {"type": "double"},
    {"type": "boolean"},
    {"type": "ip"},
)


def mapping(family: Family, extra_field: str | None = None) -> dict[str, Any]:
    """Return the mapping of a family: a date and a message at the top, everything else in objects. Elasticsearch counts
    more fields, because it counts objects and subfields too.
    """
    properties: dict[str, Any] = {"@timestamp": {"type": "date"}, "message": {"type": "text"}}
    for number in range(family.fields - len(properties)):
        part = properties.setdefault(f"{family.name}_part_{number // OBJECT_SIZE:03}", {"properties": {}})
        part["properties"][f"attribute_{number % OBJECT_SIZE:02}"] = KINDS[number % len(KINDS)]
    if extra_field is not None:
        properties[extra_field] = {"type": "keyword"}
    return {"dynamic": "strict", "properties": properties}


def names(family: Family, times: int = 1) -> list[str]:
    """Return the names that an index leaves behind which is rolled over daily."""
    return [
        f"{family.name}-{FIRST_DAY + timedelta(days=number):%Y.%m.%d}-{number + 1:06}"
        for number in range(family.indices * times)
    ]


@contextmanager
def running_node() -> Iterator[str]:
    """Yield the URL of a node on a copy of the prepared data, which is thrown away afterwards; or that of the node
    which `NODE_URL` names.
    """
    if url := os.environ.get(NODE_URL):
        yield url
        return
    prepared = _prepared()
    with tempfile.TemporaryDirectory(prefix="run-", dir=CACHE) as copy:
        data = Path(copy) / "node"
        shutil.copytree(prepared, data)
        with _started_node(data) as node:
            yield node.url


@contextmanager
def _started_node(data: Path) -> Iterator[Node]:
    node = Node(data, heap=HEAP, settings=SETTINGS)
    try:
        node.start(START_SECONDS)
        yield node
    finally:
        node.stop()


def _prepared() -> Path:
    """Return a data directory with all indices in it. The first call takes 1 to 2 minutes to make it. It is made again
    if this file has changed its content.
    """
    source = inspect.getsource(mapping) + inspect.getsource(names) + repr((FAMILIES, KINDS, OBJECT_SIZE))
    data = CACHE / f"{DEFAULT_VERSION}-{hashlib.blake2b(source.encode(), digest_size=6).hexdigest()}"
    if not data.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"preparing {sum(family.indices for family in FAMILIES)} indices, once …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="prepare-", dir=CACHE) as folder:
            making = Path(folder) / "node"
            with _started_node(making) as node, Elasticsearch(node.url, request_timeout=120) as client:
                _create_all(client)
            making.rename(data)
    return data


def _create_all(client: Elasticsearch) -> None:
    def create(family: Family, name: str) -> None:
        client.indices.create(
            index=name,
            mappings=mapping(family),
            aliases={f"all-{family.name}": {}},
            settings={
                "number_of_shards": 1,
                "number_of_replicas": 0,
                "mapping": {"total_fields": {"limit": FIELD_LIMIT}},
            },
        )

    with ThreadPoolExecutor(CREATED_AT_ONCE) as threads:
        for family in FAMILIES:
            list(threads.map(lambda name, family=family: create(family, name), names(family)))


def rendered(family: Family, extra_field: str | None = None) -> bytes:
    """Return a mapping as Elasticsearch renders it: compact, keys sorted."""
    return json.dumps(mapping(family, extra_field), sort_keys=True, separators=(",", ":")).encode()


@contextmanager
def sample_node() -> Iterator[str]:
    """Yield the URL of a node with a few indices."""
    with tempfile.TemporaryDirectory(prefix="bench-node-") as folder, Node(Path(folder)) as node:
        with Elasticsearch(node.url, request_timeout=60) as client:
            for family in SAMPLES:
                for number in range(family.indices):
                    client.indices.create(
                        index=f"{family.name}-{number + 1}",
                        mappings=mapping(family),
                        settings={"number_of_shards": 1, "number_of_replicas": 0},
                    )
        yield node.url
