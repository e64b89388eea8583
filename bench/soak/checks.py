"""Check answers: whether the service may give their status and headers, and whether they are true. At the end, check
that all instances say exactly what is true.
"""

import json
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from bench.soak.access import BEARER
from bench.soak.http import Caller, NoAnswer, Reply
from bench.soak.instances import Instance
from bench.soak.tally import Tally
from bench.soak.truth import (
    MILLISECOND,
    Alias,
    Index,
    State,
    Truth,
    window_of,
    window_of_absence,
    wrong_absence,
    wrong_fields,
    wrong_finding,
    wrong_listing,
    wrong_mappings,
)
from bench.soak.writer import ABSENT, LARGE, NO_FIELD, STEADY, STEADY_ALIASES, VALUES, VALUES_FIELD
from cacheapp.state.snapshot import mapping_hash

KEPT_ETAGS = 20_000
NOT_KEPT = "/problems/no-mappings-yet"
ALWAYS_THERE = frozenset((*STEADY, *LARGE, *STEADY_ALIASES))

EXPECTED: Mapping[str, frozenset[int]] = {
    kind: frozenset(statuses)
    for kind, statuses in {
        "mapping": (200, 304, 404),
        "schema": (200, 404),
        "fields": (200, 404),
        "absent": (404,),
        "hostile": (400,),
        "indices": (200,),
        "history": (200,),
        "health": (200,),
        "stats": (200,),
        "performance": (200,),
        "metrics": (200,),
        "livez": (200,),
        "readyz": (200,),
        "search": (200,),
        "refused search": (400, 200),  # 200: if its mapping is not in memory
        "validate": (200, 404),
        "values": (200, 404),
        "describe": (200,),
        "in scope": (200,),
        "out of scope": (404,),
        "scoped names": (200,),
        "stranger": (401,),
        "refresh": (200, 202, 429),
        "refresh of one": (200, 404),
    }.items()
}
"""The statuses that each kind of request may get at any time."""
NEEDS_CLUSTER = frozenset(
    (
        *("mapping", "schema", "fields", "validate", "values", "describe", "in scope", "absent", "health"),
        *("search", "refused search", "refresh", "refresh of one"),
    )
)
"""The kinds of requests that may get 503 while the cluster isn't well."""


class _Index(msgspec.Struct):
    mappings: msgspec.Raw


_decoder = msgspec.json.Decoder(dict[str, _Index])


@dataclass(frozen=True, slots=True)
class Promise:
    """Those settings of the instances that the checks need, in seconds."""

    ttl: float
    max_stale: float
    negative_ttl: float
    fetch_timeout: float


class Checks:
    """Compares answers with the truth and with what was promised, and reports to the tally. Used by many threads."""

    def __init__(self, truth: Truth, promise: Promise, tally: Tally, *, is_disturbed: Callable[[float], bool]) -> None:
        """Make the checks. `is_disturbed`: returns whether the cluster may not have been well at that moment or
        later.
        """
        self._truth = truth
        self._promise = promise
        self._tally = tally
        self._is_disturbed = is_disturbed
        self._lock = threading.Lock()
        self._by_etag: OrderedDict[tuple[str, str], dict[str, str]] = OrderedDict()

    def some_field(self, name: str, chance: random.Random) -> str:
        """Return a field that the index has now, or one that no index ever has."""
        state = self._truth.now(name)
        fields = sorted(state.fields) if isinstance(state, Index) else []
        return chance.choice([NO_FIELD, *fields])

    def check(self, asked: str, name: str, reply: Reply, where: str, *, field: str = "") -> None:
        """Check an answer to a request of the kind `asked`, for `name` if it is about one.

        `where`: the instance that answered, for messages. `field`: the field that the validated search uses.
        """
        told = f"{asked} {name!r} of {where}: {reply.status}"
        self._tally.answered(asked, str(reply.status))
        if reply.status == 503 and self._may_be_unavailable(asked, reply):
            if asked != "health" and "retry-after" not in reply.headers:
                self._tally.violated("503 without Retry-After", told)
            return
        if reply.status not in EXPECTED[asked]:
            self._tally.violated("unexpected status", f"{told} {reply.body[:300]!r}")
            return
        try:
            self._compare(asked, name, reply, told, field)
        except (ValueError, KeyError, TypeError) as error:
            self._tally.violated("not what was asked for", f"{told} {error!r} {reply.body[:300]!r}")

    def _may_be_unavailable(self, asked: str, reply: Reply) -> bool:
        """Return whether 503 is allowed: while the cluster isn't well; and for validations, which never ask the
        cluster, while the mapping is not in memory.
        """
        if asked == "validate" and json.loads(reply.body)["type"] == NOT_KEPT:
            return True
        return asked in NEEDS_CLUSTER and (self._is_disturbed(reply.sent_at) or is_red(reply))

    def _compare(self, asked: str, name: str, reply: Reply, told: str, field: str) -> None:
        """Compare an answer with the truth, if it says anything of it."""
        match asked:
            case "out of scope":
                self._tally.compared(asked, "absent", "", None)  # what the caller gets, whatever exists
            case _ if reply.status == 404:
                self._absence(asked, name, reply, told)
            case "mapping" | "in scope" | "refresh of one":
                self._mapping(asked, name, reply, told)
            case "schema" | "fields":
                self._derived(asked, name, reply, told)
            case "indices":
                self._listing(reply, told)
            case "validate":
                self._validation(name, reply, told, field)
            case "values":
                self._values(name, reply, told)
            case "describe" if VALUES_FIELD not in reply.body.decode():
                self._tally.violated("a description without its fields", told)
            case "scoped names":
                self._scoped_names(reply, told)

    def _validation(self, name: str, reply: Reply, told: str, field: str) -> None:
        answer = json.loads(reply.body)
        is_unknown = any(found["code"] == "unknown_field" and found["field"] == field for found in answer["findings"])
        window = window_of(reply.sent_at, reply.received_at, answer["age_seconds"], MILLISECOND)
        wrong = wrong_finding(self._truth, name, field, is_unknown=is_unknown, window=window)
        self._tally.compared(
            "validate", "unknown" if is_unknown else "known", "", wrong and f"{told}: {wrong}; {window}"
        )

    def _values(self, name: str, reply: Reply, told: str) -> None:
        """Check values: documents must have them, their field must not be private, and they must be of the right
        family.
        """
        fields = {field["name"]: field["values"] for field in json.loads(reply.body)["fields"]}
        given = fields.pop(VALUES_FIELD, None) if name in STEADY else None
        found = {value["value"] for value in given["values"]} if given else set()
        leaked = [field for field, values in fields.items() if values and values["values"]]
        wrong = f"{told}: {sorted(found)}, {leaked}" if not found <= set(VALUES) or leaked else None
        self._tally.compared("values", "known" if found else "not known", "", wrong)

    def _scoped_names(self, reply: Reply, told: str) -> None:
        listed = {line["name"] for line in json.loads(reply.body)["names"]}
        wrong = f"{told}: {sorted(listed ^ set(STEADY))}" if listed != set(STEADY) else None
        self._tally.compared("scoped names", "listed", "", wrong)

    def _absence(self, asked: str, name: str, reply: Reply, told: str) -> None:
        if (age := json.loads(reply.body).get("age_seconds")) is not None:
            window = window_of(reply.sent_at, reply.received_at, age, MILLISECOND)
        else:
            window = window_of_absence(
                reply.sent_at,
                reply.received_at,
                negative_ttl=self._promise.negative_ttl,
                fetch_timeout=self._promise.fetch_timeout,
            )
        wrong = wrong_absence(self._truth, name, window)
        self._tally.compared(asked, "absent", "", wrong and f"{told}: {wrong}; {window}")

    def _mapping(self, asked: str, name: str, reply: Reply, told: str) -> None:
        age, state = self._age(reply, told)
        etag = reply.headers["etag"]
        if reply.status == 304:
            with self._lock:
                mappings = self._by_etag[name, etag]
        else:
            mappings = hashes_of(reply.body)
            with self._lock:
                if self._by_etag.setdefault((name, etag), mappings) != mappings:
                    self._tally.violated("one ETag, two bodies", told)
                if len(self._by_etag) > KEPT_ETAGS:
                    self._by_etag.popitem(last=False)
        window = window_of(reply.sent_at, reply.received_at, age)
        wrong = wrong_mappings(self._truth, name, mappings, window)
        outlived = max(0.0, reply.sent_at - self._over_since(name, mappings))
        self._tally.compared(
            f"{asked} ({reply.status})",
            state,
            reply.headers["x-cache-source"],
            wrong and f"{told}, age {age}, {state}, {reply.headers['x-cache-source']}: {wrong}; {window}",
            outlived,
        )

    def _derived(self, asked: str, name: str, reply: Reply, told: str) -> None:
        age, state = self._age(reply, told)
        document = json.loads(reply.body)
        listed = (field["name"] for field in document["fields"]) if asked == "fields" else document["properties"]
        fields = frozenset(field for field in listed if not field.startswith("_"))  # without metadata fields
        window = window_of(reply.sent_at, reply.received_at, age)
        wrong = wrong_fields(self._truth, name, fields, window)
        self._tally.compared(
            asked, state, reply.headers["x-cache-source"], wrong and f"{told}, age {age}, {state}: {wrong}; {window}"
        )

    def _listing(self, reply: Reply, told: str) -> None:
        listed: list[dict[str, Any]] = json.loads(reply.body)["names"]
        if missing := ALWAYS_THERE.difference(line["name"] for line in listed):
            self._tally.compared("indices", "listed", "", f"{told}: {', '.join(sorted(missing))} not listed")
        for line in listed:
            window = window_of(reply.sent_at, reply.received_at, line["age_seconds"], MILLISECOND)
            wrong = wrong_listing(self._truth, line["name"], line["mapping_hash"], line["indices"], window)
            self._tally.compared("indices", "listed", "", wrong and f"{told}, {line}: {wrong}; {window}")

    def _age(self, reply: Reply, told: str) -> tuple[int, str]:
        """Return the age in seconds and the state that an answer gives, after checking that they fit together."""
        age, state = int(reply.headers["age"]), reply.headers["x-cache-state"]
        took = reply.received_at - reply.sent_at  # the service determines the state a moment before the age
        promise = self._promise
        least, most = {"fresh": (0.0, promise.ttl), "stale": (promise.ttl - 1, promise.ttl + promise.max_stale)}[state]
        if not least <= age <= most + took:
            self._tally.violated("state and age don't fit", f"{told} {state}, {age} s old")
        return age, state

    def _over_since(self, name: str, mappings: Mapping[str, str]) -> float:
        """Return the moment since which the answer was surely untrue, on the clock of the truth."""
        ends = [self._truth.over_since(index, Index(mapping)) for index, mapping in mappings.items()]
        if mappings.keys() != {name}:
            ends.append(self._truth.over_since(name, Alias(frozenset(mappings))))
        return min(ends)


def hashes_of(body: bytes) -> dict[str, str]:
    """Return the hash of each index's mapping in an answer of Elasticsearch's shape."""
    return {index: mapping_hash(bytes(found.mappings)) for index, found in _decoder.decode(body).items()}


def is_red(reply: Reply) -> bool:
    """Return whether a health report says, correctly, that the cluster is red. It is red for a moment whenever an index
    is made or opened.
    """
    try:
        status: object = json.loads(reply.body)["services"]["elasticsearch"]["facts"]["status"]
    except (ValueError, KeyError, TypeError):
        return False
    return status == "red"


def settled(instances: Sequence[Instance], truth: Truth, within_seconds: float) -> tuple[float, list[str]]:
    """Wait until all instances answer for all names what is true, and fresh. Return how many seconds that took, and
    what is still different when `within_seconds` are over.
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
    """Return how an answer for `name` differs from what is true now; None if it doesn't."""
    try:
        reply = caller.ask(url, f"/api/mappings/{quote(name, safe='')}", headers=BEARER)
    except NoAnswer as failure:
        return f"{name}: {failure}"
    if differs := difference(name, truth.now(name), reply, truth):
        state, age = reply.headers.get("x-cache-state"), reply.headers.get("age")
        return f"{name}: {reply.status}, {state}, {age} s old: {differs}"
    return None


def difference(name: str, state: State, reply: Reply, truth: Truth) -> str | None:
    """Return in words how a reply for `name` differs from `state`; None if it doesn't."""
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
