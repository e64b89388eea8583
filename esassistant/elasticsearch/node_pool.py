"""Which node of the cluster is asked: nodes that fail are left alone for a while, and what belongs together is read at
one node.

elastic-transport's own pool takes a node out after a 429 or a 503 too, which a busy node and a red index answer.
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
"""Whoever asks a node after its rest has so long to hear from it before another may try."""
LEAST_FIRST_SECONDS = 1.0


def first_seconds(allowed_seconds: float) -> float:
    """How long the first of two nodes may take of the time of a call: half of it, but not less than
    `LEAST_FIRST_SECONDS`.
    """
    return min(allowed_seconds, max(LEAST_FIRST_SECONDS, allowed_seconds / 2))


@dataclass(slots=True)
class _Rest:
    failures_in_a_row: int
    began_at: float
    ends_at: float


class NodeMarks:
    """Which nodes failed of late. All clients of a process share it: what one learns spares the others.

    A node that failed n times in a row rests for 2ⁿ⁻¹ seconds, at most `LONGEST_REST_SECONDS`. Nodes are known by their
    URLs.
    """

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._rests: dict[str, _Rest] = {}

    def failed(self, url: str, asked_at: float) -> None:
        """Let a node rest that was asked at this moment. Calls that were under way when its rest began don't prolong
        it.
        """
        now, rest = self._clock(), self._rests.get(url)
        if rest is not None and asked_at < rest.began_at:
            return
        failures = 0 if rest is None else rest.failures_in_a_row
        seconds = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2.0 ** min(failures, 16))
        self._rests[url] = _Rest(failures + 1, now, now + seconds)

    def answered(self, url: str) -> None:
        """Whatever the answer was, the node is there."""
        self._rests.pop(url, None)

    def rest_of(self, url: str) -> float:
        """How many seconds a node still rests; 0: its rest is over, or it never failed."""
        rest = self._rests.get(url)
        return 0.0 if rest is None else max(0.0, rest.ends_at - self._clock())

    def is_marked(self, url: str) -> bool:
        """Whether a node has failed and not answered since."""
        return url in self._rests

    def try_out(self, url: str) -> None:
        """Keep others from a marked node while one call finds out whether it answers."""
        if (rest := self._rests.get(url)) is not None:
            rest.ends_at = max(rest.ends_at, self._clock() + TRIAL_SECONDS)


@dataclass(slots=True)
class Pin:
    """The one node that the calls of a block are for.

    Attributes:
        url: None until the first call chooses it.
        is_fixed: never another one. Without it, the calls move together when the node fails.
        moved: whether they did.
    """

    url: str | None = None
    is_fixed: bool = False
    moved: bool = False


_pin: ContextVar[Pin | None] = ContextVar("_pin", default=None)


@contextmanager
def at_one_node(url: str | None = None) -> Iterator[Pin]:
    """Have the calls of a block asked at one node, all of them: `url`, or that of the first call. On 9.x each node
    answers from the cluster state that it has applied itself.

    Within a block that has chosen already, that choice holds.
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
    """Have the calls of a block asked at this node or not at all: they take their whole time there."""
    token = _pin.set(Pin(url, is_fixed=True))
    try:
        yield
    finally:
        _pin.reset(token)


def is_fixed() -> bool:
    """Whether the call that asks is for one node alone."""
    pin = _pin.get()
    return pin is not None and pin.is_fixed


def choose(
    urls: Sequence[str], marks: NodeMarks, *, tried: Collection[str], pinned: str | None, tries_out: bool, turn: int
) -> str:
    """Choose the node for an attempt, the first that applies:

    1. The node that the calls of a block are for, unless it rests, or has failed this very call.
    2. A marked node whose rest is over, where this client tries such nodes out.
    3. One of those that aren't marked, in turn.
    4. One that has not failed this call: the one whose rest ends first.
    5. All have: the one whose rest ends first.
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
    """The nodes of one client. Its transport says which of them failed and which answered."""

    def __init__(self, *args: Any, marks: NodeMarks, tries_out: bool, **kwargs: Any) -> None:
        """`tries_out`: whether its calls may be the first to a node that failed: they bear its silence best."""
        super().__init__(*args, **kwargs)
        self.marks = marks
        self._tries_out = tries_out
        self._turn = 0
        self._by_url = {node.base_url: node for node in cast("list[Node]", super().all())}

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(self._by_url)

    def get(self) -> Node:
        """The node for the attempt that is under way, which is noted in it."""
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
                # Not by a probe: that the node is still away would keep all calls from those that answer.
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
        """Two nodes to wait at, or the only one: rather those that answered of late."""
        return tuple(sorted(self.urls, key=lambda url: (self.marks.is_marked(url), self.marks.rest_of(url)))[:2])

    def mark_dead(self, node: Any, _now: float | None = None) -> None:
        """Do nothing: elastic-transport calls it for answers too."""

    def mark_live(self, node: Any) -> None:
        """Do nothing: see `mark_dead`."""
