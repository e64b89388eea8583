"""A node with real security: roles as an operator makes them, and users and keys with these roles."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

ROLE = Path(__file__).resolve().parents[2] / "deploy" / "elasticsearch" / "role.json"
USER_PASSWORD = "only-for-tests"


@dataclass(frozen=True)
class Role:
    """The role of docs/security.md, limited to `names`, without the privileges in `without`."""

    names: tuple[str, ...] = ("orders*",)
    without: frozenset[str] = frozenset()

    def body(self) -> dict[str, Any]:
        role: dict[str, Any] = json.loads(ROLE.read_text())
        [indices] = role["indices"]
        left = [privilege for privilege in indices["privileges"] if privilege not in self.without]
        cluster = [privilege for privilege in role["cluster"] if privilege not in self.without]
        return {"cluster": cluster, "indices": [{"names": list(self.names), "privileges": left}]}


@contextmanager
def user(cluster: Elasticsearch, role: Role, name: str = "service") -> Iterator[dict[str, str]]:
    """Make a user with that role. Yield the settings of `open_app` with which the application acts as that user."""
    cluster.security.put_role(name=name, **role.body())
    cluster.security.put_user(username=name, password=USER_PASSWORD, roles=[name])
    try:
        yield {"username": name, "password": USER_PASSWORD}
    finally:
        cluster.security.delete_user(username=name)
        cluster.security.delete_role(name=name)


def api_key(cluster: Elasticsearch, role: Role) -> tuple[str, str]:
    """Make a key with that role. Return its id, and the key in the form of ELASTICSEARCH_API_KEY."""
    made = cluster.security.create_api_key(name="service", role_descriptors={"service": role.body()})
    return made["id"], made["encoded"]
