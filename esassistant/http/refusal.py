"""Refusals: problems whose bytes are made once. What strangers can cause at any rate must cost next to nothing."""

from collections.abc import Mapping

from esassistant.asgi_types import Scope, Send
from esassistant.errors import EsassistantError
from esassistant.http.answer import Headers
from esassistant.http.counters import Door, note_of
from esassistant.http.problems import headers_of, problem_body
from esassistant.http.security_headers import security_headers

ID = "request-id-of-this-refusal"


def encoded(headers: Mapping[str, str]) -> Headers:
    """Headers as ASGI has them."""
    return tuple((name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers.items())


class Refusal:
    """The answer that one of our own errors stands for, the same each time but for the request's id.

    It is what `problem_of` gives, without a request of Django's. Made under the settings in force.
    """

    def __init__(self, error: EsassistantError, *, closes: bool = False) -> None:
        """`closes`: a body may still come, and nobody would read it."""
        self.status = error.status
        whole = problem_body(error, ID)
        before, _, after = whole.partition(ID.encode())
        self._before, self._after = before, after
        own = headers_of(error) | ({"Connection": "close"} if closes else {})
        self._heads = {secure: encoded(own | security_headers(secure=secure)) for secure in (False, True)}

    def parts(self, scope: Scope, request_id: bytes) -> tuple[Headers, bytes]:
        """Headers and body for one request."""
        body = b"%b%b%b" % (self._before, request_id, self._after)
        return (*self._heads[scope.get("scheme") == "https"], (b"content-length", b"%d" % len(body))), body

    async def answer(self, scope: Scope, send: Send) -> None:
        """Refuse the request."""
        note = note_of(scope)
        note.answered_by(Door.REFUSED, None)
        head, body = self.parts(scope, note.request_id)
        await send({"type": "http.response.start", "status": self.status, "headers": head})
        await send({"type": "http.response.body", "body": body})
