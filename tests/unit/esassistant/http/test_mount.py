"""Below a prefix everything is ours, under the addresses that we know; all else reaches the project untouched."""

from typing import Any

import pytest

from esassistant.asgi_types import Receive, Scope, Send
from esassistant.http.mount import Mount, for_django


class Seen:
    """An application that remembers what reached it."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)


async def asked(path: str, root_path: str = "", kind: str = "http") -> tuple[list[Any], list[Any], dict[str, Any]]:
    own, host = Seen(), Seen()
    scope = {"type": kind, "path": path, "root_path": root_path, "headers": []}
    await Mount(own, "/assistant", host)(scope, None, None)  # type: ignore[arg-type]
    return own.scopes, host.scopes, scope


@pytest.mark.parametrize("path", ["/", "/api/health", "/assistant", "/assistantx/", "/x/assistant/", "/Assistant/"])
async def test_what_is_not_ours(path: str) -> None:
    """The project gets the very scope that the server made."""
    own, [reached], scope = await asked(path)
    assert (own, reached) == ([], scope)
    assert reached is scope


async def test_what_is_ours() -> None:
    """It is known as at the root; Django gets the whole path back."""
    [reached], host, scope = await asked("/assistant/api/mappings/orders")
    assert (host, reached["path"]) == ([], "/api/mappings/orders")
    back = for_django(reached)
    assert (back["path"], back["root_path"]) == (scope["path"], "")


async def test_a_project_that_is_mounted_itself() -> None:
    """What the server mounts the project at stands before the prefix, and comes back for Django too."""
    [reached], _, _ = await asked("/shop/assistant/", "/shop")
    assert (reached["path"], reached["root_path"]) == ("/", "")
    assert (for_django(reached)["path"], for_django(reached)["root_path"]) == ("/shop/assistant/", "/shop")
    assert (await asked("/assistant/", "/shop"))[1] == []


async def test_other_kinds_of_connections() -> None:
    """WebSockets are the project's, whatever their address."""
    own, [reached], _ = await asked("/assistant/api/health", kind="websocket")
    assert (own, reached["type"]) == ([], "websocket")


def test_at_the_root() -> None:
    """What came by no mount is as Django has to see it."""
    scope: Scope = {"path": "/api/health"}
    assert for_django(scope) is scope
