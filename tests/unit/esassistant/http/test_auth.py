"""Holders of a token may change things, nobody else."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from django.conf import settings as django_settings
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from esassistant.config.model import Details
from esassistant.errors import Forbidden, Unauthorized
from esassistant.http.auth import (
    Caller,
    caller_of,
    is_api_token,
    may_see_details,
    require_change,
    require_details,
    sees_details,
)

TOKENS = ("first-token-0123456789", "second-token-0123456789")


@pytest.fixture(scope="module", autouse=True)
def two_tokens() -> Iterator[None]:
    with override_settings(ESASSISTANT=replace(django_settings.ESASSISTANT, api_tokens=TOKENS)):
        yield


def post(**headers: str) -> HttpRequest:
    return RequestFactory().post("/api/x", headers=headers)


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_each_token_is_good(scheme: str, token: str) -> None:
    """Every configured token opens the door; the scheme's case doesn't matter."""
    request = post(Authorization=f"{scheme} {token}")
    assert await caller_of(request) is Caller.TOKEN
    await require_change(request)
    await require_details(request)
    assert is_api_token(token)


@pytest.mark.parametrize("header", ["", "Basic dTpw", TOKENS[0], f"Basic {TOKENS[0]}"])
async def test_other_schemes_are_nobody(header: str) -> None:
    """Without a bearer token the caller is anonymous, and may change nothing."""
    request = post(Authorization=header) if header else post()
    assert await caller_of(request) is Caller.ANONYMOUS
    with pytest.raises(Unauthorized, match="Send `Authorization: Bearer`"):
        await require_change(request)


@pytest.mark.parametrize(
    "token", ["", " ", f"{TOKENS[0]}x", TOKENS[0][:-1], TOKENS[0].upper(), ",".join(TOKENS)], ids=repr
)
async def test_a_wrong_token_is_refused(token: str) -> None:
    """Parts and mixtures of tokens are refused, for reading too, and the answer repeats no token."""
    for require in (require_change, require_details, may_see_details):
        with pytest.raises(Unauthorized, match="not one of those") as caught:
            await require(post(Authorization=f"Bearer {token}"))
        assert not [ours for ours in TOKENS if ours in caught.value.detail]


@pytest.mark.parametrize(
    ("details", "caller", "sees"),
    [
        (Details.ALWAYS, Caller.ANONYMOUS, True),
        (Details.AUTHORIZED, Caller.ANONYMOUS, False),
        (Details.AUTHORIZED, Caller.TOKEN, True),
        (Details.AUTHORIZED, Caller.STAFF, True),
    ],
)
async def test_who_sees_details(details: Details, caller: Caller, sees: bool) -> None:
    """Details are for everybody, or for those who are known."""
    assert sees_details(details, caller) is sees


@given(st.text(st.characters(codec="latin-1")) | st.sampled_from(TOKENS))
def test_no_other_text_is_a_token(text: str) -> None:
    """Whatever bytes a header carries, only the configured tokens are tokens, and none of it fails."""
    assert is_api_token(text) == (text in TOKENS)


async def test_without_tokens_nobody_is_in(settings: Settings) -> None:
    """No configured token means that nobody has one, not that none is needed."""
    settings.ESASSISTANT = replace(settings.ESASSISTANT, api_tokens=())
    assert not is_api_token("")
    with pytest.raises(Unauthorized):
        await require_change(post(Authorization=f"Bearer {TOKENS[0]}"))


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
    ("user", "caller"),
    [
        (User(), Caller.STAFF),
        (User(is_staff=False), Caller.ANONYMOUS),
        (User(is_active=False), Caller.ANONYMOUS),
    ],
)
async def test_sessions(settings: Settings, user: User, caller: Caller) -> None:
    """Only the session of an active member of staff is more than anonymous, and sees details as such."""
    settings.ESASSISTANT = replace(settings.ESASSISTANT, details=Details.AUTHORIZED)
    assert await caller_of(with_session(user)) is caller
    if caller is Caller.STAFF:
        await require_details(with_session(user))
    else:
        with pytest.raises(Unauthorized):
            await require_details(with_session(user))


async def test_sessions_change_with_a_csrf_token() -> None:
    """A session alone changes nothing: another site's page could use it. With the page's own token it may."""
    with pytest.raises(Forbidden, match=r"CSRF check failed \(CSRF cookie not set\)"):
        await require_change(with_session(User()))
    secret = "s" * 32
    for token in (None, "t" * 32):
        request = with_session(User(), **({"X-CSRFToken": token} if token else {}))
        request.COOKIES[django_settings.CSRF_COOKIE_NAME] = secret
        with pytest.raises(Forbidden, match="CSRF check failed"):
            await require_change(request)
    request = with_session(User(), **{"X-CSRFToken": secret})
    request.COOKIES[django_settings.CSRF_COOKIE_NAME] = secret
    await require_change(request)
