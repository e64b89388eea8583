"""Sessions while the database is in trouble. A session that can't be looked up counts as a stranger's, and the caller
is told why where that matters.

Django's own session store raises the errors of the database, so each request with a session cookie, even with a junk
one, would get a 500. Here:

1. A cookie that can't be that of a session costs nothing: no connection, no thread.
2. Only a few lookups are under way at once, however many requests there are.
3. If a lookup fails, the session is empty, says why (`failure`), and is neither deleted nor overwritten.
4. Staff whom the database confirmed within the last half hour are still known (`known_staff`): the status page is
   needed most while something is away.
"""

import re
import threading
from collections import OrderedDict
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends import db
from django.db import Error, connections, router
from django.http import HttpRequest

from esassistant.clock import Clock, monotonic
from esassistant.database.connecting import outage_of
from esassistant.database.failures import DatabaseFailure, database_trouble
from esassistant.database.outage import Outage, probing
from esassistant.errors import DatabaseUnavailable

KEY = re.compile(r"[a-z0-9]{32}")
"""The form of session keys that Django makes."""
LOOKUPS_AT_ONCE: Final = 8
"""Each lookup takes a connection. If the session is found, it keeps the connection for the rest of the request."""
KNOWN_SECONDS: Final = 1800.0
MAX_KNOWN: Final = 256

_lookups = threading.BoundedSemaphore(LOOKUPS_AT_ONCE)

session_outage = Outage("Sessions can't be looked up: the database", "Sessions can be looked up again")
"""About the tables of sessions and users. Failures to connect at all are remembered in `connecting`."""


class KnownStaff:
    """Staff users by the keys of their sessions, as the database last confirmed them. One per process; used by many
    threads.
    """

    def __init__(self, clock: Clock = monotonic, *, seconds: float = KNOWN_SECONDS, most: int = MAX_KNOWN) -> None:
        self._clock = clock
        self._seconds = seconds
        self._most = most
        self._lock = threading.Lock()
        self._users: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    def remember(self, key: str, user: Any) -> None:
        """Note that the database confirmed whose session this is. Only staff users are remembered."""
        with self._lock:
            self._users.pop(key, None)
            if user.is_active and user.is_staff:
                self._users[key] = self._clock(), user
                if len(self._users) > self._most:
                    self._users.popitem(last=False)

    def forget(self, key: str) -> None:
        """Forget a session that has ended."""
        with self._lock:
            self._users.pop(key, None)

    def forget_all(self) -> None:
        """Forget all sessions."""
        with self._lock:
            self._users.clear()

    def user(self, key: str) -> Any:
        """Return the user of a session, if the database confirmed it within the last half hour; else None."""
        with self._lock:
            confirmed_at, user = self._users.get(key, (0.0, None))
            return user if user is not None and self._clock() - confirmed_at < self._seconds else None


known_staff = KnownStaff()


class SessionStore(db.SessionStore):
    """Django's sessions in the database, for `SESSION_ENGINE`."""

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self.failure: DatabaseFailure | None = None
        """Why the session could not be looked up. None: it could, or nobody has tried."""

    def _get_session_from_db(self) -> Any:
        key = self.session_key
        if key is None or KEY.fullmatch(key) is None:
            self._session_key = None
            return None
        # The key stays, so the middleware takes the session for an existing one, and doesn't delete the cookie.
        with _lookups:
            self.failure = session_outage.enter()
            if self.failure is not None:
                return None
            try:
                found = super()._get_session_from_db()  # type: ignore[misc]  # (not in its stubs)
            except Error as error:
                self.failure = note_session_failure(error)
                return None
            session_outage.note_success()
            if found is None:
                known_staff.forget(key)
                _give_connection_back()
            return found

    async def _aget_session_from_db(self) -> Any:
        return await sync_to_async(self._get_session_from_db)()

    def create(self) -> None:
        super().create()
        self.failure = None  # a new session was written just now, so the database works

    async def acreate(self) -> None:
        await super().acreate()
        self.failure = None

    def save(self, must_create: bool = False) -> None:
        # The stored session could not be read, so it must not be overwritten with an empty one.
        if must_create or self.failure is None:
            super().save(must_create)

    async def asave(self, must_create: bool = False) -> None:
        if must_create or self.failure is None:
            await super().asave(must_create)

    def delete(self, session_key: str | None = None) -> None:
        if (key := session_key or self.session_key) is not None:
            known_staff.forget(key)
        super().delete(session_key)

    async def adelete(self, session_key: str | None = None) -> None:
        if (key := session_key or self.session_key) is not None:
            known_staff.forget(key)
        await super().adelete(session_key)


def note_session_failure(error: Error) -> DatabaseFailure:
    """Return what it means that looking up a session or its user failed. Raises the error again if it is a bug."""
    if (failure := database_trouble(error)) is None:
        raise error
    if _connecting().failure() is None:
        session_outage.note_failure(failure)
    return failure


def session_failure(request: HttpRequest) -> DatabaseFailure | None:
    """Return why the session of a request could not be looked up. None: it could, or there is no session."""
    return getattr(getattr(request, "session", None), "failure", None)


def known_user(request: HttpRequest) -> Any:
    """Return the user of the request's session if it was looked up already, else None. Makes no call to
    the database.
    """
    return getattr(request, "_cached_user", None)


def session_unavailable(failure: DatabaseFailure) -> DatabaseUnavailable:
    """Return the error for a caller whose session can't be looked up."""
    detail = f"Your session can't be looked up: the database {failure.why} A bearer token works without it."
    return DatabaseUnavailable(detail, retry_after_seconds=5)


def known_failure() -> DatabaseFailure | None:
    """Return why sessions can't be looked up now, or None if no reason is known."""
    return _connecting().failure() or session_outage.failure()


def probe() -> None:
    """Look up a session that doesn't exist, even if a failure is remembered. Raises the errors of the database."""
    with probing():
        try:
            SessionStore.get_model_class().objects.filter(session_key="").exists()
        except Error as error:
            note_session_failure(error)
            raise
        session_outage.note_success()


def _connecting() -> Outage:
    return outage_of(connections.settings[_alias()])


def _alias() -> str:
    return router.db_for_read(SessionStore.get_model_class())


def _give_connection_back() -> None:
    """Close the connection if it can be: the request of a stranger doesn't need it any more."""
    connections[_alias()].close_if_unusable_or_obsolete()
