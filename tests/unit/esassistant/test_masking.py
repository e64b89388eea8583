"""Masking: no form of a secret gets through, and what is no secret stays readable."""

import html
import json
import logging
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant import masking
from esassistant.config.model import NodeUrls, Origin, Setting
from esassistant.config.secrets import secrets_of
from esassistant.config.shown import mask_setting
from esassistant.masking import MASK, MaskingFormatter, mask_text, remember_secrets


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts without known secrets; those of the settings come back afterwards."""
    monkeypatch.setattr(masking, "_known", None)
    yield
    monkeypatch.undo()


def a_setting(value: object, *, name: str = "X", secret: bool = True) -> Setting:
    return Setting(name, value, value, Origin.DEFAULT, secret)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://elastic:changeme@es:9200/_cat failed", "https://es:9200/_cat failed"),
        ("redis://:s3cret@r:6379/0", "redis://r:6379/0"),
        ("a token esa_ullmylki-i4Qdj_HvjJw0fIPbciv0k7w32RoxHFepwo in a file", f"a token {MASK} in a file"),
        ("Authorization: Bearer abcdef", f"Authorization: {MASK}"),
        ("authorization: raw", f"authorization: {MASK}"),
        ("{'Authorization': 'ApiKey abc='}", f"{{'Authorization': '{MASK}'}}"),
        ("(b'authorization', b'Basic dTpw')", f"(b'authorization', b'{MASK}')"),
        ("&#x27;authorization&#x27;: &#x27;Bearer abc&#x27;", f"&#x27;authorization&#x27;: &#x27;{MASK}&#x27;"),
        ("sent ApiKey aWQ6a2V5 there", f"sent ApiKey {MASK} there"),
        ("password=hunter2&user=me", f"password={MASK}&user=me"),
        ("ELASTICSEARCH_PASSWORD=hunter2", f"ELASTICSEARCH_PASSWORD={MASK}"),
        ('{"api_key": "x y", "n": 1}', f'{{"api_key": {MASK}, "n": 1}}'),
        ("token='x y' more", f"token={MASK} more"),
        ("csrftoken=abc; sessionid=def; theme=dark", f"csrftoken={MASK}; sessionid={MASK}; theme=dark"),
    ],
)
def test_forms_of_credentials(text: str, masked: str) -> None:
    """Credentials are found by the form they have in URLs, headers, pairs, reprs and HTML."""
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "Elasticsearch refused our credentials (401).",
        "mail a@b.example about http://es:9200/a",
        "basic authentication is off, bearer tokens are on",
        'challenge: Basic realm="security"',
        "ESASSISTANT_API_TOKENS: got a value that is not shown",
        "if token == other",
        "the password is wrong",
    ],
)
def test_plain_texts_stay(text: str) -> None:
    """A text that only speaks of secrets stays as it is."""
    assert mask_text(text) == text


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=4, max_size=40),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_known_secrets_are_masked_wherever_they_occur(secret: str, before: str, after: str) -> None:
    """Whatever a secret is made of and whatever stands around it, it is not there afterwards, in any spelling."""
    secret = f"<{secret}>"
    remember_secrets([secret])
    try:
        plain = (secret, quote(secret, safe=""))
        literals = (repr(secret), repr(repr([secret])), json.dumps(secret))
        for form in (*plain, *literals, *map(html.escape, plain + literals)):
            assert form not in mask_text(before + form + after)
    finally:
        remember_secrets([])


def test_short_secrets_are_not_remembered() -> None:
    """Three characters are no secret, and masking them would leave no text readable."""
    remember_secrets(["abc", ""])
    assert mask_text("abc") == "abc"


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    """One secret that begins like another leaves no rest of it."""
    remember_secrets(["hunter", "hunter2-and-more"])
    assert mask_text("x hunter2-and-more x hunter") == f"x {MASK} x {MASK}"


def test_secrets_of_settings() -> None:
    """Secrets are taken out of every shape that a secret setting has; other settings give none."""
    database = {"NAME": "db", "PASSWORD": "db-password", "OPTIONS": {"sslpassword": "ssl-password", "timeout": 5}}
    settings = [
        a_setting("secret-key"),
        a_setting(("token-1", "token-2")),
        a_setting(NodeUrls(("https://es:9200",), "elastic", "node-password")),
        a_setting(database),
        a_setting("redis://:p%40ss@r:6379/0,redis://s:6379", name="REDIS_URL"),
        a_setting(None),
        a_setting("public", secret=False),
    ]
    assert list(secrets_of(settings)) == [
        "secret-key",
        "token-1",
        "token-2",
        "node-password",
        "db-password",
        "ssl-password",
        "p%40ss",
        "p@ss",
    ]


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        (a_setting("secret"), "set"),
        (a_setting(""), "not set"),
        (a_setting(()), "not set"),
        (a_setting(("a", "b")), "2 set"),
        (a_setting(NodeUrls(("https://a:9200", "https://b:9200"), "u", "p")), "https://a:9200, https://b:9200"),
        (
            a_setting(
                {"ENGINE": "django.db.backends.postgresql", "NAME": "n", "PASSWORD": "p", "HOST": "h", "PORT": 5}
            ),
            "postgresql://h:5/n",
        ),
        (a_setting({"ENGINE": "django.db.backends.sqlite3", "NAME": "/db"}), "sqlite:////db"),
        (a_setting("redis://:secret@r:6379/0", name="REDIS_URL"), "redis://r:6379/0"),
        (a_setting("", name="REDIS_URL"), ""),
        (a_setting(True, secret=False), "true"),
        (a_setting(30.0, secret=False), "30"),
        (a_setting(5, secret=False), "5"),
        (a_setting(("a", "b"), secret=False), "a, b"),
        (a_setting("password=x", secret=False), f"password={MASK}"),
    ],
)
def test_settings_as_they_may_be_shown(setting: Setting, shown: str) -> None:
    """A secret shows whether it is set, a URL all but its credentials, everything else its value."""
    assert mask_setting(setting) == shown


def test_logs_are_masked_whole() -> None:
    """Message, arguments and traceback of a log record are masked."""
    remember_secrets(["hunter2!"])
    try:
        int("hunter2!")
    except ValueError:
        record = logging.LogRecord("n", logging.ERROR, __file__, 1, "a %s", ("hunter2!",), sys.exc_info())
    text = MaskingFormatter("{message}", style="{").format(record)
    assert "hunter2" not in text
    assert text.startswith(f"a {MASK}\nTraceback")
    assert text.endswith(f"invalid literal for int() with base 10: '{MASK}'")


@pytest.mark.parametrize(
    "piece", ["token", "password-", "authorization ", "\\\\", "basic ", "//", "token='", "a=", "api_key \t"]
)
def test_hostile_texts_take_linear_time(piece: str) -> None:
    """Text made to let the patterns backtrack takes no longer than in proportion: ten times as much, some ten times as
    long.
    """
    remember_secrets(["-+/secret=", "plain-secret"])

    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        started_at = time.process_time()
        mask_text(text)
        return time.process_time() - started_at

    short = min(seconds(6_000) for _ in range(3))
    long = min(seconds(60_000) for _ in range(3))
    assert long < 40 * short + 0.01
