"""Identifies callers, and decides what they may see and change. All entry points use this module.

A caller is known by a bearer token, or by the session of a staff user of the admin. Every change needs one of the two.
A session also needs its CSRF token, as a browser sends its cookie along with the requests of any site.
"""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from esassistant.config.tokens import Right
from esassistant.config.toml_file import EVERYTHING
from esassistant.errors import EsassistantError, Forbidden, Unauthorized
from esassistant.http.callers import STAFF, Caller, CallerKind, anonymous, bearer_token, tokens
from esassistant.http.sessions import session_failure, session_unavailable

HOW = (
    "Send `Authorization: Bearer` with one of the tokens in ESASSISTANT_API_TOKENS or ESASSISTANT_TOKENS_FILE, or log "
    "in as staff."
)
UNKNOWN = "This token is not one of those in ESASSISTANT_API_TOKENS or ESASSISTANT_TOKENS_FILE."


def token_caller(request: HttpRequest) -> Caller | None:
    """Return the caller with a bearer token, or None if there is no token.

    Raises `Unauthorized` for a token that is unknown or has expired. Answering with less instead would hide the
    mistake.
    """
    token = bearer_token(request.headers.get("Authorization", ""))
    if token is None:
        return None
    caller = tokens().find(token)
    if caller is None:
        raise Unauthorized(UNKNOWN)
    check_in_force(caller)
    return caller


def check_in_force(caller: Caller) -> None:
    """Raise `Unauthorized` if the token of `caller` has expired."""
    if tokens().has_expired(caller):
        raise Unauthorized(f"This token ({caller.token}) has expired. Ask the operator of this service for a new one.")


async def caller_of(request: HttpRequest) -> Caller:
    """Return the caller. Raises `Unauthorized` as `token_caller` does."""
    if (caller := token_caller(request)) is not None:
        return caller
    if settings.SESSION_COOKIE_NAME in request.COOKIES:
        user = await request.auser()
        if user.is_active and user.is_staff:
            return STAFF
    return anonymous(settings.ESASSISTANT.details)


async def reads_all(request: HttpRequest) -> bool:
    """Return True if the caller may read what is about the whole cluster or the whole service."""
    return (await caller_of(request)).reads_all


def refusal_of(request: HttpRequest) -> EsassistantError:
    """Return the error for a stranger. If the database can't tell whose session it is, the error says so, instead of
    asking somebody to log in who has logged in already.
    """
    failure = session_failure(request)
    return Unauthorized(HOW) if failure is None else session_unavailable(failure)


async def require(request: HttpRequest, *rights: Right, everything: bool = False) -> Caller:
    """Return the caller, if it has one of `rights`. A session also needs its CSRF token, unless `READ` is among
    `rights`.

    Args:
        everything: The request is about the whole cluster or the whole service, so the caller must see all names.

    Raises:
        Unauthorized: The caller is a stranger, or its token is unknown or has expired.
        Forbidden: The token's rights or names don't suffice, or the CSRF token is missing.
        DatabaseUnavailable: The session can't be looked up.
    """
    caller = await caller_of(request)
    if caller.kind is CallerKind.ANONYMOUS and not any(map(caller.may, rights)):
        raise refusal_of(request)
    check_rights(caller, *rights, everything=everything)
    if Right.READ not in rights:
        check_csrf(request, caller)
    return caller


def check_csrf(request: HttpRequest, caller: Caller) -> None:
    """Raise `Forbidden` for a session without its CSRF token. Callers with a bearer token, and strangers, need none."""
    if caller.kind is CallerKind.STAFF and (reason := _csrf_failure(request)) is not None:
        raise Forbidden(f"The CSRF check failed ({reason}). Send the token of the page in the X-CSRFToken header.")


def check_rights(caller: Caller, *rights: Right, everything: bool = False) -> None:
    """Raise `Forbidden` unless `caller` has one of `rights` and, if `everything` is True, sees all names."""
    if not any(map(caller.may, rights)):
        wanted = " or ".join(f'"{right.value}"' for right in rights)
        raise Forbidden(f"This needs a token with {wanted} in its `may`; {caller.token} has it not.")
    if everything and not caller.sees_all:
        raise Forbidden(
            f'This is about the cluster or the service as a whole, and needs a token with indices = ["{EVERYTHING}"]; '
            f"{caller.token} has {', '.join(caller.patterns)}."
        )


class _CsrfCheck(CsrfViewMiddleware):
    """Django's CSRF check, which returns the reason instead of a page. API views are exempt from Django's own
    middleware.
    """

    def _reject(self, _: HttpRequest, reason: str) -> Any:
        return reason


def _csrf_failure(request: HttpRequest) -> str | None:
    check = _CsrfCheck(lambda _: HttpResponse())
    check.process_request(request)
    reason: Any = check.process_view(request, HttpResponse, (), {})
    return None if reason is None else str(reason).rstrip(".")
