"""Every response tells browsers what not to do with it; pages run nothing that stands inside them."""

import re
from pathlib import Path
from typing import Any

import django
import pytest
from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from esassistant.http.security_headers import CONTENT_SECURITY_POLICY, HEADERS, SecurityHeadersMiddleware

ROOT = Path(__file__).resolve().parents[4]
INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=[\"']|javascript:", re.IGNORECASE)
COSMETIC = {"admin/change_list.html": ["<style"]}
"""The width of one column, when actions are shown neither above nor below the list."""
TEMPLATES = [
    *(Path(django.__file__).parent / "contrib" / "admin" / "templates").rglob("*.html"),
    *(path for app in ("esassistant", "cacheapp", "healthapp") for path in (ROOT / app).rglob("templates/**/*.html")),
]


def test_every_kind_of_response_has_the_headers() -> None:
    """Probes, problems, redirects, a refused Host and pages all carry them."""
    client = Client(raise_request_exception=False)
    responses = [
        client.get("/livez"),
        client.get("/api/nothing-here"),
        client.get("/admin/"),
        client.get("/api/nothing-here", headers={"Host": "evil.example"}),
    ]
    assert [response.status_code for response in responses] == [200, 404, 302, 400]
    for response in responses:
        assert {name: response.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    ("content_type", "status", "debug", "policy"),
    [
        ("text/html; charset=utf-8", 200, False, CONTENT_SECURITY_POLICY),
        ("text/html", 200, True, CONTENT_SECURITY_POLICY),
        ("text/html", 500, False, CONTENT_SECURITY_POLICY),
        ("text/html", 500, True, None),
        ("application/json", 200, False, None),
    ],
)
def test_pages_have_a_policy(settings: Any, content_type: str, status: int, policy: str | None, *, debug: bool) -> None:
    """Pages have a Content-Security-Policy, except Django's own error pages under DEBUG, which need their inline
    style.
    """
    settings.DEBUG = debug
    response = SecurityHeadersMiddleware(lambda _: HttpResponse(content_type=content_type, status=status))(
        RequestFactory().get("/")
    )
    assert response.headers.get("Content-Security-Policy") == policy


def test_a_view_may_decide_otherwise() -> None:
    """A header that a view has set stays."""
    answer = HttpResponse(headers={"X-Frame-Options": "SAMEORIGIN"})
    assert SecurityHeadersMiddleware(lambda _: answer)(RequestFactory().get("/"))["X-Frame-Options"] == "SAMEORIGIN"


async def test_it_is_async_as_it_stands() -> None:
    """Under an async handler it awaits it without a thread."""

    async def get_response(_: HttpRequest) -> HttpResponse:
        return HttpResponse()

    middleware = SecurityHeadersMiddleware(get_response)
    assert iscoroutinefunction(middleware)
    assert (await middleware(RequestFactory().get("/")))["X-Content-Type-Options"] == "nosniff"
    assert not iscoroutinefunction(SecurityHeadersMiddleware(lambda _: HttpResponse()))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_template_has_inline_code(template: Path) -> None:
    """Neither our pages nor the admin's have scripts, event attributes or styles inside, which the policy would
    block.
    """
    assert INLINE.findall(template.read_text()) == COSMETIC.get(f"{template.parent.name}/{template.name}", [])
