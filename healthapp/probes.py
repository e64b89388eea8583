"""`/livez` and `/readyz`: for load balancers and orchestrators.

Answered before anything else in Django: a probe comes under any Host, and must cost nothing. The cluster is not part of
readiness: an outage would take every instance out, and stale answers would help nobody.
"""

from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse

from esassistant.errors import MethodNotAllowed
from esassistant.http.problems import already_logged, problem_of
from healthapp.answers import ALIVE, readyz_answer


def livez(request: HttpRequest) -> HttpResponse:
    """`GET /livez`."""
    return ALIVE.response(request)


def readyz(request: HttpRequest) -> HttpResponse:
    """`GET /readyz`; `?verbose` lists the conditions."""
    return already_logged(readyz_answer(verbose="verbose" in request.GET).response(request))


PROBES = {"/livez": livez, "/readyz": readyz}


class ProbeMiddleware:
    """Before sessions and host checks. Async where what is inside is: no hop to a thread."""

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
