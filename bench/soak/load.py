"""The load of a soak: many kinds of requests, in a random order, to all instances."""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from bench.soak.access import BEARER, NARROW_BEARER
from bench.soak.checks import Checks
from bench.soak.http import Caller, NoAnswer, ask_and_leave
from bench.soak.instances import Instance
from bench.soak.tally import Tally
from bench.soak.writer import ABSENT, BOTH, CHANGING, LARGE, MOVING, NO_FIELD, STEADY, STEADY_ALIASES

SHARES = {
    "mapping": 50,
    "conditional": 14,
    "schema": 6,
    "fields": 6,
    "absent": 6,
    "hostile": 4,
    "indices": 4,
    "history": 1,
    "health": 3,
    "stats": 2,
    "performance": 1,
    "metrics": 1,
    "livez": 1,
    "readyz": 1,
    "search": 3,
    "refused search": 1,
    "validate": 6,
    "values": 3,
    "describe": 2,
    "in scope": 3,
    "out of scope": 3,
    "scoped names": 1,
    "stranger": 2,
    "refresh": 1,
    "refresh of one": 2,
    "leave": 4,
}
"""The share of each kind of request, in about a hundred. `leave`: the client doesn't wait for the answer."""
NAMES = {(*CHANGING, *MOVING, *BOTH): 6, LARGE: 2, (*STEADY, *STEADY_ALIASES): 2}
OUT_OF_SCOPE = (*LARGE, *CHANGING, *MOVING, *BOTH, *STEADY_ALIASES, *ABSENT)
HOSTILE = (
    "a*,_b",
    "*,_all",
    "..",
    "a,,b",
    "UPPER",
    "-x*",
    "_mapping",
    "a b",
    "a#b",
    "a\\b",
    "<logs-{now/d}>",
    "x" * 300,
)
PLAIN = {
    "indices": "/api/indices?limit=1000",
    "health": "/api/health",
    "stats": "/api/cache/stats",
    "performance": "/api/performance",
    "metrics": "/metrics",
    "livez": "/livez",
    "readyz": "/readyz",
}


class User:
    """A user who sends one request after the other, until told to stop. Belongs to one thread."""

    def __init__(
        self, number: int, seed: int, instances: Sequence[Instance], checks: Checks, tally: Tally, pause: float
    ) -> None:
        """Make a user. `pause`: how long it waits after an answer, on average."""
        self._chance = random.Random(f"{seed}/{number}")
        self._number = number
        self._instances = instances
        self._checks = checks
        self._tally = tally
        self._pause = pause
        self._callers = [Caller() for _ in instances]
        self._etags: dict[str, str] = {}
        self._asked_total = 0
        self._ways: dict[str, Callable[[Instance, str], None]] = {
            **dict.fromkeys(PLAIN, self._plain),
            **dict.fromkeys(("mapping", "conditional", "schema", "fields", "history"), self._of_a_name),
            **dict.fromkeys(("values", "describe"), self._of_a_steady_name),
            **dict.fromkeys(("search", "refused search"), self._search),
            **dict.fromkeys(("in scope", "out of scope", "scoped names"), self._scoped),
            **dict.fromkeys(("refresh", "refresh of one"), self._refresh),
            "validate": self._validate,
            "absent": self._absent_name,
            "hostile": self._hostile_name,
            "stranger": self._stranger,
            "leave": self._leave,
        }

    def run(self, stopping: threading.Event) -> None:
        try:
            while not stopping.wait(self._chance.uniform(0, 2 * self._pause)):
                ready = [instance for instance in self._instances if instance.up_since is not None]
                if ready:
                    self._use(self._chance.choice(ready))
        finally:
            for caller in self._callers:
                caller.close()

    def _use(self, instance: Instance) -> None:
        [kind] = self._chance.choices(list(SHARES), list(SHARES.values()))
        self._asked_total += 1
        self._ways[kind](instance, kind)

    # Kinds of requests

    def _plain(self, instance: Instance, kind: str) -> None:
        self._ask(instance, kind, "", PLAIN[kind])

    def _of_a_name(self, instance: Instance, kind: str) -> None:
        name = self._name()
        address = f"/api/mappings/{quote(name, safe='')}"
        if kind == "conditional":
            headers = {**BEARER, "If-None-Match": self._etags.get(name, '"none"')}
            self._ask(instance, "mapping", name, address, headers=headers)
        else:
            self._ask(instance, kind, name, address if kind == "mapping" else f"{address}/{kind}")

    def _of_a_steady_name(self, instance: Instance, kind: str) -> None:
        """Ask about a steady name. For values, it may also be a family whose values aren't gathered."""
        name = self._chance.choice((*STEADY, *CHANGING) if kind == "values" else STEADY)
        what = "fields?values=true" if kind == "values" else "describe?tokens=400"
        self._ask(instance, kind, name, f"/api/mappings/{name}/{what}")

    def _absent_name(self, instance: Instance, kind: str) -> None:
        name = self._absent()
        self._ask(instance, kind, name, f"/api/mappings/{name}")

    def _hostile_name(self, instance: Instance, kind: str) -> None:
        name = self._chance.choice(HOSTILE)
        self._ask(instance, kind, name, f"/api/mappings/{quote(name, safe='')}")

    def _search(self, instance: Instance, kind: str) -> None:
        target, body = f"/api/indices/{self._chance.choice(STEADY)}/search", b'{"size": 1}'
        if kind == "refused search":
            target, body = f"{target}?validate=refuse", _term(NO_FIELD)
        self._ask(instance, kind, "", target, method="POST", body=body)

    def _validate(self, instance: Instance, kind: str) -> None:
        """Validate a search for a field that an index may have now, or may have had."""
        name = self._chance.choice((*STEADY, *CHANGING))
        field = self._checks.some_field(name, self._chance)
        target = f"/api/mappings/{name}/validate"
        self._ask(instance, kind, name, target, method="POST", body=_term(field), field=field)

    def _scoped(self, instance: Instance, kind: str) -> None:
        """Ask as the holder of a token that sees only the steady indices."""
        name = "" if kind == "scoped names" else self._chance.choice(STEADY if kind == "in scope" else OUT_OF_SCOPE)
        target = f"/api/mappings/{name}" if name else PLAIN["indices"]
        self._ask(instance, kind, name, target, headers=NARROW_BEARER)

    def _stranger(self, instance: Instance, kind: str) -> None:
        """Ask without a token."""
        targets = (f"/api/mappings/{self._chance.choice(STEADY)}", PLAIN["indices"], "/metrics", "/api/performance")
        self._ask(instance, kind, "", self._chance.choice(targets), headers={})

    def _refresh(self, instance: Instance, kind: str) -> None:
        name = self._name() if kind == "refresh of one" else ""
        query = f"?index={quote(name, safe='')}" if name else self._chance.choice(("", "?wait=true"))
        self._ask(instance, kind, name, f"/api/cache/refresh{query}", method="POST")

    def _leave(self, instance: Instance, kind: str) -> None:
        known, absent = (f"/api/mappings/{name}" for name in (self._name(), self._absent()))
        target, after_seconds = self._chance.choice((known, absent, "/api/indices", "/metrics")), (0, 0.001, 0.01)
        ask_and_leave(instance.url, target, BEARER, self._chance.choice(after_seconds))
        self._tally.answered(kind, "not waited for")

    def _ask(
        self,
        instance: Instance,
        kind: str,
        name: str,
        target: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] = BEARER,
        body: bytes | None = None,
        field: str = "",
    ) -> None:
        caller = self._callers[instance.number]
        began_at = time.monotonic()
        sent = headers if body is None else {**headers, "Content-Type": "application/json"}
        try:
            reply = caller.ask(instance.url, target, method=method, headers=sent, body=body)
        except NoAnswer as failure:
            is_excused = not instance.was_up(began_at)  # it was killed meanwhile
            self._tally.answered(kind, "killed" if is_excused else "no answer")
            if not is_excused:
                self._tally.violated("no answer", f"{kind} {name!r} of {instance.number}: {failure}")
            return
        if kind == "mapping" and reply.status == 200:
            self._etags[name] = reply.headers["etag"]
        self._checks.check(kind, name, reply, f"instance {instance.number}", field=field)

    def _name(self) -> str:
        [group] = self._chance.choices(list(NAMES), list(NAMES.values()))
        return self._chance.choice(group)

    def _absent(self) -> str:
        if self._chance.random() < 0.5:
            return self._chance.choice(ABSENT)
        return f"never-{self._number}-{self._asked_total}"


def _term(field: str) -> bytes:
    return json.dumps({"query": {"term": {field: "blue"}}, "size": 1}).encode()
