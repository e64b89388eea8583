"""Masking: takes secrets out of any text before a person or a log sees it.

Two nets. Forms that credentials have everywhere: inside URLs, in `Authorization` headers, behind `password=`. And the
secrets of this process, wherever they occur: `settings.py` tells them by `remember_secrets`.
"""

import html
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from esassistant.config import NodeUrls, Setting

MASK = "***"
MIN_SECRET_CHARACTERS = 4
"""A shorter secret would mask half of every text; it is no secret either."""

SECRET_NAMES = r"password|passwd|secret|api[_-]?key|token|sessionid"  # noqa: S105  (names, no values)
_QUOTE = r"(?:[\"']|&\#x27;|&quot;)"  # in HTML too
CREDENTIALS_IN_URL = re.compile(r"(?<=//)[^/\s]+@")
AUTHORIZATION = re.compile(
    rf"(authorization(?:{_QUOTE}\s*[:,]|\s*[:=])\s*(?:b?{_QUOTE})?)(?:[a-z]+\s+)?[^\s\"',;&<>]+", re.IGNORECASE
)
SCHEME = re.compile(r"\b(basic|bearer|apikey)\s+(?!auth|tokens?\b|realm=)[\w.~+/=:-]{4,}", re.IGNORECASE)
# Bounded and possessive: these run over whatever strangers send, and backtracking would be quadratic.
PAIR = re.compile(
    rf"((?:{SECRET_NAMES})[\w-]{{0,64}}+(?:{_QUOTE}\s*[:,]|{_QUOTE}?\s*=(?!=))\s*b?)(?:{_QUOTE}.*?{_QUOTE}|[^\s,;&\"'<>)]+)",
    re.IGNORECASE,
)

_known: re.Pattern[str] | None = None


def mask_text(text: str) -> str:
    """The text without credentials in URLs, without the values of `Authorization` headers and of pairs such as
    `password=…`, and without any secret of this process.
    """
    if _known is not None:
        text = _known.sub(MASK, text)
    text = CREDENTIALS_IN_URL.sub("", text)
    text = AUTHORIZATION.sub(rf"\1{MASK}", text)
    text = SCHEME.sub(rf"\1 {MASK}", text)
    return PAIR.sub(rf"\1{MASK}", text)


def remember_secrets(secrets: Iterable[str]) -> None:
    """From now on mask exactly these secrets, however they are spelled: in a URL, in HTML, in a literal of a literal."""
    global _known
    long_enough = {secret for secret in secrets if len(secret) >= MIN_SECRET_CHARACTERS}
    longest_first = sorted(long_enough, key=len, reverse=True)
    spelled = ("".join(map(_any_spelling, secret)) for secret in longest_first)
    _known = re.compile("|".join(spelled)) if long_enough else None


def _any_spelling(character: str) -> str:
    """A pattern for one character as it is, percent-encoded, escaped for HTML, or escaped by up to 16 backslashes."""
    if character.isascii() and character.isalnum():
        return character
    percent = quote(character, safe="", errors="surrogateescape")
    plain = "|".join(map(re.escape, {character, html.escape(character), percent, percent.lower()}))
    literals = (json.dumps(character)[1:-1], character.encode("unicode_escape").decode())
    escapes = "|".join(re.escape(form.lstrip("\\")) for form in literals if form.lstrip("\\") not in ("", character))
    return rf"(?:\\{{0,16}}(?:{plain})|\\{{1,16}}(?:{escapes}))" if escapes else rf"\\{{0,16}}(?:{plain})"


def secrets_of(settings: Iterable[Setting]) -> Iterator[str]:
    """The secret texts in settings: whole values, but of URLs only the passwords."""
    for setting in settings:
        if setting.secret:
            is_url = setting.name.endswith("_URL") and isinstance(setting.value, str)
            yield from _passwords(setting.value) if is_url else _texts(setting.value)


def _texts(value: Any) -> Iterator[str]:
    """What is secret in a secret value: of a dataclass the fields that its `repr` leaves out, of a mapping the entries
    that are called so.
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if isinstance(item, Mapping) or re.search(SECRET_NAMES, str(name), re.IGNORECASE):
                yield from _texts(item)
    elif is_dataclass(value):
        for field in fields(value):
            if not field.repr:
                yield from _texts(getattr(value, field.name))
    elif isinstance(value, Iterable):
        for item in value:
            yield from _texts(item)


def _passwords(urls: str) -> Iterator[str]:
    for url in urls.split(","):
        if password := urlsplit(url).password:
            yield from (password, unquote(password))


def mask_setting(setting: Setting) -> str:
    """The value of a setting, as it may be shown: of a secret only whether and how often it is set, of a URL everything
    but its credentials.
    """
    value = setting.value
    if isinstance(value, NodeUrls):
        return ", ".join(value.urls)
    if isinstance(value, Mapping):
        return _database_address(value)
    if not setting.secret or setting.name.endswith("_URL"):
        return mask_text(_plain(value))
    if not value:
        return "not set"
    return "set" if isinstance(value, str) else f"{len(value)} set"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return value
    return ", ".join(map(_plain, value)) if isinstance(value, Iterable) else str(value)


def _database_address(database: Mapping[str, Any]) -> str:
    engine = str(database["ENGINE"]).rpartition(".")[2].replace("sqlite3", "sqlite")
    host, port = database.get("HOST") or "", database.get("PORT") or ""
    return f"{engine}://{host}{f':{port}' if port else ''}/{database['NAME']}"


class MaskingFormatter(logging.Formatter):
    """Formats a record like its base and masks the whole: message, arguments, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        return mask_text(super().format(record))
