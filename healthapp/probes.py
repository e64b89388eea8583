"""`/livez` and `/readyz`, for load balancers and orchestrators.

They are answered before everything else in Django: a probe may come with any Host, and must cost nothing. Readiness
doesn't depend on the cluster. Otherwise an outage of the cluster would take all instances out of service, and nobody
would get even the stale answers.
"""

from django.http import HttpRequest, HttpResponse

from cacheapp.reports import CACHE_REPORT
from esassistant.addresses import own_path
from esassistant.errors import EsassistantError, MethodNotAllowed
from esassistant.http.answer import Answer
from esassistant.http.early_middleware import EarlyMiddleware
from esassistant.http.problems import already_logged, problem_of
from esassistant.registry import State, registry

TEXT = "text/plain; charset=utf-8"
ALIVE = Answer(b"ok\n", TEXT)
"""The answer to `/livez`: 200, as long as the process can answer at all."""


def readiness() -> dict[str, str | None]:
    """Return each condition of readiness with the reason why it isn't met, or None if it is met."""
    if registry.state is not State.OPEN:
        return {"registry": f"the registry is {registry.state.value}"}
    try:
        warm = registry.read(CACHE_REPORT).warm
    except EsassistantError as error:
        return {"registry": error.detail}
    return {
        "registry": None,
        "mappings": None if warm else "no mappings yet: neither the cluster nor the store gave any",
    }


def readyz_answer(*, verbose: bool = False) -> Answer:
    """Return the answer to `/readyz`: 200 if this process should get requests, else 503. `verbose` lists the
    conditions.
    """
    conditions = readiness()
    missing = [reason for reason in conditions.values() if reason is not None]
    if not (missing or verbose):
        return ALIVE
    lines = ["not ready: " + "; ".join(missing) if missing else "ok"]
    if verbose:
        lines += [f"[{'-' if reason else '+'}] {name}: {reason or 'ok'}" for name, reason in conditions.items()]
    return Answer("".join(f"{line}\n" for line in lines).encode(), TEXT, status=503 if missing else 200)


def livez(request: HttpRequest) -> HttpResponse:
    """`GET /livez`: 200 as long as the process can answer."""
    return ALIVE.response(request)


def readyz(request: HttpRequest) -> HttpResponse:
    """`GET /readyz`: 200 if this process should get requests, else 503; `?verbose` lists the conditions."""
    return already_logged(readyz_answer(verbose="verbose" in request.GET).response(request))


PROBES = {"/livez": livez, "/readyz": readyz}


class ProbeMiddleware(EarlyMiddleware):
    """Answers probes before sessions and host checks."""

    def early(self, request: HttpRequest) -> HttpResponse | None:
        """Return the answer to a probe, or None for any other request."""
        probe = PROBES.get(own_path(request))
        if probe is None:
            return None
        if request.method not in ("GET", "HEAD"):
            return problem_of(request, MethodNotAllowed(("GET", "HEAD")))
        return probe(request)
