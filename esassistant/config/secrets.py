"""Finds the secret texts in the settings."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from esassistant.config.model import Setting
from esassistant.masking import SECRET_NAMES


def secrets_of(settings: Iterable[Setting]) -> Iterator[str]:
    """Yield the secret texts in settings: the whole value of a secret setting, but only the passwords of a URL."""
    for setting in settings:
        if setting.secret:
            is_url = setting.name.endswith("_URL") and isinstance(setting.value, str)
            yield from _passwords(setting.value) if is_url else _texts(setting.value)


def _texts(value: Any) -> Iterator[str]:
    """Yield the secret texts in a value. Of a dataclass these are the fields without `repr`; of a mapping, the entries
    with a name such as `password`.
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
