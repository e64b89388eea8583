"""Servers that share a store and a database, one of which watches the cluster, and what tests do to them."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from elasticsearch import Elasticsearch

from dev.servers.process import wait_until
from dev.servers.service import Server

SETTINGS: dict[str, Any] = {"MAPPING_CACHE_WATCH": "true", "MAPPING_CACHE_REFRESH_INTERVAL": 0}
KNOWN_SECONDS = 10.0
LEASE_SECONDS = 10.0
"""The length of the lease of the watch. Another process can take over after it."""


def watches(server: Server) -> bool:
    return bool(server.get("/api/cache/stats").json()["watch"]["state"] == "watching")


def add_field(cluster: Elasticsearch, name: str) -> None:
    cluster.indices.put_mapping(index="shop", properties={name: {"type": "ip"}})


def has(server: Server, field: str) -> bool:
    return field in server.get("/api/mappings/shop").json()["shop"]["mappings"].get("properties", {})


def started(one: Server, two: Server) -> None:
    """Wait until the first server watches and the second one stands by. The second one has to be started after the
    first.
    """
    wait_until(lambda: watches(one), 30)
    two.__enter__()
    wait_until(lambda: two.get("/readyz").status_code == 200, 30)
    assert not watches(two)


@contextmanager
def locked_database() -> Iterator[None]:
    """Hold a write lock on the SQLite file, as another program that doesn't end."""
    other = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


@contextmanager
def two_servers(url: str, first_redis: str, second_redis: str) -> Iterator[tuple[Server, Server]]:
    two = Server(url, REDIS_URL=second_redis, **SETTINGS)
    with Server(url, REDIS_URL=first_redis, **SETTINGS) as one:
        try:
            started(one, two)
            yield one, two
        finally:
            two.__exit__(None, None, None)
