"""The writer of a soak: it alone changes the cluster, directly at the node, and records each change in the truth."""

import json
import random
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from bench.soak.http import Caller
from bench.soak.truth import Alias, Index, State, Truth
from cacheapp.state.snapshot import mapping_hash

PATIENCE_SECONDS = 120.0
"""How long the writer waits for an answer. A node that is stopped answers when it goes on; without waiting, nobody
could know what it does with the change.
"""
PAUSE_SECONDS = (0.05, 0.6)
MOST_FIELDS = 12
TYPES = ("keyword", "long", "date", "boolean", "ip", "text", "double")

STEADY = tuple(f"steady-{number:02}" for number in range(12))
"""Indices that never change. A few mappings are shared between them, as between rolled-over indices."""
STEADY_MAPPINGS = 3
VALUES_FIELD, VALUES = "keyword_0", ("blue", "green", "red")
"""The field of the documents in the steady indices, and its values: one per document."""
LARGE = tuple(f"large-{number:02}" for number in range(24))
"""Indices that never change, each with a mapping of its own. Together these are more than the instances may keep."""
LARGE_BYTES = 60_000
STEADY_ALIASES = {"all-steady": STEADY, "large-pair": LARGE[:2], "one-large": LARGE[2:3]}
CHANGING = tuple(f"item-{number:02}" for number in range(12))
"""Indices that are created, changed, deleted and created again."""
MOVING = tuple(f"moving-{number}" for number in range(4))
"""Aliases that are moved from index to index."""
BOTH = ("both-0", "both-1")
"""Names that stand for an index at one time, and for an alias at another."""
NO_FIELD = "no_such_field"
"""The name of a field that no index ever has."""
ABSENT = tuple(f"absent-{number}" for number in range(8))
"""Names that never exist."""

DONE_BEFORE = frozenset(
    (
        ("DELETE", "index_not_found_exception"),
        ("PUT", "resource_already_exists_exception"),
        ("POST", "aliases_not_found_exception"),
    )
)
"""Errors that say that a change was made already. Where a master node made it and was killed before it acknowledged
that, the node that was asked sends it to the next master again.
"""


class WriterFailed(Exception):
    """The cluster did not do what it was told, so it isn't known any more what is true."""


def rendered(mapping: Mapping[str, Any]) -> bytes:
    """Return a mapping as Elasticsearch renders it: compact, `dynamic` first, then `_meta`, then the fields by name."""
    ordered = {key: mapping[key] for key in ("dynamic", "_meta") if key in mapping}
    ordered["properties"] = dict(sorted(mapping["properties"].items()))
    return json.dumps(ordered, separators=(",", ":")).encode()


def index_state(mapping: Mapping[str, Any]) -> Index:
    return Index(mapping_hash(rendered(mapping)), frozenset(mapping["properties"]))


def steady_mapping(number: int) -> dict[str, Any]:
    return {
        "dynamic": "strict",
        "properties": {f"{kind}_{each}": {"type": kind} for kind in TYPES for each in range(2 + number)},
    }


def large_mapping(number: int) -> dict[str, Any]:
    """Return a mapping that is large because of its `_meta`. It has as many bytes as one with thousands of fields, but
    doesn't need minutes to be made.
    """
    return {
        "_meta": {"filler": f"{number:04}" * (LARGE_BYTES // 4)},
        "properties": {f"of_{number}": {"type": "keyword"}},
    }


class Writer:
    """The writer. `prepare` makes what never changes, `run` changes the rest until it is told to stop. Belongs to one
    thread.
    """

    def __init__(self, url: str, truth: Truth, seed: int, *, copies: int = 0) -> None:
        """Make a writer. `copies`: how many copies of each index are on other nodes than the first."""
        self.changes: Counter[str] = Counter()
        self._url = url
        self._copies = copies
        self._truth = truth
        self._chance = random.Random(seed)
        self._caller = Caller(timeout=PATIENCE_SECONDS)
        self._mappings: dict[str, dict[str, Any]] = {}
        """The mappings of the existing indices, without the steady ones."""
        self._marks = 0

    def prepare(self) -> None:
        for number, name in enumerate(STEADY):
            self._create(name, steady_mapping(number % STEADY_MAPPINGS))
        for number, name in enumerate(LARGE):
            self._create(name, large_mapping(number))
        for alias, indices in STEADY_ALIASES.items():
            self._point(alias, indices)
        for name in CHANGING[::2]:
            self._create_changing(name)
        for alias in MOVING[::2]:
            self._point(alias, self._some_indices())
        for name in (*STEADY[:STEADY_MAPPINGS], LARGE[0], CHANGING[0]):
            self._see(name)
        for number, name in enumerate(STEADY):
            document = {VALUES_FIELD: VALUES[number % len(VALUES)], "text_0": "never told"}
            self._ask("PUT", f"/{name}/_doc/1", {"refresh": "true"}, document)

    def run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            self.change()
            stopping.wait(self._chance.uniform(*PAUSE_SECONDS))
        self._caller.close()

    def change(self) -> None:
        """Make one change of a random kind to a random name."""
        kinds = {
            self._make_or_delete: 4,
            self._add_field: 6,
            self._change_parameters: 3,
            self._make_anew: 3,
            self._move_alias: 5,
            self._swap_both: 2,
            self._close_and_open: 1,
        }
        [kind] = self._chance.choices(list(kinds), list(kinds.values()))
        kind()
        self.changes[kind.__name__.strip("_").replace("_", " ")] += 1

    # Kinds of changes

    def _make_or_delete(self) -> None:
        name = self._chance.choice(CHANGING)
        if name in self._mappings:
            self._delete(name)
        else:
            self._create_changing(name)

    def _add_field(self) -> None:
        name = self._changing_index()
        if len(self._mappings[name]["properties"]) >= MOST_FIELDS:
            self._make_anew(name)
            return
        added = {f"f{self._mark()}": {"type": self._chance.choice(TYPES)}}
        self._put(name, {"properties": added})

    def _change_parameters(self) -> None:
        """Change parameters only, which doesn't change the number of fields."""
        self._put(self._changing_index(), {"_meta": {"mark": self._mark()}})

    def _make_anew(self, name: str | None = None) -> None:
        """Delete an index and create it again under the same name, often with as many fields as before."""
        name = name or self._changing_index()
        fields = len(self._mappings[name]["properties"])
        self._delete(name)
        self._create_changing(name, fields if self._chance.random() < 0.7 else None)

    def _move_alias(self) -> None:
        self._point(self._chance.choice(MOVING), self._some_indices() if self._chance.random() < 0.85 else ())

    def _swap_both(self) -> None:
        name = self._chance.choice(BOTH)
        if name in self._mappings:
            target = self._chance.choice([each for each in self._indices() if each != name])
            states = {**self._without(name), name: Alias(frozenset({target}))}
            actions = [{"remove_index": {"index": name}}, {"add": {"index": target, "alias": name}}]
            with self._truth.changing(states):
                self._send("POST", "/_aliases", {"actions": actions})
            del self._mappings[name]
        else:
            self._point(name, ())
            self._create_changing(name)

    def _close_and_open(self) -> None:
        """Close an index and open it again, which changes no mapping."""
        name = self._changing_index()
        self._send("POST", f"/{name}/_close")
        self._send("POST", f"/{name}/_open")

    # What they are made of

    def _create_changing(self, name: str, fields: int | None = None) -> None:
        mark = self._mark()
        fields = fields or self._chance.randrange(1, 6)
        mapping = {
            "_meta": {"mark": mark},
            "properties": {f"f{mark}_{each}": {"type": self._chance.choice(TYPES)} for each in range(fields)},
        }
        alias = self._chance.choice(MOVING) if self._chance.random() < 0.3 else None
        self._create(name, mapping, alias)
        self._mappings[name] = mapping

    def _create(self, name: str, mapping: Mapping[str, Any], alias: str | None = None) -> None:
        states: dict[str, State] = {name: index_state(mapping)}
        if alias is not None:
            states[alias] = Alias(self._members(alias) | {name})
        body = {
            "settings": {"number_of_shards": 1, "number_of_replicas": self._copies},
            "mappings": mapping,
            "aliases": {} if alias is None else {alias: {}},
        }
        with self._truth.changing(states):
            self._send("PUT", f"/{name}", body)

    def _put(self, name: str, change: dict[str, Any]) -> None:
        before = self._mappings[name]
        after = {**before, **change, "properties": {**before["properties"], **change.get("properties", {})}}
        with self._truth.changing({name: index_state(after)}):
            self._send("PUT", f"/{name}/_mapping", change)
        self._mappings[name] = after

    def _delete(self, name: str) -> None:
        with self._truth.changing(self._without(name)):
            self._send("DELETE", f"/{name}")
        del self._mappings[name]

    def _point(self, alias: str, indices: Iterable[str]) -> None:
        """Make `alias` stand for exactly `indices` in one step; without indices, remove it."""
        before, after = self._members(alias), frozenset(indices)
        actions = [{"add": {"index": index, "alias": alias}} for index in sorted(after - before)]
        actions += [{"remove": {"index": index, "alias": alias}} for index in sorted(before - after)]
        if actions:
            with self._truth.changing({alias: Alias(after) if after else None}):
                self._send("POST", "/_aliases", {"actions": actions})

    def _without(self, index: str) -> dict[str, State]:
        """Return what names stand for after `index` is deleted: its aliases lose it."""
        states: dict[str, State] = {index: None}
        for name in (*MOVING, *BOTH):
            if index in (members := self._members(name)):
                states[name] = Alias(members - {index}) if len(members) > 1 else None
        return states

    def _members(self, alias: str) -> frozenset[str]:
        state = self._truth.now(alias)
        return state.indices if isinstance(state, Alias) else frozenset()

    def _indices(self) -> list[str]:
        return [*STEADY, *LARGE[-2:], *sorted(self._mappings)]

    def _some_indices(self) -> list[str]:
        return self._chance.sample(self._indices(), self._chance.randrange(1, 4))

    def _changing_index(self) -> str:
        if not self._mappings:
            self._create_changing(CHANGING[0])
        return self._chance.choice(sorted(self._mappings))

    def _mark(self) -> int:
        """Return a new number for a mapping, so that no mapping ever comes back."""
        self._marks += 1
        return self._marks

    def _see(self, name: str) -> None:
        """Check that Elasticsearch renders mappings as this module expects. Raise `WriterFailed` if it doesn't."""
        reply = self._caller.ask(self._url, f"/{name}/_mapping")
        mapping = reply.body.removeprefix(b'{"%b":{"mappings":' % name.encode()).removesuffix(b"}}")
        state = self._truth.now(name)
        if not isinstance(state, Index) or mapping_hash(mapping) != state.mapping:
            raise WriterFailed(f"{name} is rendered otherwise than expected: {reply.body[:500]!r}")

    def _send(self, method: str, target: str, body: object = None) -> None:
        patience = f"{PATIENCE_SECONDS:.0f}s"
        answer = self._ask(method, target, {"timeout": patience, "master_timeout": patience}, body)
        if not answer["acknowledged"]:
            # The cluster has made the change, but a node was lost before it acknowledged that.
            if not self._copies:
                raise WriterFailed(f"{method} {target} was not acknowledged")
            self.changes["not acknowledged by a node"] += 1

    def _ask(self, method: str, target: str, parameters: Mapping[str, str], body: object) -> dict[str, Any]:
        self._caller.close()  # with a new connection, the change is sent once and never again
        reply = self._caller.ask(
            self._url,
            f"{target}?{urlencode(parameters)}",
            method=method,
            headers={"Content-Type": "application/json"},
            body=None if body is None else json.dumps(body).encode(),
        )
        answer: dict[str, Any] = json.loads(reply.body)
        if self._copies and reply.status >= 400 and (method, answer["error"]["type"]) in DONE_BEFORE:
            return {"acknowledged": False}
        if reply.status not in (200, 201):
            raise WriterFailed(f"{method} {target} got {reply.status}: {str(answer)[:500]}")
        return answer
