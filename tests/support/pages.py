"""Pages for tests: checked for sound markup, and as words."""

import html
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser

import httpx
from pytest_django import Settings

from esassistant.config.model import Details

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
VOID = frozenset({"meta", "link", "input", "img", "br"})


class Sound(HTMLParser):
    """Checks that each element is closed where it has to be, and collects what the CSP would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        assert "style" not in named
        assert not any(name.startswith("on") for name in named)
        assert tag not in ("style", "script") or "src" in named
        if (own := named.get("id")) is not None:
            self.ids.append(own)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def page(http: httpx.AsyncClient, path: str, status: int = 200, headers: Mapping[str, str] = BROWSER) -> str:
    """Return the source of a page, after checking that it is sound."""
    answer = await http.get(path, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"
    parser = Sound()
    parser.feed(answer.text)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    return answer.text


def words(source: str) -> str:
    """Return what a page says, without its markup."""
    main = source[source.index("<main") : source.index("</main>")]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())


def with_details(settings: Settings, details: Details) -> None:
    settings.ESASSISTANT = replace(settings.ESASSISTANT, details=details)
