"""Security headers for browsers, on every response, problems and redirects included.

Django's SecurityMiddleware and XFrameOptionsMiddleware set some of them, but not on answers of the layers outside of
them, and Django 5.2 has no Content-Security-Policy.
"""

from abc import ABC, abstractmethod
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class AnswerMiddleware(ABC):
    """Base of middlewares that only change answers. It works with sync and async views, and needs no thread before
    async ones.
    """

    async_capable = True
    sync_capable = True

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if self._is_async:
            return self._acall(request)
        return self.answered(request, self._get_response(request))

    @abstractmethod
    def answered(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Return `response`, as it is or changed, or another answer in its place."""

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        return self.answered(request, await self._get_response(request))


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""Everything must come from this service itself, and nothing may be inline. Django's admin works with it."""


def security_headers(*, secure: bool) -> dict[str, str]:
    """Return the headers of every response. `secure`: it goes over HTTPS."""
    if secure and settings.SECURE_HSTS_SECONDS:
        return {**HEADERS, "Strict-Transport-Security": f"max-age={settings.SECURE_HSTS_SECONDS}"}
    return HEADERS


def add_security_headers(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Set each security header that the response doesn't have yet. Pages also get the Content-Security-Policy.

    Django's error pages under DEBUG contain their style and script, so they get no policy.
    """
    for name, value in security_headers(secure=request.is_secure()).items():
        response.headers.setdefault(name, value)
    is_page = response.get("Content-Type", "").startswith("text/html")
    if is_page and not (settings.DEBUG and response.status_code >= 400):
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    return response


class SecurityHeadersMiddleware(AnswerMiddleware):
    """Adds the security headers to each response of Django. It has to be the outermost middleware."""

    def answered(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        return add_security_headers(request, response)
