"""Health and performance over HTTP, and the status page."""

import asyncio

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from esassistant.api import api_view, json_response
from esassistant.auth import may_see_details, require_details
from esassistant.errors import EsassistantError
from esassistant.problems import already_logged
from esassistant.registry import registry
from healthapp.metrics import exposition, workers_of
from healthapp.monitor import HealthMonitor, HealthReport
from healthapp.performance import performance_report


@api_view("GET")
async def health(request: HttpRequest) -> HttpResponse:
    """`GET /api/health`: the last report of the monitor; 503 only when unhealthy. The Age header says how old it is.

    Who may not see details gets the status without the services.
    """
    details = await may_see_details(request)
    monitor: HealthMonitor = registry.get("health")
    answer = await monitor.answer(details=details)
    return already_logged(answer.response(request))


@api_view("GET")
async def performance(request: HttpRequest) -> HttpResponse:
    """`GET /api/performance`: pools, cache, passes, background tasks and what to tune."""
    await require_details(request)
    return json_response(performance_report(registry))


@api_view("GET")
async def metrics(request: HttpRequest) -> HttpResponse:
    """`GET /metrics`: all numbers of all workers of this server, for Prometheus."""
    await require_details(request)
    workers = await workers_of(registry)
    body = await asyncio.to_thread(exposition, registry, workers)
    response = HttpResponse(body, content_type=CONTENT_TYPE_PLAIN_0_0_4)
    response["Cache-Control"] = "no-store"
    return response


def status(request: HttpRequest) -> HttpResponse:
    """`GET /admin/status/`: the last reports for staff. Never waits for the cluster."""
    context = {**admin.site.each_context(request), "title": "Status"}
    try:
        report: HealthReport | None = registry.read("health")
        context |= {"health": report, "performance": performance_report(registry)}
    except EsassistantError as error:
        context["not_open"] = error.detail
    return render(request, "healthapp/status.html", context)
