"""What callers are known by, and what that lets them do."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from pytest_django import Settings

from esassistant.config.model import Details
from esassistant.config.tokens import Right, ScopedToken, digest_of
from esassistant.errors import Forbidden, Unauthorized
from esassistant.http.auth import caller_of, reads_all, require
from esassistant.http.callers import ANYBODY, API_CALLER, NOBODY, STAFF, Caller, caller_with

TOKENS = ("first-token-0123456789", "second-token-0123456789")
PAST, FUTURE = datetime(2020, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)


def scoped(name: str, *rights: Right, indices: tuple[str, ...] = ("logs-*",), **more: Any) -> ScopedToken:
    """The entry of the token `token-of-<name>`."""
    return ScopedToken(name, digest_of(f"token-of-{name}".encode()), frozenset(rights or Right), indices, **more)


READER = scoped("reader", Right.READ)
CHANGER = scoped("changer", Right.SEARCH, Right.REFRESH)
OPERATOR = scoped("operator", Right.READ, indices=("a", "*"), expires=FUTURE)
GONE = scoped("gone", expires=PAST)


@pytest.fixture(scope="module", autouse=True)
def some_tokens() -> Iterator[None]:
    config = replace(django_settings.ESASSISTANT, api_tokens=TOKENS, scoped_tokens=(READER, CHANGER, OPERATOR, GONE))
    with override_settings(ESASSISTANT=config):
        yield


def post(**headers: str) -> HttpRequest:
    return RequestFactory().post("/api/x", headers=headers)


def of(token: ScopedToken) -> HttpRequest:
    """A request with that token."""
    return post(Authorization=f"Bearer token-of-{token.name}")


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_api_tokens_may_do_everything(scheme: str, token: str) -> None:
    """Every token of ESASSISTANT_API_TOKENS opens all doors; the scheme's case doesn't matter."""
    request = post(Authorization=f"{scheme} {token}")
    assert await caller_of(request) is API_CALLER
    for right in Right:
        assert await require(request, right, everything=True) is API_CALLER


@pytest.mark.parametrize("header", ["", "Basic dTpw", TOKENS[0], f"Basic {TOKENS[0]}"])
async def test_other_schemes_are_nobody(header: str) -> None:
    """Without a bearer token the caller is anonymous, and may change nothing."""
    request = post(Authorization=header) if header else post()
    assert await caller_of(request) is ANYBODY
    for right in (Right.SEARCH, Right.REFRESH):
        with pytest.raises(Unauthorized, match="Send `Authorization: Bearer`"):
            await require(request, right)


@pytest.mark.parametrize(
    "token", ["", " ", f"{TOKENS[0]}x", TOKENS[0][:-1], TOKENS[0].upper(), ",".join(TOKENS), READER.sha256], ids=repr
)
async def test_a_wrong_token_is_refused(token: str) -> None:
    """Parts and mixtures of tokens are refused, for reading too, and so are digests; the answer repeats no token."""
    for right in Right:
        with pytest.raises(Unauthorized, match="not one of those") as caught:
            await require(post(Authorization=f"Bearer {token}"), right)
        assert not [ours for ours in TOKENS if ours in caught.value.detail]


async def test_an_expired_token_is_told_so() -> None:
    """Who has one is no stranger who guesses: the answer names the token and says what is wrong with it."""
    for right in Right:
        with pytest.raises(Unauthorized, match=r"\(gone\) has expired"):
            await require(of(GONE), right)


@pytest.mark.parametrize("token", [READER, CHANGER, OPERATOR], ids=lambda token: token.name)
async def test_rights(token: ScopedToken) -> None:
    """A token may what its entry says; what else it is asked for is refused with the right that is missing."""
    assert await caller_of(of(token)) == caller_with(token)
    for right in Right:
        if right in token.may:
            assert (await require(of(token), right)).token == token.name
        else:
            with pytest.raises(Forbidden, match=rf'"{right.value}" in its `may`; {token.name} has it not'):
                await require(of(token), right)
    assert (await require(of(token), Right.READ, Right.REFRESH)).token == token.name


async def test_what_needs_everything() -> None:
    """What is about the whole is for tokens with the pattern `*`; the refusal says what a token would need."""
    assert (await require(of(OPERATOR), Right.READ, everything=True)).token == "operator"
    with pytest.raises(Forbidden, match=r'needs a token with indices = \["\*"\]; reader has logs-\*\.'):
        await require(of(READER), Right.READ, everything=True)
    assert [await reads_all(of(token)) for token in (OPERATOR, READER)] == [True, False]


@pytest.mark.parametrize(("details", "caller"), [(Details.ALWAYS, ANYBODY), (Details.AUTHORIZED, NOBODY)])
async def test_who_is_nobody_in_particular(settings: Settings, details: Details, caller: Caller) -> None:
    """Details are for everybody, or for those who are known."""
    settings.ESASSISTANT = replace(settings.ESASSISTANT, details=details)
    assert await caller_of(post()) is caller
    assert await reads_all(post()) is (details is Details.ALWAYS)
    if details is Details.ALWAYS:
        assert await require(post(), Right.READ, everything=True) is ANYBODY
    else:
        with pytest.raises(Unauthorized):
            await require(post(), Right.READ)


@dataclass(frozen=True)
class User:
    """As much of a user as is asked for."""

    is_active: bool = True
    is_staff: bool = True


def with_session(user: User, **headers: str) -> HttpRequest:
    """A request of a browser session of that user's."""
    request = post(**headers)
    request.COOKIES[django_settings.SESSION_COOKIE_NAME] = "any"

    async def auser() -> User:
        return user

    request.auser = auser  # type: ignore[assignment]
    return request


@pytest.mark.parametrize(
    ("user", "caller"), [(User(), STAFF), (User(is_staff=False), NOBODY), (User(is_active=False), NOBODY)]
)
async def test_sessions(settings: Settings, user: User, caller: Caller) -> None:
    """Only the session of an active member of staff is more than anonymous, and sees details as such."""
    settings.ESASSISTANT = replace(settings.ESASSISTANT, details=Details.AUTHORIZED)
    assert await caller_of(with_session(user)) is caller
    if caller is STAFF:
        assert await require(with_session(user), Right.READ, everything=True) is STAFF
    else:
        with pytest.raises(Unauthorized):
            await require(with_session(user), Right.READ)


async def test_a_token_is_stronger_than_a_session() -> None:
    """Who sends both is known by the token, and has its scope."""
    request = with_session(User(), Authorization="Bearer token-of-reader")
    assert (await caller_of(request)).token == "reader"


@pytest.mark.parametrize("right", [Right.SEARCH, Right.REFRESH])
async def test_sessions_change_with_a_csrf_token(right: Right) -> None:
    """A session alone changes nothing: another site's page could use it. With the page's own token it may."""
    with pytest.raises(Forbidden, match=r"CSRF check failed \(CSRF cookie not set\)"):
        await require(with_session(User()), right)
    secret = "s" * 32
    for token in (None, "t" * 32):
        request = with_session(User(), **({"X-CSRFToken": token} if token else {}))
        request.COOKIES[django_settings.CSRF_COOKIE_NAME] = secret
        with pytest.raises(Forbidden, match="CSRF check failed"):
            await require(request, right)
    request = with_session(User(), **{"X-CSRFToken": secret})
    request.COOKIES[django_settings.CSRF_COOKIE_NAME] = secret
    assert await require(request, right) is STAFF
