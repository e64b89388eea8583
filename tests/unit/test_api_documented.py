"""docs/api.md lists every address that is for programs, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver

from healthapp.probes import PROBES

FOR_PROGRAMS = ("api/", "metrics")
"""How the routes begin that are no pages."""
DOCUMENT = (Path(settings.BASE_DIR) / "docs" / "api.md").read_text()


def addresses(resolver: URLResolver) -> Iterator[str]:
    """The addresses for programs as the document writes them: `/api/mappings/{name}`."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern)
        elif isinstance(pattern, URLPattern) and str(pattern.pattern).startswith(FOR_PROGRAMS):
            plain = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", f"/{pattern.pattern}")
            yield plain.replace("{refresh_id}", "{id}")


def test_every_address_is_documented() -> None:
    """What the URLconf answers and what the table of addresses lists is the same."""
    documented = set(re.findall(r"`(?:GET|POST) (/[^`?]*)[^`]*`", DOCUMENT[: DOCUMENT.index("## Probes")]))
    # Without a name it says where names are.
    answered = set(addresses(get_resolver())) - {"/api/mappings", "/api/mappings/"} | set(PROBES)
    assert documented == answered
