"""Who asks, and what they may see and change. One place decides for every way in.

A caller is known by a bearer token, or by the session of a staff user of the admin. What changes something needs
either; a session needs its CSRF token too, as a browser sends its cookie along with any site's request.
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
    """Who asks with a bearer token; None: nobody does. Raises `Unauthorized` for a token that isn't ours, or has
    expired: better than to answer less without a word.
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
    """Raises `Unauthorized` when the token of `caller` has expired."""
    if tokens().has_expired(caller):
        raise Unauthorized(f"This token ({caller.token}) has expired. Ask the operator of this service for a new one.")


async def caller_of(request: HttpRequest) -> Caller:
    """Who asks. Raises `Unauthorized` as `token_caller` does."""
    if (caller := token_caller(request)) is not None:
        return caller
    if settings.SESSION_COOKIE_NAME in request.COOKIES:
        user = await request.auser()
        if user.is_active and user.is_staff:
            return STAFF
    return anonymous(settings.ESASSISTANT.details)


async def reads_all(request: HttpRequest) -> bool:
    """Whether this caller may read what is said of the cluster and of this service as a whole."""
    return (await caller_of(request)).reads_all


def refusal_of(request: HttpRequest) -> EsassistantError:
    """Why a stranger may not: nobody is told to log in who has, while the database can't say so."""
    failure = session_failure(request)
    return Unauthorized(HOW) if failure is None else session_unavailable(failure)


async def require(request: HttpRequest, *rights: Right, everything: bool = False) -> Caller:
    """Return who asks, given one of `rights`.

    A session needs its CSRF token for anything but reading. `everything`: it is about the cluster or this service as a
    whole, and nothing for who sees some of the names.

    Raises:
        Unauthorized: A stranger asks, or the token is unknown or has expired.
        Forbidden: The token's rights or names don't suffice, or the CSRF token is missing.
        DatabaseUnavailable: It can't be told whose session it is.
    """
    caller = await caller_of(request)
    if caller.kind is CallerKind.ANONYMOUS and not any(map(caller.may, rights)):
        raise refusal_of(request)
    check_rights(caller, *rights, everything=everything)
    if Right.READ not in rights:
        check_csrf(request, caller)
    return caller


def check_csrf(request: HttpRequest, caller: Caller) -> None:
    """Raises `Forbidden` for a session without its CSRF token. Who sends a token of ours, or nothing, needs none."""
    if caller.kind is CallerKind.STAFF and (reason := _csrf_failure(request)) is not None:
        raise Forbidden(f"The CSRF check failed ({reason}). Send the token of the page in the X-CSRFToken header.")


def check_rights(caller: Caller, *rights: Right, everything: bool = False) -> None:
    """Raises `Forbidden` unless `caller` has one of `rights`, and sees all names where `everything` is needed."""
    if not any(map(caller.may, rights)):
        wanted = " or ".join(f'"{right.value}"' for right in rights)
        raise Forbidden(f"This needs a token with {wanted} in its `may`; {caller.token} has it not.")
    if everything and not caller.sees_all:
        raise Forbidden(
            f'This is about the cluster or the service as a whole, and needs a token with indices = ["{EVERYTHING}"]; '
            f"{caller.token} has {', '.join(caller.patterns)}."
        )


class _CsrfCheck(CsrfViewMiddleware):
    """Django's CSRF check, giving the reason instead of a page. API views are exempt from the middleware itself."""

    def _reject(self, _: HttpRequest, reason: str) -> Any:
        return reason


def _csrf_failure(request: HttpRequest) -> str | None:
    check = _CsrfCheck(lambda _: HttpResponse())
    check.process_request(request)
    reason: Any = check.process_view(request, HttpResponse, (), {})
    return None if reason is None else str(reason).rstrip(".")
