"""Holders of a token may change things, nobody else."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.conf import settings as django_settings
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from esassistant.auth import (
    Caller,
    caller_of,
    is_api_token,
    may_see_details,
    require_change,
    require_details,
    sees_details,
)
from esassistant.config import Details
from esassistant.errors import Unauthorized

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
