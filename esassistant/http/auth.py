"""Who asks, and what they may see and change. One place decides for every way in.

A caller is known by a bearer token, or by the session of a staff user of the admin. What changes something needs
either; a session needs its CSRF token too, as a browser sends its cookie along with any site's request.
"""

import enum
import hmac
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from esassistant.config.model import Details
from esassistant.errors import EsassistantError, Forbidden, Unauthorized
from esassistant.http.sessions import session_failure, session_unavailable

HOW = "Send `Authorization: Bearer` with one of the tokens in ESASSISTANT_API_TOKENS, or log in as staff."


class Caller(enum.Enum):
    """How a caller is known."""

    ANONYMOUS = "anonymous"
    TOKEN = "token"  # noqa: S105  (a kind of caller)
    STAFF = "staff"


def sees_details(details: Details, caller: Caller) -> bool:
    """Whether `caller` may read mappings, names and errors; anybody may read status and totals."""
    return details is Details.ALWAYS or caller is not Caller.ANONYMOUS


def is_api_token(token: str) -> bool:
    """Whether `token` is one of ours; compares with each in constant time, so that timing tells nothing about any."""
    given = token.encode("utf-8", "surrogateescape")
    matches = [hmac.compare_digest(given, ours.encode()) for ours in settings.ESASSISTANT.api_tokens]
    return any(matches)


def bearer_token(authorization: str) -> str | None:
    """The token of an `Authorization` header; None for other schemes, which are not ours to judge."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def caller_by_token(authorization: bytes | None) -> Caller | None:
    """Who asks, by the only `Authorization` header of a request; None where that takes more than a look at a bearer
    token.
    """
    if authorization is None:
        return Caller.ANONYMOUS
    token = bearer_token(authorization.decode("latin-1"))
    return Caller.TOKEN if token is not None and is_api_token(token) else None


def has_token(request: HttpRequest) -> bool:
    """Whether a request comes with a bearer token of ours. Raises `Unauthorized` for one that isn't: better than to
    answer less without a word.
    """
    token = bearer_token(request.headers.get("Authorization", ""))
    if token is not None and not is_api_token(token):
        raise Unauthorized("This token is not one of those in ESASSISTANT_API_TOKENS.")
    return token is not None


async def caller_of(request: HttpRequest) -> Caller:
    """Who asks. Raises `Unauthorized` for a bearer token that isn't ours."""
    if has_token(request):
        return Caller.TOKEN
    if settings.SESSION_COOKIE_NAME in request.COOKIES:
        user = await request.auser()
        if user.is_active and user.is_staff:
            return Caller.STAFF
    return Caller.ANONYMOUS


async def may_see_details(request: HttpRequest) -> bool:
    """Whether this caller may read details."""
    return sees_details(settings.ESASSISTANT.details, await caller_of(request))


def refusal_of(request: HttpRequest) -> EsassistantError:
    """Why a stranger may not: nobody is told to log in who has, while the database can't say so."""
    failure = session_failure(request)
    return Unauthorized(HOW) if failure is None else session_unavailable(failure)


async def require_details(request: HttpRequest) -> None:
    """Raises `Unauthorized` when this caller may not read details, `DatabaseUnavailable` when that can't be told."""
    if not await may_see_details(request):
        raise refusal_of(request)


async def require_change(request: HttpRequest) -> None:
    """Raises `Unauthorized`, `Forbidden` or `DatabaseUnavailable` unless this caller may change something."""
    caller = await caller_of(request)
    if caller is Caller.ANONYMOUS:
        raise refusal_of(request)
    if caller is Caller.STAFF and (reason := _csrf_failure(request)) is not None:
        raise Forbidden(f"The CSRF check failed ({reason}). Send the token of the page in the X-CSRFToken header.")


class _CsrfCheck(CsrfViewMiddleware):
    """Django's CSRF check, giving the reason instead of a page. API views are exempt from the middleware itself."""

    def _reject(self, _: HttpRequest, reason: str) -> Any:
        return reason


def _csrf_failure(request: HttpRequest) -> str | None:
    check = _CsrfCheck(lambda _: HttpResponse())
    check.process_request(request)
    reason: Any = check.process_view(request, HttpResponse, (), {})
    return None if reason is None else str(reason).rstrip(".")
