"""The front page: what this service is, how it is, and where to go next."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from cacheapp.reports import CACHE_REPORT
from esassistant.addresses import placed
from esassistant.errors import RegistryNotOpen
from esassistant.http.auth import reads_all
from esassistant.http.layout import layout_of
from esassistant.registry import registry
from healthapp.monitor import HEALTH_REPORT

ADDRESSES = (
    ("/api/health", "Health of this service and of what it stands on"),
    ("/api/docs", "This API, with examples"),
    ("/api/mappings/{name}", "Mappings of a name, list or pattern; also /fields /schema /describe /validate /history"),
    ("/api/indices", "The names that are known"),
    ("/api/fields", "The fields of all of them"),
    ("/api/describe", "The cluster in a text that fits a prompt"),
    ("/api/changes", "What changed"),
    ("/api/compare?a={name}&b={name}", "In which fields two of them differ"),
    ("/api/indices/{name}/search", "A search (POST), validated first"),
    ("/api/cache/stats", "What the mapping cache holds, and how it was used"),
    ("/api/performance", "Pools, latencies, resources, and what to tune"),
    ("/metrics", "The same for Prometheus"),
    ("/api/openapi.json", "Description of the API (OpenAPI 3.1)"),
    ("/problems/", "What each error means, and what to do"),
    ("/livez", "Liveness"),
    ("/readyz", "Readiness"),
)


async def front(request: HttpRequest) -> HttpResponse:
    """`GET /`: the front page. Callers who may not read everything get the status, the verdict for strangers, and
    totals.

    Raises `Unauthorized` for a wrong token.
    """
    details = await reads_all(request)
    context = {
        "page": "front",
        "addresses": [(placed(address), what) for address, what in ADDRESSES],
        "debug": settings.DEBUG,
        "details": details,
        "cluster": layout_of(request).cluster_name,
    }
    try:
        health = registry.read(HEALTH_REPORT)
        context |= {"health": health, "cache": registry.read(CACHE_REPORT)}
        if health is not None and health.verdict is not None:  # there is no verdict yet while the first checks run
            context["verdict"] = health.sentence(details=details)
    except RegistryNotOpen as error:
        context["not_open"] = error.detail
    return render(request, "healthapp/front.html", context)
