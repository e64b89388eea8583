"""Handles requests below a prefix. Our own layers see addresses as if they were at the root; Django sees the whole
ones.
"""

from typing import Final

from esassistant.asgi_types import ASGIApp, Receive, Scope, Send

WHOLE: Final = "esassistant.whole_path"
"""The key in the scope of a request below a prefix for its original path and root path."""


class Mount:
    """ASGI wrapper that passes requests below `prefix` to `own`, and all others unchanged to `host`. Lives as long as
    the process.
    """

    def __init__(self, own: ASGIApp, prefix: str, host: ASGIApp) -> None:
        """
        Args:
            own: The application of this service.
            prefix: Such as `/assistant`.
            host: The application of the project.
        """
        self._own = own
        self._host = host
        self._prefix = prefix
        self._below = f"{prefix}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._host(scope, receive, send)
            return
        path, root = scope["path"], scope.get("root_path", "")
        # The path includes the root path, at which the server mounts the whole project.
        below = path.removeprefix(root) if root else path
        if not below.startswith(self._below):
            await self._host(scope, receive, send)
            return
        own = {**scope, "path": below.removeprefix(self._prefix), "root_path": "", WHOLE: (path, root)}
        await self._own(own, receive, send)


def for_django(scope: Scope) -> Scope:
    """Return the scope of a request with its original path, which Django needs to find and to write addresses."""
    if (whole := scope.get(WHOLE)) is None:
        return scope
    path, root = whole
    return {**scope, "path": path, "root_path": root}
