"""Holders of a token may change things, nobody else."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import RequestFactory, override_settings
from hypothesis import given
from hypothesis import strategies as st

from esassistant.auth import is_api_token, require_token
from esassistant.errors import Unauthorized

TOKENS = ("first-token-0123456789", "second-token-0123456789")


@pytest.fixture(scope="module", autouse=True)
def two_tokens() -> Iterator[None]:
    with override_settings(ESASSISTANT=replace(django_settings.ESASSISTANT, api_tokens=TOKENS)):
        yield


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_each_token_is_good(scheme: str, token: str) -> None:
    """Every configured token opens the door; the scheme's case doesn't matter."""
    require_token(RequestFactory().post("/api/x", headers={"Authorization": f"{scheme} {token}"}))
    assert is_api_token(token)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "Send `Authorization: Bearer`"),
        ("", "Send `Authorization: Bearer`"),
        ("Bearer", "Send `Authorization: Bearer`"),
        ("Bearer ", "Send `Authorization: Bearer`"),
        (f"Basic {TOKENS[0]}", "Send `Authorization: Bearer`"),
        (TOKENS[0], "Send `Authorization: Bearer`"),
        (f"Bearer {TOKENS[0]}x", "not one of those"),
        (f"Bearer {TOKENS[0][:-1]}", "not one of those"),
        (f"Bearer {TOKENS[0].upper()}", "not one of those"),
        (f"Bearer {','.join(TOKENS)}", "not one of those"),
    ],
)
def test_anything_else_is_refused(header: str | None, message: str) -> None:
    """Other schemes, parts and mixtures of tokens are refused, and the answer repeats no token."""
    headers = {} if header is None else {"Authorization": header}
    with pytest.raises(Unauthorized, match=message) as caught:
        require_token(RequestFactory().post("/api/x", headers=headers))
    assert not [token for token in TOKENS if token in caught.value.detail]


@given(st.text(st.characters(codec="latin-1")) | st.sampled_from(TOKENS))
def test_no_other_text_is_a_token(text: str) -> None:
    """Whatever bytes a header carries, only the configured tokens are tokens, and none of it fails."""
    assert is_api_token(text) == (text in TOKENS)


def test_without_tokens_nobody_is_in(settings: Any) -> None:
    """No configured token means that nobody has one, not that none is needed."""
    settings.ESASSISTANT = replace(settings.ESASSISTANT, api_tokens=())
    assert not is_api_token("")
    with pytest.raises(Unauthorized):
        require_token(RequestFactory().post("/api/x", headers={"Authorization": f"Bearer {TOKENS[0]}"}))
