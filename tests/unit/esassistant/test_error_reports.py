"""Error pages and reports show what failed, but no secret."""

import sys
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import LazySettings
from django.http import HttpRequest
from django.test import RequestFactory
from django.views.debug import get_exception_reporter_class, get_exception_reporter_filter

from esassistant import masking
from esassistant.error_reports import MaskingFilter, MaskingReporter

SECRET = "zq-planted-secret-<&>'7"


def a_request() -> HttpRequest:
    request = RequestFactory().post(
        f"/x?token={quote(SECRET)}",
        {"password": SECRET, "name": "visible-name", "note": SECRET},
        headers={"Authorization": f"Bearer {SECRET}", "Cookie": f"sessionid={SECRET}; a={SECRET}"},
    )
    request.META["DATABASE_URL"] = "postgres://u:other-planted@db/x"
    return request


def crash() -> None:
    password = SECRET  # noqa: F841  (local variables are what the report shows)
    kept = {"inner": [SECRET], "api_key": "other-planted"}  # noqa: F841
    headers = [(b"authorization", b"Bearer other-planted")]  # noqa: F841
    visible = "visible-local"  # noqa: F841
    raise ValueError(f"could not use {SECRET} of redis://:other-planted@r")


def reports(settings: LazySettings, *, debug: bool) -> list[str]:
    settings.DEBUG = debug
    request = a_request()
    try:
        crash()
    except ValueError:
        reporter = MaskingReporter(request, *sys.exc_info())
    return [reporter.get_traceback_html(), reporter.get_traceback_text()]


@pytest.mark.parametrize("debug", [False, True])
def test_reports_show_no_secret(settings: Any, monkeypatch: pytest.MonkeyPatch, *, debug: bool) -> None:
    """Whether DEBUG or not, headers, form fields, local variables and exception texts show no secret, all else
    stays.
    """
    monkeypatch.setattr(masking, "_known", None)
    masking.remember_secrets([SECRET])
    page, text = reports(settings, debug=debug)
    for report in (page, text):
        assert "planted" not in report
        assert "visible-name" in report
    assert "visible-local" in page


def test_reports_without_a_request(settings: Any) -> None:
    """What fails outside a request is reported too."""
    try:
        crash()
    except ValueError:
        text = MaskingReporter(None, *sys.exc_info()).get_traceback_text()
    assert "ValueError" in text


def test_django_uses_them() -> None:
    """The settings name both, so error pages and mailed reports go through them."""
    reporter: object = get_exception_reporter_class(a_request())
    assert reporter is MaskingReporter
    assert isinstance(get_exception_reporter_filter(a_request()), MaskingFilter)
