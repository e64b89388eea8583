"""The end of a soak: nothing is wrong any more, nothing changes, and every instance says exactly what is true."""

import time
from collections.abc import Sequence
from urllib.parse import quote

from bench.soak.checks import hashes_of
from bench.soak.http import Caller, NoAnswer, Reply
from bench.soak.instances import Instance
from bench.soak.truth import Alias, State, Truth
from bench.soak.writer import ABSENT


def settled(instances: Sequence[Instance], truth: Truth, within_seconds: float) -> tuple[float, list[str]]:
    """Waits until all instances answer for all names what is true, and fresh. Returns how long that took, and what is
    still otherwise when the time is over.
    """
    began_at = time.monotonic()
    callers = [Caller() for _ in instances]
    try:
        while True:
            differing = [
                f"{instance}: {differs}"
                for instance, caller in zip(instances, callers, strict=True)
                for name in (*truth.names(), *ABSENT)
                if (differs := _differs(caller, instance.url, name, truth)) is not None
            ]
            took = time.monotonic() - began_at
            if not differing or took > within_seconds:
                return took, differing
            time.sleep(0.5)
    finally:
        for caller in callers:
            caller.close()


def _differs(caller: Caller, url: str, name: str, truth: Truth) -> str | None:
    """How an answer for `name` differs from what is true now; None: it doesn't."""
    try:
        reply = caller.ask(url, f"/api/mappings/{quote(name, safe='')}")
    except NoAnswer as failure:
        return f"{name}: {failure}"
    if differs := difference(name, truth.now(name), reply, truth):
        state, age = reply.headers.get("x-cache-state"), reply.headers.get("age")
        return f"{name}: {reply.status}, {state}, {age} s old: {differs}"
    return None


def difference(name: str, state: State, reply: Reply, truth: Truth) -> str | None:
    """What of a reply isn't `state`."""
    if state is None:
        return None if reply.status == 404 else "there is no such name"
    if reply.status != 200 or reply.headers["x-cache-state"] != "fresh":
        return "not fresh"
    indices = state.indices if isinstance(state, Alias) else frozenset({name})
    found = hashes_of(reply.body)
    if found.keys() != indices:
        return f"it stands for {', '.join(sorted(indices))}"
    outdated = [index for index in indices if getattr(truth.now(index), "mapping", None) != found[index]]
    return f"outdated: {', '.join(sorted(outdated))}" if outdated else None
