"""Sessions while the database is in trouble: a table is really missing, a file really can't be opened."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.models import Session
from django.db import DatabaseError, IntegrityError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory

from esassistant.config.model import Details
from esassistant.config.tokens import Right
from esassistant.database.connecting import outage_of
from esassistant.database.failures import DatabaseFailure
from esassistant.errors import DatabaseUnavailable
from esassistant.http.auth import caller_of, require
from esassistant.http.callers import ANYBODY, STAFF
from esassistant.http.session_middleware import AuthenticationMiddleware, SessionMiddleware
from esassistant.http.sessions import (
    KnownStaff,
    SessionStore,
    known_failure,
    known_staff,
    note_session_failure,
    probe,
    session_failure,
    session_outage,
)
from tests.support.fakes import FakeClock

pytestmark = pytest.mark.django_db(transaction=True)

AWAY = DatabaseFailure("could not be reached.", is_answer=False)
KEY = "k" * 32
NAME = django_settings.SESSION_COOKIE_NAME
HTML = {"Accept": "text/html"}


@contextmanager
def lost(table: str) -> Iterator[None]:
    """Without a table, as where `migrate` was not run."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")


@pytest.fixture
def ada(client: Client) -> Client:
    """The browser of a superuser."""
    client.force_login(get_user_model().objects.create_superuser("ada", "ada@example.org", "a long enough password"))
    return client


def key_of(client: Client) -> str:
    return str(client.cookies[NAME].value)


def staff(**changes: bool) -> Any:
    return SimpleNamespace(**{"is_active": True, "is_staff": True, **changes})


def test_known_staff() -> None:
    """For half an hour after the database said so; nobody but active staff; the latest, so many."""
    clock = FakeClock()
    known = KnownStaff(clock, seconds=1800, most=2)
    one, two = staff(), staff()
    known.remember("one", one)
    clock.advance(1799)
    known.remember("two", two)
    assert (known.user("one"), known.user("two"), known.user("three")) == (one, two, None)
    clock.advance(1)
    assert (known.user("one"), known.user("two")) == (None, two)
    known.remember("two", staff(is_staff=False))
    known.remember("four", staff(is_active=False))
    assert (known.user("two"), known.user("four")) == (None, None)
    for key in ("a", "b", "c"):
        known.remember(key, one)
    assert [known.user(key) for key in ("a", "b", "c")] == [None, one, one]
    known.forget("c")
    known.forget("c")
    assert known.user("c") is None
    known.forget_all()
    assert known.user("b") is None


@pytest.mark.parametrize("key", [None, "short", "K" * 32, "k" * 33, f"{'k' * 31}\0", "ü" * 32])
def test_what_is_no_key_costs_nothing(key: str | None, django_assert_num_queries: Any) -> None:
    """A cookie that Django can't have given isn't looked up."""
    store = SessionStore(key)
    with django_assert_num_queries(0):
        assert store.load() == {}
    assert (store.session_key, store.failure) == (None, None)


def test_junk_is_looked_up_once(django_assert_num_queries: Any) -> None:
    """It is nobody's, gives its connection back, and the browser is told to forget it."""
    store = SessionStore(KEY)
    known_staff.remember(KEY, staff())
    with django_assert_num_queries(1):
        assert store.load() == {}
    assert store.is_empty()
    assert known_staff.user(KEY) is None


async def test_asynchronously() -> None:
    """The same where a view waits for it."""
    store = SessionStore(KEY)
    assert await store.aload() == {}
    assert store.is_empty()


def test_a_lookup_that_fails(ada: Client, django_assert_num_queries: Any) -> None:
    """The session is empty, and says why; the next ones aren't tried; the cookie stays, and what is there too."""
    key = key_of(ada)
    with lost("django_session"):
        store = SessionStore(key)
        assert store.load() == {}
        assert store.failure is not None
        assert "Run `manage.py migrate`" in store.failure.why
        assert (store.session_key, store.is_empty()) == (key, False)
        with django_assert_num_queries(0):
            other = SessionStore(key)
            other["x"] = 1
        assert other.failure == store.failure == known_failure()
    other.save()
    session_outage.note_success()
    assert "_auth_user_id" in SessionStore(key).load()
    assert "x" not in SessionStore(key).load()


async def test_what_is_not_known_is_not_replaced() -> None:
    """Nor by the asynchronous way; a session that is made anew is written."""
    for store in (SessionStore(KEY), SessionStore(KEY)):
        store.failure = AWAY
        await store.asave()
        assert not await store.aexists(KEY)
    await store.acreate()
    assert store.failure is None
    key = str(store.session_key)
    assert await store.aexists(key)
    store["x"] = 1
    await store.asave()
    assert await SessionStore(store.session_key).aget("x") == 1
    known_staff.remember(key, staff())
    await store.adelete()
    assert known_staff.user(key) is None
    await SessionStore(None).adelete()


def test_made_anew_and_deleted() -> None:
    """As at a login and a logout."""
    store: Any = SessionStore(KEY)
    store.failure = AWAY
    store.create()
    key = store.session_key
    assert (store.failure, store.exists(key)) == (None, True)
    known_staff.remember(key, staff())
    store.delete()
    assert (known_staff.user(key), store.exists(key)) == (None, False)
    SessionStore(None).delete()


def test_a_bug_is_not_hidden() -> None:
    """An error that isn't the database's trouble is raised as it is."""
    with pytest.raises(IntegrityError):
        note_session_failure(IntegrityError("bug"))
    assert known_failure() is None


def test_what_connecting_remembers_is_not_remembered_twice() -> None:
    """A database that can't be connected to is known as that."""
    outage = outage_of(connection.settings_dict)
    outage.note_failure(AWAY)
    note_session_failure(OperationalError())
    assert session_outage.failure() is None
    assert known_failure() == AWAY
    outage.note_success()


def test_probing() -> None:
    """It tries whatever is remembered; its success ends that."""
    with lost("django_session"):
        for _ in range(2):
            with pytest.raises(OperationalError):
                probe()
    assert known_failure() is not None
    probe()
    assert known_failure() is None


def test_staff_stay_known(ada: Client) -> None:
    """Whom the database confirmed before goes on; another one is told that the database can't say who it is, and isn't
    sent to a login that can't work.
    """
    assert ada.get("/admin/status/").status_code == 200
    stranger = Client()
    stranger.cookies[NAME] = KEY
    with lost("django_session"):
        assert ada.get("/admin/status/").status_code == 200
        refused = stranger.get("/admin/status/", headers=HTML)
        index = ada.get("/admin/", headers=HTML)
    assert refused.status_code == 503
    assert b"Your session can&#x27;t be looked up: the database lacks a table" in refused.content
    assert refused["Content-Type"].startswith("text/html")
    assert NAME not in refused.cookies
    assert index.status_code == 200
    session_outage.note_success()
    assert stranger.get("/admin/status/").status_code == 302


def test_the_table_of_users_is_lost(ada: Client) -> None:
    """A session that is there, and whose user can't be read, is known or a stranger's in the same way."""
    other = Client()
    other.force_login(get_user_model().objects.get())
    assert ada.get("/admin/status/").status_code == 200
    with lost("auth_user"):
        assert ada.get("/admin/status/").status_code == 200
        assert other.get("/admin/status/").status_code == 503
    session_outage.note_success()
    assert other.get("/admin/status/").status_code == 200


def test_a_page_that_needs_the_database(ada: Client, caplog: pytest.LogCaptureFixture) -> None:
    """It is 503 with the cause, as a page or a problem, logged once, without a traceback."""
    with lost("cacheapp_passrecord"):
        page = ada.get("/admin/cacheapp/passrecord/", headers=HTML)
        problem = ada.get("/admin/cacheapp/passrecord/")
    with lost("auth_user"):
        posted = Client().post("/admin/login/?next=/", {"username": "ada", "password": "x"}, headers=HTML)
    assert (page.status_code, problem.status_code, posted.status_code) == (503, 503, 503)
    assert b"The database lacks a table or a column" in page.content
    assert b'href="/admin/login/"' in posted.content
    assert problem.json()["detail"].startswith("The database lacks a table or a column")
    assert problem["Retry-After"] == "5"
    assert "Traceback" not in caplog.text
    assert caplog.text.count("A page could not be made") <= 1


async def test_the_api(ada: Client, async_client: AsyncClient, settings: Any) -> None:
    """What strangers may not see is 503 with the cause for a session that can't be looked up."""
    async_client.cookies[NAME] = KEY
    session_outage.note_failure(AWAY)
    assert (await async_client.get("/api/openapi.json")).status_code == 200
    refused = await async_client.post("/api/cache/refresh")
    assert (refused.status_code, "could not be reached" in refused.json()["detail"]) == (503, True)


def middlewares(response: HttpResponse | Exception) -> Any:
    def view(request: HttpRequest) -> HttpResponse:
        request.session["x"] = 1
        if isinstance(response, Exception):
            raise response
        return response

    return SessionMiddleware(AuthenticationMiddleware(view))


def request_with(key: str = "") -> HttpRequest:
    request = RequestFactory().get("/x")
    if key:
        request.COOKIES[NAME] = key
    return request


def test_a_session_that_can_not_be_saved(ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with the cause; a session that has ended meanwhile stays what Django makes of it."""
    request = request_with(key_of(ada))

    def view(request: HttpRequest) -> HttpResponse:
        request.session["x"] = 1
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE django_session RENAME TO elsewhere")
        return HttpResponse()

    try:
        answer: Any = SessionMiddleware(view)(request)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO django_session")
    assert (answer.status_code, b"lacks a table" in answer.content) == (503, True)

    def ends(request: HttpRequest) -> HttpResponse:
        request.session["x"] = 2
        Session.objects.all().delete()
        return HttpResponse()

    with pytest.raises(SessionInterrupted):
        SessionMiddleware(ends)(request_with(key_of(ada)))

    def interrupt(*_: Any) -> None:
        raise SessionInterrupted("without a database")

    monkeypatch.setattr(SessionStore, "save", interrupt)
    with pytest.raises(SessionInterrupted):
        middlewares(HttpResponse())(request_with())


async def test_both_ways_to_the_user() -> None:
    """`request.user` and `request.auser` are one, looked up once; without a cookie nobody is looked up."""
    user = await get_user_model().objects.acreate(username="ada", is_staff=True)
    client = AsyncClient()
    await client.aforce_login(user)
    request = request_with(client.cookies[NAME].value)
    SessionMiddleware(lambda _: HttpResponse()).process_request(request)
    AuthenticationMiddleware(lambda _: HttpResponse()).process_request(request)
    assert await caller_of(request) is STAFF
    assert (await request.auser()).pk == request.user.pk == user.pk
    stranger = request_with()
    SessionMiddleware(lambda _: HttpResponse()).process_request(stranger)
    AuthenticationMiddleware(lambda _: HttpResponse()).process_request(stranger)
    assert stranger.user.is_anonymous
    assert await caller_of(stranger) is ANYBODY


async def test_what_is_refused(settings: Any) -> None:
    """Details and changes, to a session that can't be looked up: with the cause, and what works without."""
    settings.ESASSISTANT = replace(settings.ESASSISTANT, details=Details.AUTHORIZED)
    request = request_with(KEY)
    session_outage.note_failure(AWAY)
    SessionMiddleware(lambda _: HttpResponse()).process_request(request)
    AuthenticationMiddleware(lambda _: HttpResponse()).process_request(request)
    for right in Right:
        with pytest.raises(DatabaseUnavailable, match=r"could not be reached\. A bearer token works without it"):
            await require(request, right)
    assert session_failure(request) == AWAY
    assert session_failure(RequestFactory().get("/")) is None


def test_errors_without_a_cause_are_bugs() -> None:
    """What the database isn't to blame for passes through the middleware of sessions too."""

    class Failing(SessionStore):
        def save(self, must_create: bool = False) -> None:
            raise DatabaseError("bug")

    middleware = SessionMiddleware(lambda _: HttpResponse())
    request = request_with()
    request.session = Failing()
    request.session["x"] = 1
    with pytest.raises(DatabaseError, match="bug"):
        middleware.process_response(request, HttpResponse())


async def test_in_threads() -> None:
    """Sessions are looked up where the database may be asked: not in the loop."""
    assert await sync_to_async(SessionStore(KEY).load)() == {}


@pytest.mark.parametrize(
    ("wanted", "given"), [("/admin/status/", "/admin/status/"), ("https://evil.example/", "/admin/")]
)
def test_where_a_login_leads(ada: Client, wanted: str, given: str) -> None:
    """To the address that was asked for, if it is ours; otherwise to the admin, and never to another site."""
    entered = {"username": "ada", "password": "a long enough password", "next": wanted}
    answer = Client().post(f"/admin/login/?next={wanted}", entered, headers=HTML)
    assert (answer.status_code, answer["Location"]) == (302, given)
    assert ada.get(given, headers=HTML).status_code != 404
