"""`manage.py health`: asks a running server for its health, for people, cron and Nagios."""

import json
import sys
import urllib.error
import urllib.request
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_SECONDS = 10.0
MAX_BYTES = 1_000_000
CODES = {"healthy": 0, "degraded": 1, "unhealthy": 2}
UNKNOWN = 3
"""The exit codes are those of Nagios."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token is only for the named server."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


class Command(BaseCommand):
    help = (
        "Ask a running server for its verdict and print it. Exits 0: healthy, 1: degraded, 2: unhealthy, 3: it can't "
        "be told, as no server answers."
    )
    # The command is about the server; the settings here don't matter.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", default=DEFAULT_URL, help=f"of the server (default: {DEFAULT_URL})")
        parser.add_argument(
            "--timeout", type=float, default=TIMEOUT_SECONDS, help="in seconds (default: %(default)s)", metavar="S"
        )

    def handle(self, *_: Any, url: str, timeout: float, **__: Any) -> None:
        try:
            found = ask(url, timeout)
        except ValueError as error:
            self.stdout.write(f"unknown: {error}")
            sys.exit(UNKNOWN)
        line = f"{found['status']}: {found.get('verdict') or 'no verdict yet'}"
        if found.get("next_step"):
            line += f" What to do: {found['next_step']}"
        self.stdout.write(line)
        sys.exit(CODES[found["status"]])


def ask(url: str, timeout: float) -> dict[str, Any]:
    """Return the answer of a server's health address. Raise `ValueError` if there is no such answer; its message says
    what to do.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no URL: use one such as {DEFAULT_URL}")
    request = urllib.request.Request(f"{url.rstrip('/')}/api/health", headers=_headers(url))  # noqa: S310  (checked)
    try:
        with _opener.open(request, timeout=timeout) as answer:
            body = answer.read(MAX_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            body = error.read(MAX_BYTES)
    except (OSError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", error)
        raise ValueError(f"no server answers at {url} ({reason}); is it running, and is --url right?") from None
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("status") not in CODES:
        detail = found.get("detail") if isinstance(found, dict) else None
        raise ValueError(f"what answers at {url} doesn't tell its health{f': {detail}' if detail else ''}")
    return found


def _headers(url: str) -> dict[str, str]:
    """Return the headers of the request: a token, to get the details, and, for the server on this machine, what its
    proxy would send.
    """
    headers = {"Accept": "application/json"}
    if tokens := settings.ESASSISTANT.api_tokens:
        headers["Authorization"] = f"Bearer {tokens[0]}"
    if url == DEFAULT_URL:
        hosts = [host for host in settings.ALLOWED_HOSTS if "*" not in host]
        if hosts and "127.0.0.1" not in hosts:
            headers["Host"] = hosts[0].lstrip(".")
        if settings.SECURE_SSL_REDIRECT:
            headers["X-Forwarded-Proto"] = "https"
    return headers
