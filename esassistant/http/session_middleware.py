"""Django's middlewares for sessions and users, adapted to a database that may be in trouble."""

from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import auth
from django.contrib.auth import middleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.db import Error
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from esassistant.database.failures import database_trouble
from esassistant.http.problems import answer_of_error, database_unavailable
from esassistant.http.sessions import (
    known_staff,
    note_session_failure,
    session_failure,
    session_unavailable,
)


class SessionMiddleware(DjangoSessionMiddleware):
    """Doesn't send anybody to a login that can't work, and doesn't crash if a session can't be saved."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:  # type: ignore[override]
        failure = session_failure(request)
        if failure is not None and _leads_to_login(response):
            response = answer_of_error(request, session_unavailable(failure))
        try:
            return super().process_response(request, response)  # type: ignore[arg-type]
        except (Error, SessionInterrupted) as error:
            # Django reports any failure as an interrupted session.
            cause = _database_error(error)
            if cause is None or (trouble := database_trouble(cause)) is None:
                raise
            return answer_of_error(request, database_unavailable(trouble))


class AuthenticationMiddleware(middleware.AuthenticationMiddleware):
    """Sets `request.user` and `request.auser` to the same user."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        request.user = SimpleLazyObject(partial(user_of, request))  # type: ignore[assignment]
        request.auser = sync_to_async(partial(user_of, request))


def user_of(request: HttpRequest) -> Any:
    """Return the user of the request's session; it is looked up only once."""
    found = getattr(request, "_cached_user", None)
    if found is None:
        found = request._cached_user = _looked_up(request)  # type: ignore[attr-defined]  # noqa: SLF001  (as Django does)
    return found


def _looked_up(request: HttpRequest) -> Any:
    """Look up the user of the session. The first that applies:

    1. The database says who it is, or that it is nobody.
    2. The database can't say it, but it said so lately: that user.
    3. Otherwise a stranger.
    """
    session: Any = request.session
    key = session.session_key
    if key is None:
        return AnonymousUser()
    try:
        user = auth.get_user(request)
    except Error as error:
        session.failure = note_session_failure(error)
    if session_failure(request) is None:
        known_staff.remember(key, user)
        return user
    return known_staff.user(key) or AnonymousUser()


def _leads_to_login(response: HttpResponseBase) -> bool:
    location = response.get("Location", "")
    return response.status_code == 302 and location.partition("?")[0] == reverse("admin:login")


def _database_error(error: BaseException | None) -> Error | None:
    """Return the error of the database that led to this error, or None."""
    while error is not None and not isinstance(error, Error):
        error = error.__context__
    return error
