"""Followers of the change feed in a soak, who move from one instance to the next, and the check of what they got."""

import asyncio
import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.soak.access import NARROW, SEEN
from bench.soak.http import Caller
from bench.soak.instances import Instance
from bench.soak.tally import Tally
from bench.soak.truth import Truth
from dev.event_stream import EventStream, following
from dev.servers.service import TOKEN

STAY_SECONDS = (1.0, 15.0)
"""How long a follower stays with an instance before it goes to another one."""
POLL_SECONDS = 0.1
AGAIN_SECONDS = 0.5
CAUGHT_UP_SECONDS = 10.0
PAGE = 1000
FEED = "/api/changes"
GOOD = frozenset((200, 503))
"""The good statuses. 503: the instance has not opened its history yet, or can't read it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a follower asks for, and what it may get."""

    pattern: str
    token: str = TOKEN

    @property
    def query(self) -> str:
        return f"pattern={self.pattern}&" if self.pattern else ""


WISHES = (Wish(""), Wish("item-*"), Wish(SEEN, NARROW))
"""The wishes of the followers. Nothing that the last one may see ever changes."""


@dataclass(eq=False)
class Follower:
    """A follower of the feed; belongs to one thread. `changes`: all changes that it got, in order."""

    wish: Wish
    instances: Sequence[Instance]
    tally: Tally
    since: int
    chance: random.Random
    changes: list[dict[str, Any]] = field(default_factory=list)
    _last_event_id: str | None = None

    def run(self, stopping: threading.Event) -> None:
        """Follow until told to stop, and remember the place."""
        asyncio.run(self._follow(stopping))

    def catch_up(self, until: int) -> None:
        """Get all changes up to that id, when nothing is wrong any more."""
        asyncio.run(self._catch_up(until))

    async def _catch_up(self, until: int) -> None:
        deadline = time.monotonic() + CAUGHT_UP_SECONDS
        while self._reached() < until and time.monotonic() < deadline:
            await self._stay(self.instances[0], threading.Event(), AGAIN_SECONDS)

    def _reached(self) -> int:
        """Return the id up to which it has got all changes. A block of the stream without a change may have
        a later id.
        """
        return self.since if self._last_event_id is None else int(self._last_event_id.partition("-")[0])

    async def _follow(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            if ready := [instance for instance in self.instances if instance.up_since is not None]:
                instance, began_at = self.chance.choice(ready), time.monotonic()
                try:
                    await self._stay(instance, stopping, self.chance.uniform(*STAY_SECONDS))
                except (OSError, TimeoutError) as error:
                    if instance.was_up(began_at):  # else it was killed meanwhile
                        self.tally.violated("no answer", f"the feed of {instance}: {error!r}")
            await asyncio.sleep(AGAIN_SECONDS)

    async def _stay(self, instance: Instance, stopping: threading.Event, seconds: float) -> None:
        url = f"{instance.url}{FEED}?{self.wish.query}since={self.since}"
        until = time.monotonic() + seconds
        async with following(url, token=self.wish.token, last_event_id=self._last_event_id) as stream:
            self.tally.answered("feed", str(stream.status))
            if stream.status not in GOOD:
                self.tally.violated(
                    "unexpected status", f"the feed of {instance}: {stream.status} {stream.body[:300]!r}"
                )
            while time.monotonic() < until and not stopping.is_set() and not stream.ended.done():  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
            self._take(stream, instance)

    def _take(self, stream: EventStream, instance: Instance) -> None:
        for event in stream.events:
            last = self.changes[-1]["id"] if self.changes else self.since
            if event.data["id"] <= last:
                self.tally.violated("the feed's order", f"{instance}: {event.data['id']} after {last}")
            self.changes.append(event.data)
        self._last_event_id = stream.last_event_id or self._last_event_id


def last_id(instance: Instance) -> int:
    """Return the id of the latest recorded change."""
    return int(_page(instance, f"{FEED}?limit=1")["last_id"] or 0)


def recorded(instance: Instance, wish: Wish, since: int) -> list[dict[str, Any]]:
    """Return all changes after an id that a follower with this wish should have got."""
    found: list[dict[str, Any]] = []
    while page := _page(instance, f"{FEED}?{wish.query}limit={PAGE}&since={since}", wish.token):
        found += page["changes"]
        since = page["next"]
        if since >= page["last_id"]:
            break
    return found


def _page(instance: Instance, target: str, token: str = TOKEN) -> dict[str, Any]:
    caller = Caller()
    try:
        reply = caller.ask(instance.url, target, headers={"Authorization": f"Bearer {token}"})
    finally:
        caller.close()
    page: dict[str, Any] = json.loads(reply.body)
    if reply.status != 200:
        raise RuntimeError(f"{target} of {instance}: {reply.status} {page}")
    return page


def missing_or_twice(got: Sequence[Mapping[str, Any]], told: Sequence[Mapping[str, Any]]) -> str | None:
    """Return how what a follower got differs from what is recorded; None if it doesn't."""
    got_ids, told_ids = [change["id"] for change in got], [change["id"] for change in told]
    if got_ids == told_ids:
        return None
    lacking, surplus = sorted(set(told_ids) - set(got_ids)), sorted(set(got_ids) - set(told_ids))
    return f"{len(got_ids)} of {len(told_ids)} changes: without {lacking[:10]}, beyond {surplus[:10]}"


def untrue_ends(changes: Sequence[Mapping[str, Any]], names: Sequence[str], truth: Truth) -> list[str]:
    """Return the indices whose last change doesn't end with what is true. Changes may be missing after a gap."""
    last: dict[str, str] = {}
    for change in changes:
        if change["kind"] == "gap":
            last.clear()
        else:
            last[change["index"]] = change["kind"]
    return [
        f"{name}: last {last[name]}, and it is {'there' if truth.is_index(name) else 'not there'}"
        for name in names
        if name in last and (last[name] != "deleted") != truth.is_index(name)
    ]
