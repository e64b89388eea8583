"""Where the addresses of this service are: at the root of a server of its own, or below the prefix that another project
includes them under.
"""

import re
from functools import lru_cache
from typing import Final

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import NoReverseMatch, get_script_prefix, reverse

NAMESPACE: Final = "esassistant"
OWN_STATIC: Final = "/static/"
"""Below the prefix: where a project that embeds this service gets our static files, whatever it does about its own."""
IN_TEXT: Final = re.compile(r"(?<![\w./])/(?=(?:api|browse|mcp|metrics|problems|livez|readyz)\b)")


def is_embedded() -> bool:
    """Whether another project's settings are in force, which read ours without what is Django's."""
    return "DATABASE_URL" not in settings.ESASSISTANT_SETTINGS


def prefix() -> str:
    """What stands before each of our addresses, such as `/assistant`; nothing where they are at the root, or are not
    included at all.
    """
    return _prefix_in(settings.ROOT_URLCONF)


@lru_cache(maxsize=16)
def _prefix_in(urlconf: str) -> str:
    try:
        front = reverse(f"{NAMESPACE}:front", urlconf)
    except NoReverseMatch:
        return ""
    # Where the server mounts the whole project belongs to each request, and comes by `reverse`.
    return front.removeprefix(get_script_prefix().rstrip("/")).rstrip("/")


def own_path(request: HttpRequest) -> str:
    """The path of a request below our prefix, such as `/api/health`."""
    return request.path_info.removeprefix(prefix())


def placed(text: str) -> str:
    """A text in which our addresses stand as they are described (`/api/indices`), with each where it is here."""
    at = prefix()
    return IN_TEXT.sub(f"{at}/", text) if at else text


def own_static(name: str) -> str:
    """The address of one of our static files."""
    return f"{get_script_prefix().rstrip('/')}{prefix()}{OWN_STATIC}{name}" if is_embedded() else static(name)
