"""The load of a soak: many kinds of requests, in a random order, to all instances."""

import random
import threading
import time
from collections.abc import Sequence
from urllib.parse import quote

from bench.soak.checks import Checks
from bench.soak.http import Caller, NoAnswer, ask_and_leave
from bench.soak.instances import Instance
from bench.soak.tally import Tally
from bench.soak.writer import ABSENT, BOTH, CHANGING, LARGE, MOVING, STEADY, STEADY_ALIASES
from dev.servers.service import TOKEN

BEARER = {"Authorization": f"Bearer {TOKEN}"}
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
    "refresh": 1,
    "refresh of one": 2,
    "leave": 4,
}
"""How often each kind of request is made, of a hundred or so. `leave`: the client doesn't wait for the answer."""
NAMES = {(*CHANGING, *MOVING, *BOTH): 6, LARGE: 2, (*STEADY, *STEADY_ALIASES): 2}
HOSTILE = ("_all", "*", "..", "a,b", "UPPER", "-minus", "_mapping", "a b", "a#b", "a\\b", "<logs-{now/d}>", "x" * 300)
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
    """Asks again and again, one request after the other, until told to stop. Belongs to one thread."""

    def __init__(
        self, number: int, seed: int, instances: Sequence[Instance], checks: Checks, tally: Tally, pause: float
    ) -> None:
        """`pause`: how long it waits after an answer, on average."""
        self._chance = random.Random(f"{seed}/{number}")
        self._number = number
        self._instances = instances
        self._checks = checks
        self._tally = tally
        self._pause = pause
        self._callers = [Caller() for _ in instances]
        self._etags: dict[str, str] = {}
        self._asked_total = 0

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
        name = self._name()
        encoded = quote(name, safe="")
        match kind:
            case "mapping":
                self._ask(instance, kind, name, f"/api/mappings/{encoded}")
            case "conditional":
                etag = self._etags.get(name, '"none"')
                self._ask(instance, "mapping", name, f"/api/mappings/{encoded}", headers={"If-None-Match": etag})
            case "schema" | "fields" | "history":
                self._ask(instance, kind, name, f"/api/mappings/{encoded}/{kind}")
            case "absent":
                name = self._absent()
                self._ask(instance, kind, name, f"/api/mappings/{name}")
            case "hostile":
                name = self._chance.choice(HOSTILE)
                self._ask(instance, kind, name, f"/api/mappings/{quote(name, safe='')}")
            case "search":
                target = f"/api/indices/{self._chance.choice(STEADY)}/search"
                self._ask(instance, kind, "", target, method="POST", headers=BEARER, body=b'{"size": 1}')
            case "refresh":
                wait = self._chance.choice(("", "?wait=true"))
                self._ask(instance, kind, "", f"/api/cache/refresh{wait}", method="POST", headers=BEARER)
            case "refresh of one":
                self._ask(instance, kind, name, f"/api/cache/refresh?index={encoded}", method="POST", headers=BEARER)
            case "leave":
                targets = (f"/api/mappings/{encoded}", f"/api/mappings/{self._absent()}", "/api/indices", "/metrics")
                ask_and_leave(instance.url, self._chance.choice(targets), self._chance.choice((0, 0.001, 0.01)))
                self._tally.answered(kind, "not waited for")
            case _:
                self._ask(instance, kind, "", PLAIN[kind], headers=self._chance.choice((BEARER, {})))

    def _ask(
        self,
        instance: Instance,
        kind: str,
        name: str,
        target: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        caller = self._callers[instance.number]
        began_at = time.monotonic()
        try:
            reply = caller.ask(instance.url, target, method=method, headers=headers, body=body)
        except NoAnswer as failure:
            is_excused = not instance.was_up(began_at)  # it was killed meanwhile
            self._tally.answered(kind, "killed" if is_excused else "no answer")
            if not is_excused:
                self._tally.violated("no answer", f"{kind} {name!r} of {instance.number}: {failure}")
            return
        if kind == "mapping" and reply.status == 200:
            self._etags[name] = reply.headers["etag"]
        self._checks.check(kind, name, reply, f"instance {instance.number}")

    def _name(self) -> str:
        [group] = self._chance.choices(list(NAMES), list(NAMES.values()))
        return self._chance.choice(group)

    def _absent(self) -> str:
        if self._chance.random() < 0.5:
            return self._chance.choice(ABSENT)
        return f"never-{self._number}-{self._asked_total}"
