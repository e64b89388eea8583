"""The addresses of this service: at the root of our own server, or below the prefix under which another project
includes them.
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
"""The path of our static files, below the prefix, in a project that embeds this service. It doesn't depend on how that
project serves its own static files.
"""
IN_TEXT: Final = re.compile(r"(?<![\w./])/(?=(?:api|browse|mcp|metrics|problems|livez|readyz)\b)")


def is_embedded() -> bool:
    """Return True if the settings in force are those of another project, which leaves out our settings for Django
    itself.
    """
    return "DATABASE_URL" not in settings.ESASSISTANT_SETTINGS


def prefix() -> str:
    """Return the prefix of all our addresses, such as `/assistant`. It is empty if they are at the root, or if the URL
    configuration doesn't include them.
    """
    return _prefix_in(settings.ROOT_URLCONF)


@lru_cache(maxsize=16)
def _prefix_in(urlconf: str) -> str:
    try:
        front = reverse(f"{NAMESPACE}:front", urlconf)
    except NoReverseMatch:
        return ""
    # The mount point of the whole project can differ from request to request; `reverse` adds it, so it is removed here.
    return front.removeprefix(get_script_prefix().rstrip("/")).rstrip("/")


def own_path(request: HttpRequest) -> str:
    """Return the path of a request without our prefix, such as `/api/health`."""
    return request.path_info.removeprefix(prefix())


def placed(text: str) -> str:
    """Return `text` with our prefix added to each of our addresses in it, such as `/api/indices`."""
    at = prefix()
    return IN_TEXT.sub(f"{at}/", text) if at else text


def own_static(name: str) -> str:
    """Return the address of one of our static files."""
    return f"{get_script_prefix().rstrip('/')}{prefix()}{OWN_STATIC}{name}" if is_embedded() else static(name)
