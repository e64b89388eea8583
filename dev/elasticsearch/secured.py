"""A real Elasticsearch node with real security, for tests of what it allows and denies: users, roles and API keys."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

from dev.elasticsearch.install import DEFAULT_VERSION, PASSWORD, SUPERUSER
from dev.elasticsearch.node import Node

__all__ = ["PASSWORD", "SUPERUSER", "SecuredNode"]

SETTINGS = {
    "xpack.security.enabled": "true",
    "xpack.security.http.ssl.enabled": "false",
    "xpack.license.self_generated.type": "basic",
}


class SecuredNode(Node):
    """A node that refuses requests without credentials. It begins with one superuser, who makes the other users.

    It starts in 25 to 45 s, so use one for a whole module of tests. It speaks plain HTTP: TLS is tested elsewhere.
    """

    start_seconds = 180
    secured = True

    def __init__(
        self, data: Path, *, version: str = DEFAULT_VERSION, settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(data, version=version, settings={**SETTINGS, **(settings or {})})
        pair = base64.b64encode(f"{SUPERUSER}:{PASSWORD}".encode()).decode("ascii")
        self.headers["Authorization"] = f"Basic {pair}"
