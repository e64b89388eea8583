"""Answers of probes and health: for the views, and as sources of the hot path."""

from esassistant.errors import EsassistantError
from esassistant.http.answer import Answer
from esassistant.registry import State, registry

TEXT = "text/plain; charset=utf-8"
ALIVE = Answer(b"ok\n", TEXT)


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


def livez(_: str, _details: bool) -> Answer:
    """`GET /livez`: 200 as long as the process answers at all."""
    return ALIVE


def readyz(_: str, _details: bool) -> Answer:
    """`GET /readyz`: 200 when this process should get requests, else 503."""
    return readyz_answer(verbose=False)


def readyz_answer(*, verbose: bool) -> Answer:
    """`verbose` lists the conditions."""
    conditions = readiness()
    missing = [reason for reason in conditions.values() if reason is not None]
    if not (missing or verbose):
        return ALIVE
    lines = ["not ready: " + "; ".join(missing) if missing else "ok"]
    if verbose:
        lines += [f"[{'-' if reason else '+'}] {name}: {reason or 'ok'}" for name, reason in conditions.items()]
    return Answer("".join(f"{line}\n" for line in lines).encode(), TEXT, status=503 if missing else 200)
