"""Sessions while the database is in trouble: who can't be looked up is a stranger, and is told why where that matters.

Django's own session store raises what the database raises, and each request with a session cookie, valid or junk, would
be a 500. Here

1. a cookie that can't be a session's costs nothing: no connection, no thread;
2. only a few lookups are under way at once, however many requests are;
3. when a lookup fails the session is empty, says why (`failure`), and is neither deleted nor overwritten;
4. whom the database confirmed within the last half hour is still known (`known_staff`): the status page is needed most
   while something is away.
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
"""As Django makes them."""
LOOKUPS_AT_ONCE: Final = 8
"""Each takes a connection; who is found keeps it for the rest of the request."""
KNOWN_SECONDS: Final = 1800.0
MAX_KNOWN: Final = 256

_lookups = threading.BoundedSemaphore(LOOKUPS_AT_ONCE)

session_outage = Outage("Sessions can't be looked up: the database", "Sessions can be looked up again")
"""Of the tables of sessions and users; where the database can't even be connected to, that is remembered elsewhere."""


class KnownStaff:
    """Staff by the keys of their sessions, as the database last confirmed them. Of one process, for many threads."""

    def __init__(self, clock: Clock = monotonic, *, seconds: float = KNOWN_SECONDS, most: int = MAX_KNOWN) -> None:
        self._clock = clock
        self._seconds = seconds
        self._most = most
        self._lock = threading.Lock()
        self._users: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    def remember(self, key: str, user: Any) -> None:
        """The database says that this session is this user's; nobody but staff is remembered."""
        with self._lock:
            self._users.pop(key, None)
            if user.is_active and user.is_staff:
                self._users[key] = self._clock(), user
                if len(self._users) > self._most:
                    self._users.popitem(last=False)

    def forget(self, key: str) -> None:
        """The session has ended."""
        with self._lock:
            self._users.pop(key, None)

    def forget_all(self) -> None:
        """Every session has ended."""
        with self._lock:
            self._users.clear()

    def user(self, key: str) -> Any:
        """Whose session it was within the last minutes; None: not known."""
        with self._lock:
            confirmed_at, user = self._users.get(key, (0.0, None))
            return user if user is not None and self._clock() - confirmed_at < self._seconds else None


known_staff = KnownStaff()


class SessionStore(db.SessionStore):
    """Django's sessions in the database, for `SESSION_ENGINE`."""

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self.failure: DatabaseFailure | None = None
        """Why it could not be looked up whose this is; None: it could, or nobody asked."""

    def _get_session_from_db(self) -> Any:
        key = self.session_key
        if key is None or KEY.fullmatch(key) is None:
            self._session_key = None
            return None
        # With the key left as it is, the middleware takes the session for one that exists, and leaves the cookie alone.
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
        self.failure = None  # this one is new, and was written just now

    async def acreate(self) -> None:
        await super().acreate()
        self.failure = None

    def save(self, must_create: bool = False) -> None:
        # What is there isn't known, and must not be replaced by nothing.
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
    """What it means that looking up a session or its user failed. Raises the error again where that is a bug."""
    if (failure := database_trouble(error)) is None:
        raise error
    if _connecting().failure() is None:
        session_outage.note_failure(failure)
    return failure


def session_failure(request: HttpRequest) -> DatabaseFailure | None:
    """Why it can't be told whose session a request has; None: it can, or it has none."""
    return getattr(getattr(request, "session", None), "failure", None)


def known_user(request: HttpRequest) -> Any:
    """Whose session a request has, where that was looked up before; None: nobody has. Asks no database."""
    return getattr(request, "_cached_user", None)


def session_unavailable(failure: DatabaseFailure) -> DatabaseUnavailable:
    """What a caller is told whose session can't be looked up."""
    detail = f"Your session can't be looked up: the database {failure.why} A bearer token works without it."
    return DatabaseUnavailable(detail, retry_after_seconds=5)


def known_failure() -> DatabaseFailure | None:
    """Why sessions can't be looked up now; None: as far as is known they can."""
    return _connecting().failure() or session_outage.failure()


def probe() -> None:
    """Look up a session that nobody has, in spite of what is remembered. Raises what the database raises."""
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
    """A stranger's request needs none any more."""
    connections[_alias()].close_if_unusable_or_obsolete()
