"""`/livez` and `/readyz`: for load balancers and orchestrators.

Answered before anything else in Django: a probe comes under any Host, and must cost nothing. The cluster is not part of
readiness: an outage would take every instance out, and stale answers would help nobody.
"""

from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse

from esassistant.errors import EsassistantError, MethodNotAllowed
from esassistant.problems import already_logged, problem_of
from esassistant.registry import State, registry


def readiness() -> dict[str, str | None]:
    """Each condition of readiness with what is missing; None: met."""
    if registry.state is not State.OPEN:
        return {"registry": f"the registry is {registry.state.value}"}
    try:
        warm = registry.read("mapping_cache").warm
    except EsassistantError as error:
        return {"registry": error.detail}
    return {
        "registry": None,
        "mappings": None if warm else "no mappings yet: neither the cluster nor the store gave any",
    }


def livez(_: HttpRequest) -> HttpResponse:
    """`GET /livez`: 200 as long as the process answers at all."""
    return _text(200, "ok")


def readyz(request: HttpRequest) -> HttpResponse:
    """`GET /readyz`: 200 when this process should get requests, else 503; `?verbose` lists the conditions."""
    conditions = readiness()
    missing = [reason for reason in conditions.values() if reason is not None]
    lines = ["not ready: " + "; ".join(missing) if missing else "ok"]
    if "verbose" in request.GET:
        lines += [f"[{'-' if reason else '+'}] {name}: {reason or 'ok'}" for name, reason in conditions.items()]
    return _text(503 if missing else 200, "\n".join(lines))


def _text(status: int, text: str) -> HttpResponse:
    response = HttpResponse(text + "\n", status=status, content_type="text/plain; charset=utf-8")
    response["Cache-Control"] = "no-store"
    response["Content-Length"] = str(len(response.content))
    return already_logged(response)


PROBES = {"/livez": livez, "/readyz": readyz}


class ProbeMiddleware:
    """Outermost middleware. Async as it stands: no thread hop."""

    async_capable = True
    sync_capable = True

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        probe = PROBES.get(request.path)
        if probe is None:
            return self._get_response(request)
        if request.method not in ("GET", "HEAD"):
            response = problem_of(request, MethodNotAllowed(("GET", "HEAD")))
        else:
            response = probe(request)
        return self._answered(response) if iscoroutinefunction(self._get_response) else response

    @staticmethod
    async def _answered(response: HttpResponse) -> HttpResponse:
        return response
