"""Masking: removes secrets from any text before a person or a log sees it.

There are two kinds of rules. The first knows the common forms of credentials: inside URLs, in `Authorization` headers,
after `password=`. The second knows the secrets of this process, which `remember_secrets` is given at the start, and
masks them wherever they occur.
"""

import html
import json
import logging
import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "***"
MIN_SECRET_CHARACTERS = 4
"""A shorter secret would mask half of every text, and protects nothing anyway."""

SECRET_NAMES = r"password|passwd|secret|api[_-]?key|token|sessionid"  # noqa: S105  (names, no values)
_QUOTE = r"(?:[\"']|&\#x27;|&quot;)"  # in HTML too
CREDENTIALS_IN_URL = re.compile(r"(?<=//)[^/\s]+@")
AUTHORIZATION = re.compile(
    rf"(authorization(?:{_QUOTE}\s*[:,]|\s*[:=])\s*(?:b?{_QUOTE})?)(?:[a-z]+\s+)?[^\s\"',;&<>]+", re.IGNORECASE
)
SCHEME = re.compile(r"\b(basic|bearer|apikey)\s+(?!auth|tokens?\b|realm=)[\w.~+/=:-]{4,}", re.IGNORECASE)
# Bounded and possessive: this runs on texts that strangers send, where backtracking would take quadratic time.
PAIR = re.compile(
    rf"((?:{SECRET_NAMES})[\w-]{{0,64}}+(?:{_QUOTE}\s*[:,]|{_QUOTE}?\s*=(?!=))\s*b?)"
    rf"(?:{_QUOTE}.*?{_QUOTE}|[^\s,;&\"'<>)]+)",
    re.IGNORECASE,
)

TOKEN_PREFIX = "esa_"  # noqa: S105  (how tokens begin, none itself)
"""The beginning of each token that `manage.py make_token` makes. This process knows only the digests of these tokens.
"""
SECRET_PREFIX = "whsec_"  # noqa: S105  (likewise)
"""The beginning of each secret for signing webhooks. Their file may change while the process runs."""
MADE_TOKEN = re.compile(rf"\b(?:{TOKEN_PREFIX}[\w-]{{20,}}|{SECRET_PREFIX}[\w+/=-]{{20,}})")

_known: re.Pattern[str] | None = None


def mask_text(text: str) -> str:
    """Return the text with its secrets masked.

    These are credentials in URLs, the values of `Authorization` headers and of pairs such as `password=…`, tokens of
    `make_token`, secrets of webhooks, and all secrets of this process.
    """
    if _known is not None:
        text = _known.sub(MASK, text)
    text = MADE_TOKEN.sub(MASK, text)
    text = CREDENTIALS_IN_URL.sub("", text)
    text = AUTHORIZATION.sub(rf"\1{MASK}", text)
    text = SCHEME.sub(rf"\1 {MASK}", text)
    return PAIR.sub(rf"\1{MASK}", text)


def remember_secrets(secrets: Iterable[str]) -> None:
    """Mask exactly these secrets from now on, in every spelling: inside a URL, in HTML, or in a quoted literal that is
    quoted again.
    """
    global _known
    long_enough = {secret for secret in secrets if len(secret) >= MIN_SECRET_CHARACTERS}
    longest_first = sorted(long_enough, key=len, reverse=True)
    spelled = ("".join(map(_any_spelling, secret)) for secret in longest_first)
    _known = re.compile("|".join(spelled)) if long_enough else None


def _any_spelling(character: str) -> str:
    """Return a pattern for one character: unchanged, percent-encoded, escaped for HTML, or escaped by up to 16
    backslashes.
    """
    if character.isascii() and character.isalnum():
        return character
    percent = quote(character, safe="", errors="surrogateescape")
    plain = "|".join(map(re.escape, {character, html.escape(character), percent, percent.lower()}))
    literals = (json.dumps(character)[1:-1], character.encode("unicode_escape").decode())
    escapes = "|".join(re.escape(form.lstrip("\\")) for form in literals if form.lstrip("\\") not in ("", character))
    return rf"(?:\\{{0,16}}(?:{plain})|\\{{1,16}}(?:{escapes}))" if escapes else rf"\\{{0,16}}(?:{plain})"


class MaskingFormatter(logging.Formatter):
    """Formats a record as its base does, and masks the result: message, arguments and traceback."""

    def format(self, record: logging.LogRecord) -> str:
        return mask_text(super().format(record))
