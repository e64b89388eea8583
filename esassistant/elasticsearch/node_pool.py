"""Chooses the node of the cluster for each attempt. Nodes that fail are left alone for a while, and calls that belong
together are sent to the same node.

elastic-transport's own pool also leaves a node alone after a 429 or 503, but these come from a busy node or a red
index.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import elastic_transport

from esassistant.clock import Clock, monotonic
from esassistant.elasticsearch.node import Node, current_call

FIRST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 30.0
TRIAL_SECONDS = 5.0
"""The call that tries out a node after its rest has this long to get an answer; only then may another call try it."""
LEAST_FIRST_SECONDS = 1.0


def first_seconds(allowed_seconds: float) -> float:
    """Return how much of a call's time the first of two nodes may take: half of it, but at least
    `LEAST_FIRST_SECONDS`.
    """
    return min(allowed_seconds, max(LEAST_FIRST_SECONDS, allowed_seconds / 2))


@dataclass(slots=True)
class _Rest:
    failures_in_a_row: int
    began_at: float
    ends_at: float


class NodeMarks:
    """Remembers which nodes have failed lately. All clients of a process share it, so that each learns from the others.

    A node that failed n times in a row rests for 2ⁿ⁻¹ seconds, at most `LONGEST_REST_SECONDS`. Nodes are known by their
    URLs.
    """

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._rests: dict[str, _Rest] = {}

    def failed(self, url: str, asked_at: float) -> None:
        """Let a node rest, after a call that began at `asked_at` failed there. A call that began before the node's
        present rest doesn't prolong it.
        """
        now, rest = self._clock(), self._rests.get(url)
        if rest is not None and asked_at < rest.began_at:
            return
        failures = 0 if rest is None else rest.failures_in_a_row
        seconds = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2.0 ** min(failures, 16))
        self._rests[url] = _Rest(failures + 1, now, now + seconds)

    def answered(self, url: str) -> None:
        """Note that a node answered, whatever the answer was: the node is there."""
        self._rests.pop(url, None)

    def rest_of(self, url: str) -> float:
        """Return how many seconds a node must still rest; 0 if its rest is over, or if it hasn't failed."""
        rest = self._rests.get(url)
        return 0.0 if rest is None else max(0.0, rest.ends_at - self._clock())

    def is_marked(self, url: str) -> bool:
        """Return True if a node has failed and has not answered since."""
        return url in self._rests

    def try_out(self, url: str) -> None:
        """Keep other calls from a marked node while one call finds out whether it answers."""
        if (rest := self._rests.get(url)) is not None:
            rest.ends_at = max(rest.ends_at, self._clock() + TRIAL_SECONDS)


@dataclass(slots=True)
class Pin:
    """The one node to which all calls of a block are sent.

    Attributes:
        url: None until the first call chooses it.
        is_fixed: True: no other node is used. False: all calls move to another node together if this one fails.
        moved: True once they have moved.
    """

    url: str | None = None
    is_fixed: bool = False
    moved: bool = False


_pin: ContextVar[Pin | None] = ContextVar("_pin", default=None)


@contextmanager
def at_one_node(url: str | None = None) -> Iterator[Pin]:
    """Send all calls of a block to the same node: `url`, or the node of the first call.

    In 9.x each node answers from the cluster state that it has applied itself, so two nodes may differ. Inside another
    such block, the choice of the outer block holds unless `url` is given.
    """
    outer = _pin.get()
    if outer is not None and url is None:
        yield outer
        return
    pin = Pin(url)
    token = _pin.set(pin)
    try:
        yield pin
    finally:
        _pin.reset(token)


@contextmanager
def only_at(url: str) -> Iterator[None]:
    """Send all calls of a block to this node and no other. They may take their whole time there."""
    token = _pin.set(Pin(url, is_fixed=True))
    try:
        yield
    finally:
        _pin.reset(token)


def is_fixed() -> bool:
    """Return True if the calls of the present block must go to one node and no other."""
    pin = _pin.get()
    return pin is not None and pin.is_fixed


def choose(
    urls: Sequence[str], marks: NodeMarks, *, tried: Collection[str], pinned: str | None, tries_out: bool, turn: int
) -> str:
    """Return the URL of the node for an attempt. The first rule that applies:

    1. The pinned node of the block, unless it rests or this very call has failed there.
    2. A marked node whose rest is over, if this client tries out such nodes.
    3. An unmarked node where this call has not failed, in turn.
    4. Of the other nodes where this call has not failed, the one whose rest ends first.
    5. Of all nodes, the one whose rest ends first.

    Args:
        urls: All nodes.
        marks: Which nodes have failed lately.
        tried: The nodes where this call has failed.
        pinned: The node of the block; None if there is no such block.
        tries_out: Whether this client may be the first to try a node that has failed.
        turn: A number that grows with each attempt, so that nodes take turns.
    """
    if pinned is not None and pinned in urls and pinned not in tried and not marks.rest_of(pinned):
        return pinned
    left = [url for url in urls if url not in tried]
    if tries_out and (over := [url for url in left if marks.is_marked(url) and not marks.rest_of(url)]):
        return over[0]
    if good := [url for url in left if not marks.is_marked(url)]:
        return good[turn % len(good)]
    return min(left or urls, key=marks.rest_of)


class NodePool(elastic_transport.NodePool):
    """The nodes of one client. Its transport tells which of them failed and which answered."""

    def __init__(self, *args: Any, marks: NodeMarks, tries_out: bool, **kwargs: Any) -> None:
        """
        Args:
            tries_out: Whether calls of this client may be the first to try a node that has failed. That suits clients
                whose calls can wait without harm.
        """
        super().__init__(*args, **kwargs)
        self.marks = marks
        self._tries_out = tries_out
        self._turn = 0
        self._by_url = {node.base_url: node for node in cast("list[Node]", super().all())}

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(self._by_url)

    def get(self) -> Node:
        """Return the node for the present attempt, and note it in the attempt."""
        call, pin = current_call.get(), _pin.get()
        if pin is not None and pin.is_fixed and pin.url in self._by_url:
            url = pin.url
        else:
            self._turn += 1
            url = choose(
                self.urls,
                self.marks,
                tried=call.tried,
                pinned=None if pin is None else pin.url,
                # A probe doesn't try out a marked node: if that is still away, the failed probe would keep all calls
                # from the nodes that answer.
                tries_out=self._tries_out and not call.probing,
                turn=self._turn,
            )
            if pin is not None:
                pin.moved = pin.moved or pin.url not in (None, url)
                pin.url = url
        self.marks.try_out(url)
        call.url = url
        return self._by_url[url]

    def two(self) -> tuple[str, ...]:
        """Return the URLs of two nodes to wait at, preferring those that have answered lately. If there is only one,
        return that.
        """
        return tuple(sorted(self.urls, key=lambda url: (self.marks.is_marked(url), self.marks.rest_of(url)))[:2])

    def mark_dead(self, node: Any, _now: float | None = None) -> None:
        """Do nothing: elastic-transport calls it also after an answer such as 429 or 503."""

    def mark_live(self, node: Any) -> None:
        """Do nothing: see `mark_dead`."""
