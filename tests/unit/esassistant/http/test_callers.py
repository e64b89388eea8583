"""Who has which token, and what of it is in force."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from django.conf import settings as django_settings
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from esassistant.config.tokens import Right, ScopedToken, digest_of
from esassistant.http.callers import (
    API_CALLER,
    EVERY_RIGHT,
    Caller,
    CallerKind,
    Tokens,
    authorization_of,
    bearer_token,
    caller_with,
    live_caller,
)

TOKENS = ("first-token-0123456789", "second-token-0123456789")
ENDS = datetime(2026, 12, 1, tzinfo=UTC)
SCOPED = ScopedToken("logs", digest_of(b"token-of-logs"), frozenset({Right.READ}), ("logs-*",), ENDS, 3)


@pytest.fixture(scope="module", autouse=True)
def some_tokens() -> Iterator[None]:
    config = replace(django_settings.ESASSISTANT, api_tokens=TOKENS, scoped_tokens=(SCOPED,))
    with override_settings(ESASSISTANT=config):
        yield


def test_a_scoped_caller() -> None:
    """A caller is what the entry of its token says."""
    caller = Tokens().find("token-of-logs")
    assert caller == caller_with(SCOPED)
    assert caller == Caller(
        CallerKind.TOKEN, frozenset({Right.READ}), ("logs-*",), "logs", ENDS.timestamp(), max_in_flight=3
    )
    assert (caller.may(Right.READ), caller.may(Right.SEARCH), caller.sees_all, caller.reads_all) == (
        True,
        False,
        False,
        False,
    )


def test_who_sees_all() -> None:
    """The pattern `*` is what counts, wherever it stands; who may not read sees all for searches alone."""
    caller = caller_with(replace(SCOPED, indices=("a", "*"), may=EVERY_RIGHT))
    assert (caller.sees_all, caller.reads_all) == (True, True)
    caller = caller_with(replace(SCOPED, indices=("*",), may=frozenset({Right.SEARCH})))
    assert (caller.sees_all, caller.reads_all) == (True, False)


@given(st.text(st.characters(codec="latin-1")) | st.sampled_from(TOKENS))
def test_no_other_text_is_a_token(text: str) -> None:
    """Whatever bytes a header carries, only the configured tokens are tokens, and none of it fails."""
    assert (Tokens().find(text) is not None) == (text in TOKENS)


def test_a_token_ends() -> None:
    """From the very moment on that its entry names, by the wall clock."""
    moment = ENDS.timestamp() - 0.001
    tokens = Tokens(lambda: moment)
    caller = tokens.find("token-of-logs")
    assert caller is not None
    assert not tokens.has_expired(caller)
    assert not tokens.has_expired(API_CALLER)
    moment = ENDS.timestamp()
    assert tokens.has_expired(caller)


def test_other_tokens_come_into_force() -> None:
    """What is no longer in the file is nobody's; tokens of the environment stay."""
    tokens = Tokens()
    assert tokens.find("token-of-logs") is not None
    tokens.put_in_force([replace(SCOPED, name="other", sha256=digest_of(b"token-of-other"))])
    assert tokens.find("token-of-logs") is None
    assert tokens.find("token-of-other") is not None
    assert tokens.find(TOKENS[1]) is API_CALLER


def test_without_tokens_nobody_is_in(settings: Settings) -> None:
    """No configured token means that nobody has one, not that none is needed."""
    settings.ESASSISTANT = replace(settings.ESASSISTANT, api_tokens=(), scoped_tokens=())
    assert Tokens().find("") is None
    assert Tokens().find(TOKENS[0]) is None


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer x", "x"),
        ("bEARER  x ", "x"),
        ("Bearer", ""),
        ("Basic x", None),
        ("", None),
        ("Bearer a,Bearer b", "a,Bearer b"),
    ],
)
def test_tokens_in_headers(header: str, token: str | None) -> None:
    """What follows the scheme is the token, also of several headers that were joined: which is then nobody's."""
    assert bearer_token(header) == token


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (f"Bearer {TOKENS[0]}", "api"),
        ("Bearer wrong", None),
        (f"Basic {TOKENS[0]}", None),
        (f"Bearer {TOKENS[0]},Bearer {TOKENS[0]}", None),
    ],
)
def test_live_callers(header: str, name: str | None) -> None:
    """Who is known by a header alone."""
    caller = live_caller(header)
    assert (caller and caller.token) == name


def test_who_has_expired_is_not_live(settings: Settings) -> None:
    """What an expired token is told takes more than a look."""
    past = replace(SCOPED, expires=datetime(2020, 1, 1, tzinfo=UTC))
    settings.ESASSISTANT = replace(settings.ESASSISTANT, scoped_tokens=(past,))
    assert live_caller("Bearer token-of-logs") is None


def test_several_headers_are_one() -> None:
    """They are joined as Django does."""
    headers = [(b"host", b"x"), (b"authorization", b"Bearer a"), (b"authorization", b"Bearer \xe9")]
    assert authorization_of({"headers": headers}) == "Bearer a,Bearer é"
