"""Refusals: problems and error pages whose bytes are made once. Strangers can cause them as often as they like, so each
must cost next to nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from django.template.loader import render_to_string

from esassistant.addresses import prefix
from esassistant.asgi_types import Scope, Send
from esassistant.errors import EsassistantError
from esassistant.http.answer import Headers
from esassistant.http.counters import Door, note_of
from esassistant.http.problems import PAGE_TYPE, headers_of, problem_body
from esassistant.http.security_headers import CONTENT_SECURITY_POLICY, security_headers

ID = "request-id-of-this-refusal"
API = "/api/"


def encoded(headers: Mapping[str, str]) -> Headers:
    """Return headers in the form of ASGI."""
    return tuple((name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers.items())


@dataclass(frozen=True, slots=True)
class _Form:
    """One form of a refusal. `heads`: the headers, for requests over HTTPS (True) and over HTTP (False). `before` and
    `after`: the body around the request's id.
    """

    heads: Mapping[bool, Headers]
    before: bytes
    after: bytes

    @classmethod
    def of(cls, body: bytes, headers: Mapping[str, str]) -> "_Form":
        before, _, after = body.partition(ID.encode())
        return cls(
            {secure: encoded({**headers, **security_headers(secure=secure)}) for secure in (False, True)}, before, after
        )


class Refusal:
    """The answer to one of our own errors. It is always the same, except for the request's id.

    It equals the answer of `answer_of_error`, but needs no request object of Django. Made under the settings in force.
    """

    def __init__(self, error: EsassistantError, *, closes: bool = False) -> None:
        """
        Args:
            closes: Close the connection, as a body may still come that nobody would read.
        """
        self.status = error.status
        self._error = error
        self._headers = headers_of(error) | ({"Connection": "close"} if closes else {})
        self._problem = _Form.of(problem_body(error, ID), self._headers)
        self._page: _Form | None = None

    def parts(self, scope: Scope, request_id: bytes) -> tuple[Headers, bytes]:
        """Return headers and body for one request."""
        form = self._page_form() if _is_for_people(scope) else self._problem
        body = b"%b%b%b" % (form.before, request_id, form.after)
        return (*form.heads[scope.get("scheme") == "https"], (b"content-length", b"%d" % len(body))), body

    def _page_form(self) -> _Form:
        if self._page is None:
            # The page is made only when it is needed: templates contain addresses, and refusals are made before
            # addresses exist.
            page = render_to_string("esassistant/error.html", {"error": self._error, "request_id": ID}).encode()
            policy = {"Content-Type": PAGE_TYPE, "Content-Security-Policy": CONTENT_SECURITY_POLICY}
            self._page = _Form.of(page, self._headers | policy)
        return self._page

    async def answer(self, scope: Scope, send: Send) -> None:
        """Refuse the request."""
        note = note_of(scope)
        note.answered_by(Door.REFUSED, None)
        head, body = self.parts(scope, note.request_id)
        await send({"type": "http.response.start", "status": self.status, "headers": head})
        await send({"type": "http.response.body", "body": body})


def _is_for_people(scope: Scope) -> bool:
    """Return the same as `problems.is_for_people`, for a request that Django hasn't seen."""
    if scope.get("path", API).removeprefix(prefix()).startswith(API):
        return False
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])
