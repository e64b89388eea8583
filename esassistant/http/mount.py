"""Requests below a prefix: everything of ours knows its addresses as if they were at the root, and Django knows them
all.
"""

from typing import Final

from esassistant.asgi_types import ASGIApp, Receive, Scope, Send

WHOLE: Final = "esassistant.whole_path"
"""In the scope of a request below a prefix: its path and root path as they came."""


class Mount:
    """ASGI wrapper that gives `own` what is below `prefix`, and anything else to `host`, untouched. Lives as long as
    the process.
    """

    def __init__(self, own: ASGIApp, prefix: str, host: ASGIApp) -> None:
        """`prefix`: such as `/assistant`."""
        self._own = own
        self._host = host
        self._prefix = prefix
        self._below = f"{prefix}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._host(scope, receive, send)
            return
        path, root = scope["path"], scope.get("root_path", "")
        # The path has the part in it that the server mounts the whole project at.
        below = path.removeprefix(root) if root else path
        if not below.startswith(self._below):
            await self._host(scope, receive, send)
            return
        own = {**scope, "path": below.removeprefix(self._prefix), "root_path": "", WHOLE: (path, root)}
        await self._own(own, receive, send)


def for_django(scope: Scope) -> Scope:
    """The scope of a request as Django has to see it, to find and to write addresses."""
    if (whole := scope.get(WHOLE)) is None:
        return scope
    path, root = whole
    return {**scope, "path": path, "root_path": root}
