"""The HTTP protocol of `manage.py serve`: uvicorn's, but for two things that would reach the application."""

from asyncio import Transport
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class HttpProtocol(HttpToolsProtocol):
    """One per connection.

    Trailer fields stay out of the headers (RFC 9110, 6.5.1): behind a proxy that sets or takes out `Authorization`, a
    client could send its own after the body. And a client that leaves is noticed by the request that is being served,
    not only by the last that came: one with another in its pipe would go on searching for nobody.
    """

    transport: Transport
    _served: RequestResponseCycle | None = None

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        # What comes later is added to the list that it was.
        self.scope["headers"] = self.headers.copy()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._served = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._served is not None and not self._served.response_complete:
            self._served.disconnected = True
            self._served.message_event.set()
        super().connection_lost(exc)
