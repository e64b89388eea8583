"""Health and performance over HTTP, and the status page."""

import asyncio
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from esassistant.api import api_view, json_response
from esassistant.clock import now_utc
from esassistant.config.tokens import Right
from esassistant.deployment import REFRESHES
from esassistant.errors import EsassistantError
from esassistant.http.auth import caller_of, reads_all, refusal_of, require
from esassistant.http.callers import CallerKind
from esassistant.http.problems import already_logged, problem_of
from esassistant.registry import registry
from esassistant.units import as_duration
from healthapp.metrics import exposition, workers_of
from healthapp.monitor import HEALTH
from healthapp.performance import performance_report
from healthapp.status import status_context

REFRESH_MESSAGES = {
    "started": (messages.SUCCESS, "The refresh has begun. What it finds is shown below."),
    "joined": (messages.INFO, "A refresh was under way already; there is no need for another."),
    "rate_limited": (messages.WARNING, "Refreshed a moment ago. The next one is possible in {wait}."),
    "overlap": (messages.INFO, "Another process is refreshing; this one takes over what it finds."),
}


@api_view("GET")
async def health(request: HttpRequest) -> HttpResponse:
    """`GET /api/health`: the last report of the monitor; 503 only if it is unhealthy. The Age header says how old it
    is.

    Callers who may not read everything get the status without the services.
    """
    details = await reads_all(request)
    answer = await registry.get(HEALTH).answer(details=details)
    return already_logged(answer.response(request))


@api_view("GET")
async def performance(request: HttpRequest) -> HttpResponse:
    """`GET /api/performance`: connection pools, cache, passes, background tasks, and advice on what to tune."""
    await require(request, Right.READ, everything=True)
    return json_response(performance_report(registry))


@api_view("GET")
async def metrics(request: HttpRequest) -> HttpResponse:
    """`GET /metrics`: all numbers of all workers of this server, for Prometheus."""
    await require(request, Right.READ, everything=True)
    workers = await workers_of(registry)
    body = await asyncio.to_thread(exposition, registry, workers)
    response = HttpResponse(body, content_type=CONTENT_TYPE_PLAIN_0_0_4)
    response["Cache-Control"] = "no-store"
    return response


def status(request: HttpRequest) -> HttpResponse:
    """`GET /admin/status/`: everything for staff, from memory; never waits for the cluster. With `?paused=1` the page
    doesn't refresh itself.
    """
    context = {
        **_status(),
        "page": "status",
        "paused": "paused" in request.GET,
        "login_url": f"{reverse('admin:login')}?{urlencode({'next': reverse('esassistant:status')})}",
    }
    return render(request, "healthapp/status.html", context)


@never_cache
def status_live(request: HttpRequest) -> HttpResponse:
    """`GET /admin/status/live`: the part of the page that changes. Only the page's script requests it; anybody else,
    such as after a login, is redirected to the page. 401 if the session has ended.
    """
    if "HX-Request" not in request.headers:
        return redirect("esassistant:status")
    if not admin.site.has_permission(request):
        return already_logged(problem_of(request, refusal_of(request)))
    return render(request, "healthapp/status_live.html", _status())


def _status() -> dict[str, Any]:
    try:
        return status_context(registry)
    except EsassistantError as error:
        return {"not_open": error.detail, "now": now_utc()}


async def status_refresh(request: HttpRequest) -> HttpResponse:
    """`/admin/status/refresh`: asks whether to refresh all mappings (GET), and does it (POST, with the CSRF token)."""
    if (await caller_of(request)).kind is not CallerKind.STAFF:
        return redirect_to_login(request.path, reverse("admin:login"))
    if request.method == "POST":
        asked = await registry.get(REFRESHES).ask("admin")
        wait = as_duration(max(1.0, asked.retry_after_seconds or 0.0))
        level, text = REFRESH_MESSAGES[asked.outcome.value]
        messages.add_message(request, level, text.format(wait=wait))
        return redirect("esassistant:status")
    context = {"page": "status", "min_interval": as_duration(settings.ESASSISTANT.mapping_cache.min_refresh_interval)}
    return render(request, "healthapp/refresh.html", context)
