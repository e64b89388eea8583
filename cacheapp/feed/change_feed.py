"""The change feed: it sends what the history records as server-sent events, to any number of subscribers.

One reader in each process reads the history, only while there are subscribers. It reads at once when this process
learns of a write, and once a second, because writes of other processes may go unnoticed. It keeps the latest changes
for a while; they are the tail. A subscriber has a place in the order of changes. If the tail has all changes after its
place, it gets them from the tail, otherwise from the history. So nothing is queued for a subscriber that reads slowly:
it goes on from its place.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cacheapp.change_reports import FeedReport
from cacheapp.errors import ChangesGone
from cacheapp.feed.events import comment, event, in_pieces, moved, opening
from cacheapp.feed.interest import Interest, Position, interest_of, position_of
from cacheapp.feed.tail import KEPT_CHANGES, Tail, tail_of
from cacheapp.state.visible import Visible
from esassistant.api import query_of
from esassistant.clock import Clock, monotonic
from esassistant.errors import StoreUnavailable
from esassistant.http.limits import Overloaded
from esassistant.http.streams import StreamCall
from esassistant.long_work import batched
from esassistant.resource import Handle

if TYPE_CHECKING:
    from cacheapp.history import History  # imports models, which Django loads later

ADDRESS: Final = "/api/changes"
PARAMETERS: Final = ("since", "pattern", "kind")
MAX_SUBSCRIBERS: Final = 900
"""How many of the thousand places for streams subscribers may take; the rest is for agents."""
POLL_SECONDS: Final = 1.0
HEARTBEAT_SECONDS: Final = 15.0
"""How often a silent stream gets a comment: proxies close silent connections, usually after a minute."""
RETRY_SECONDS: Final = 5
"""How long a caller should wait if there is no place for it, or if the history can't be read."""
RECONNECT_MS: Final = (1_000, 5_000)
"""A client waits for a random time between these before it reconnects, so that not all come at once after a server has
ended.
"""
WOKEN_AT_ONCE: Final = 100
"""How many subscribers are woken in one turn of the event loop: writing to them takes some five milliseconds."""
EVENTS_AT_ONCE: Final = 100
"""How many changes are read from the history at once for a subscriber that is behind the tail."""
CATCHING_UP_AT_ONCE: Final = 2
"""For how many of those subscribers the history is read at the same time: it has one thread, which also writes."""
PAUSE_SECONDS: Final = 0.005
"""How long the changes for many different interests are chosen before other tasks get a turn."""


@dataclass(slots=True, eq=False)
class Subscriber:
    """One open stream. `told_id`: all changes up to this one that it wants have been sent. `sent_id`: the last id that
    the client knows. `sent_at`: when anything was last sent to it, on the monotonic clock.
    """

    interest: Interest
    era: int = 0
    told_id: int = 0
    sent_id: int = 0
    sent_at: float = 0.0
    wake: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class _Step:
    """The latest changes, for subscribers that had all before: the same bytes for all with the same interest."""

    tail: Tail
    before: int
    pieces: Mapping[Interest, list[bytes]]


class ChangeFeed:
    """Sends changes to subscribers. One per process, owned by the registry; used only on its event loop.

    `run` is its background task.
    """

    def __init__(
        self,
        history: "History",
        is_shared: Callable[[str], bool | None],
        *,
        max_subscribers: int = MAX_SUBSCRIBERS,
        poll_seconds: float = POLL_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
        clock: Clock = monotonic,
    ) -> None:
        """Make it. `is_shared` returns whether all instances have the history of that name; None: not known."""
        self._history = history
        self._is_shared = is_shared
        self._max_subscribers = max_subscribers
        self._poll_seconds = poll_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._subscribers: set[Subscriber] = set()
        self._anybody = asyncio.Event()
        self._news = asyncio.Event()
        self._reading = asyncio.Lock()
        self._catching_up = asyncio.Semaphore(CATCHING_UP_AT_ONCE)
        # Grows when the history is replaced or set back. A subscriber never goes on from one era to the next.
        self._era = 0
        self._tail: Tail | None = None
        self._told_tail: Tail | None = None
        self._read_at: float | None = None
        self._step: _Step | None = None
        self._trouble: str | None = None
        self._reads_total = 0
        self._caught_up_total = 0
        self._shed_total = 0
        self._events_total = 0

    def report(self) -> FeedReport:
        return FeedReport(
            subscribers=len(self._subscribers),
            limit=self._max_subscribers,
            shed_total=self._shed_total,
            events_total=self._events_total,
            reads_total=self._reads_total,
            caught_up_total=self._caught_up_total,
            last_id=None if self._tail is None else self._tail.last_id,
            read_error=self._trouble,
        )

    def note_news(self) -> None:
        """Note that the history may have new changes, so that it is read at once."""
        self._news.set()

    # The reader

    async def run(self) -> None:
        """Background task: read new changes and wake the subscribers, as long as there are any."""
        while True:
            await self._anybody.wait()
            self._news.clear()
            trouble = self._trouble
            try:
                await self._read()
            except StoreUnavailable as error:
                self._trouble = error.detail
            if self._tail is not self._told_tail or self._trouble != trouble:
                await self._tell()
            try:
                async with asyncio.timeout(self._poll_seconds):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _read(self) -> None:
        """Read the changes after the tail. Raise `StoreUnavailable` if the history can't be read."""
        async with self._reading:
            asked_at = self._clock()
            tail = self._tail
            stretch = await self._history.newest(None if tail is None else tail.last_id, KEPT_CHANGES)
            self._reads_total += 1
            following = None if tail is None else tail.followed_by(stretch)
            if following is None:
                self._era += 1
                following = tail_of(stretch)
            if tail is None or following.history != tail.history or following.last_id != tail.last_id:
                self._tail = following
            self._read_at, self._trouble = asked_at, None

    async def _tell(self) -> None:
        """Wake all subscribers. What most of them get is prepared before that, once for each interest."""
        before, tail = self._told_tail, self._tail
        self._told_tail = tail
        if tail is not None and before is not None and tail.history == before.history:
            live = {one.interest for one in self._subscribers if one.told_id == before.last_id >= tail.after}
            pieces: dict[Interest, list[bytes]] = {}
            paused_at = self._clock()
            for interest in live:
                pieces[interest] = in_pieces(tail.told_to(interest, before.last_id))
                if self._clock() - paused_at > self._pause_seconds:
                    await asyncio.sleep(0)
                    paused_at = self._clock()
            self._step = _Step(tail, before.last_id, pieces)
        for some in batched(tuple(self._subscribers), WOKEN_AT_ONCE):
            for subscriber in some:
                subscriber.wake.set()
            await asyncio.sleep(0)

    async def _current_tail(self) -> Tail:
        """Return the tail; read it first, unless the reader has just done so. Raise `StoreUnavailable` if it can't be
        read.
        """
        # Compared with the time of the request, not with now: if the history is slow, every reading would be too old.
        young_at = self._clock() - 2 * self._poll_seconds
        while self._tail is None or self._read_at is None or self._read_at < young_at:
            if not self._reading.locked():
                await self._read()
            else:
                async with self._reading:  # wait for the other reading, then look again
                    pass
        return self._tail

    # A subscriber

    async def answer(self, call: StreamCall) -> None:
        """Send events to a caller, from its position on, until it leaves: this is the source of a stream.

        Raises:
            BadRequest, Forbidden: The query isn't valid, or asks for what the caller may not see.
            ChangesGone: The changes after its position are not kept any more, or are of another history.
            Overloaded: All places are taken.
            StoreUnavailable: The history can't be read.
        """
        given = query_of(call.scope, PARAMETERS)
        interest = interest_of(given.get("pattern"), given.get("kind"), Visible(call.caller.patterns))
        position = position_of(given.get("since"), _last_event_id(call))
        if len(self._subscribers) >= self._max_subscribers:
            self._shed_total += 1
            raise Overloaded(
                f"This process has {self._max_subscribers} subscribers, which is as many as it may have. Ask again.",
                retry_after_seconds=RETRY_SECONDS,
            )
        subscriber = Subscriber(interest)
        call.when_ending(subscriber.wake.set)
        with self._subscribed(subscriber):
            pieces = await self._begin(subscriber, position)
            await call.begin()
            await call.write(opening(self._position(subscriber.sent_id), _reconnect_ms(), self._note()))
            await self._follow(call, subscriber, pieces)

    @contextmanager
    def _subscribed(self, subscriber: Subscriber) -> Iterator[None]:
        self._subscribers.add(subscriber)
        self._anybody.set()
        try:
            yield
        finally:
            self._subscribers.remove(subscriber)
            if not self._subscribers:
                self._anybody.clear()

    async def _begin(self, subscriber: Subscriber, position: Position | None) -> list[bytes]:
        """Set the position of a new subscriber. Return the first events, if they come from the history; empty if it
        goes on from the tail. Raise `ChangesGone` if the position is that of another history, or isn't kept any more.
        """
        tail = await self._current_tail()
        subscriber.era = self._era
        subscriber.sent_at = self._clock()
        subscriber.told_id = subscriber.sent_id = tail.last_id if position is None else position.id
        if position is None:
            return []
        if position.history not in (None, tail.history):
            raise await self._gone(position, subscriber.interest.visible)
        # An id after the tail comes from another instance, or doesn't exist at all; the history knows which.
        if tail.after <= position.id <= tail.last_id:
            return []
        return await self._from_history(subscriber)

    async def _gone(self, position: Position, visible: Visible) -> ChangesGone:
        """Return the error for a caller with an id of another history."""
        page = await self._history.changes(limit=1, visible=visible)
        return ChangesGone(position.id, page.oldest_id, page.last_id, of_another=True)

    async def _follow(self, call: StreamCall, subscriber: Subscriber, pieces: list[bytes] | None) -> None:
        """Send what there is, wait for more, and so on. Return when the history is replaced or set back: a client that
        reconnects then gets an error that says so.
        """
        while pieces is not None:
            for piece in pieces:
                await call.write(piece)
                self._events_total += piece.count(b"\ndata: ")
            if pieces:
                subscriber.sent_id, subscriber.sent_at = subscriber.told_id, self._clock()
            if call.ending.is_set():
                return
            subscriber.wake.clear()
            before = subscriber.told_id
            pieces = await self._next(subscriber)
            if pieces == [] and subscriber.told_id == before:
                await self._wait(call, subscriber)

    async def _next(self, subscriber: Subscriber) -> list[bytes] | None:
        """Return the next events for a subscriber; empty if there are none now; None if there never will be, because
        its history is gone.
        """
        tail = self._tail
        assert tail is not None
        if subscriber.era != self._era:
            return None
        if subscriber.told_id >= tail.last_id:
            return []
        if subscriber.told_id < tail.after:
            try:
                return await self._from_history(subscriber)
            except ChangesGone:
                return None
            except StoreUnavailable:
                return []  # it is woken when the history can be read again
        step, told_id = self._step, subscriber.told_id
        subscriber.told_id = tail.last_id
        if step is not None and step.tail is tail and step.before == told_id and subscriber.interest in step.pieces:
            return step.pieces[subscriber.interest]
        return in_pieces(tail.told_to(subscriber.interest, told_id))

    async def _from_history(self, subscriber: Subscriber) -> list[bytes]:
        """Return the next events, read from the history. Raise `ChangesGone` if they aren't kept any more, and
        `StoreUnavailable` if the history can't be read.
        """
        interest = subscriber.interest
        async with self._catching_up:
            self._caught_up_total += 1
            page = await self._history.changes(
                since=subscriber.told_id,
                limit=EVENTS_AT_ONCE,
                chosen_by=interest.chosen_by,
                kinds=interest.kinds,
                visible=interest.visible,
            )
        subscriber.told_id = page.next
        return in_pieces(event(change, page.history) for change in page.changes)

    async def _wait(self, call: StreamCall, subscriber: Subscriber) -> None:
        """Wait until the subscriber is woken; if that takes too long, send a comment as a sign of life."""
        passed = self._clock() - subscriber.sent_at
        try:
            async with asyncio.timeout(max(0.0, self._heartbeat_seconds - passed)):
                await subscriber.wake.wait()
        except TimeoutError:
            beat = comment(self._note())
            if subscriber.told_id != subscriber.sent_id:
                # Otherwise a client that wants few changes would reconnect with an id that isn't kept any more.
                beat += moved(self._position(subscriber.told_id))
            await call.write(beat)
            subscriber.sent_id, subscriber.sent_at = subscriber.told_id, self._clock()

    def _position(self, change_id: int) -> Position:
        assert self._tail is not None
        return Position(change_id, self._tail.history)

    def _note(self) -> str:
        """Return the text of a comment: which history this is, or why it can't be read."""
        if self._trouble is not None:
            return f"{self._trouble} What happens meanwhile comes afterwards."
        name = "" if self._tail is None else self._tail.history
        if self._is_shared(name) is False:
            return f"history {name}, which not all instances have: they use several databases, each with ids of its own"
        return f"history {name}"


def _last_event_id(call: StreamCall) -> str | None:
    values = [value for name, value in call.scope["headers"] if name == b"last-event-id"]
    return b",".join(values).decode("latin-1") if values else None


def _reconnect_ms() -> int:
    return random.randint(*RECONNECT_MS)


CHANGE_FEED: Handle[ChangeFeed] = Handle("feed")
