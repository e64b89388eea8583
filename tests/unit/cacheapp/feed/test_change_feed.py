"""The change feed over a history in memory: who is told what, when, and what it costs the history."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from cacheapp.change_log import Head, Outline
from cacheapp.errors import ChangesGone
from cacheapp.feed import change_feed
from cacheapp.feed.change_feed import EVENTS_AT_ONCE, WOKEN_AT_ONCE, ChangeFeed
from cacheapp.feed.tail import KEPT_CHANGES
from cacheapp.shown_changes import ChangesPage, ShownChange, Stretch, is_chosen
from esassistant.asgi_types import Message
from esassistant.config.tokens import Right
from esassistant.errors import BadRequest, EsassistantError, Forbidden, StoreUnavailable, UnknownParameter
from esassistant.http.callers import API_CALLER, Caller, CallerKind
from esassistant.http.limits import Overloaded
from esassistant.http.streams import StreamCall
from tests.support.asgi import Asked, Headers

AT = datetime(2026, 1, 1, tzinfo=UTC)
SCOPED = Caller(CallerKind.TOKEN, frozenset({Right.READ}), ("logs-*",), token="logs")
SOON = 5.0


class MemoryHistory:
    """What the feed reads of the history, and how often it was asked."""

    def __init__(self) -> None:
        self.name = "h"
        self.rows: list[tuple[Outline, ShownChange]] = []
        self.last_id = 0
        self.reads_total = self.pages_total = 0
        self.failure: StoreUnavailable | None = None
        self.seconds = 0.0

    def add(self, index: str = "a", kind: str = "changed") -> None:
        self.last_id += 1
        change = ShownChange(self.last_id, index, AT, kind, None, False, None, [], [], [], [], 0, 0, 0, 0, "p")
        self.rows.append((Outline(self.last_id, index, kind, ()), change))

    def set_back(self, last_id: int) -> None:
        self.rows = [row for row in self.rows if row[0].id <= last_id]
        self.last_id = last_id

    async def newest(self, after: int | None, most: int) -> Stretch:
        self.reads_total += 1
        await asyncio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        first = max(0, self.last_id - most)
        if after is not None and after <= self.last_id:
            first = max(first, after)
        if self.rows:
            first = max(first, self.rows[0][0].id - 1)
        rows = tuple(row for row in self.rows if row[0].id > first)[:most]
        return Stretch(Head(self.name, self.last_id, "u"), first, self.last_id, rows)

    async def changes(self, *, limit: int, since: int | None = None, **wanted: Any) -> ChangesPage:
        self.pages_total += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        oldest_id = self.rows[0][0].id if self.rows else None
        after = since if since is not None else (oldest_id or self.last_id + 1) - 1
        if after > self.last_id or (oldest_id is not None and after + 1 < oldest_id):
            raise ChangesGone(after, oldest_id, self.last_id)
        found = [
            row
            for row in self.rows
            if row[0].id > after and (since is None or is_chosen(row[0], wanted["visible"], wanted["chosen_by"]))
        ]
        following = found[limit - 1][0].id if len(found) > limit else self.last_id
        return ChangesPage([change for _, change in found[:limit]], following, oldest_id, self.last_id, self.name)


class Client:
    """One call at the door, and what its client got."""

    def __init__(self, feed: ChangeFeed, query: str = "", last_event_id: str = "", caller: Caller = API_CALLER) -> None:
        headers: Headers = ((b"host", b"testserver"), (b"accept", b"text/event-stream"))
        if last_event_id:
            headers += ((b"last-event-id", last_event_id.encode()),)
        scope = Asked("/api/changes", query=query.encode(), headers=headers).scope()
        self.call = StreamCall(scope, "", caller, self._send, 30.0)
        self.text = ""
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.task = asyncio.create_task(feed.answer(self.call))

    async def _send(self, message: Message) -> None:
        await self.may_take.wait()
        self.text += message.get("body", b"").decode()

    @property
    def ids(self) -> list[int]:
        return [json.loads(line[6:])["id"] for line in self.text.split("\n") if line.startswith("data: ")]

    @property
    def positions(self) -> list[str]:
        return [line[4:] for line in self.text.split("\n") if line.startswith("id: ")]


@pytest.fixture
def history() -> MemoryHistory:
    return MemoryHistory()


@asynccontextmanager
async def feeding(history: MemoryHistory, shared: bool | None = True, **options: Any) -> AsyncIterator[ChangeFeed]:
    options = {"poll_seconds": 0.02, "heartbeat_seconds": 30.0} | options
    feed = ChangeFeed(history, lambda _: shared, **options)  # type: ignore[arg-type]
    task = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def clients(feed: ChangeFeed, *given: dict[str, Any]) -> AsyncIterator[list[Client]]:
    """Clients that are connected, and have got the beginning."""
    found = [Client(feed, **options) for options in given]
    try:
        await until(lambda: all("retry: " in client.text or client.task.done() for client in found))
        yield found
    finally:
        for client in found:
            client.task.cancel()
        await asyncio.gather(*(client.task for client in found), return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110  (what is waited for is what a client got)
            await asyncio.sleep(0.001)


async def refusal(feed: ChangeFeed, **options: Any) -> EsassistantError:
    """What a call is refused with, before anything was sent."""
    client = Client(feed, **options)
    with pytest.raises(EsassistantError) as caught:
        await asyncio.wait_for(client.task, SOON)
    assert client.text == ""
    return caught.value


async def test_from_now_on(history: MemoryHistory) -> None:
    """Who says no place is told what happens from now on, at once; what it begins with says where that is."""
    history.add()
    async with feeding(history, poll_seconds=30.0) as feed, clients(feed, {}) as [client]:
        assert client.positions == ["1-h"]
        assert client.text.startswith(": history h\nretry: ")
        history.add()
        feed.note_news()
        await until(lambda: client.ids == [2])
        assert client.positions == ["1-h", "2-h"]


async def test_what_nobody_told_of(history: MemoryHistory) -> None:
    """It is found by asking."""
    async with feeding(history) as feed, clients(feed, {}) as [client]:
        history.add()
        await until(lambda: client.ids == [1])


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"query": "since=0"}, [1, 2, 3]),
        ({"query": "since=1"}, [2, 3]),
        ({"last_event_id": "2"}, [3]),
        ({"query": "since=0", "last_event_id": "2-h"}, [3]),
        ({"query": "since=3"}, []),
        ({"query": "since=0&pattern=logs-*"}, [2, 3]),
        ({"query": "since=0&pattern=logs-*&kind=created"}, [2]),
        ({"query": "since=0&pattern=*", "caller": SCOPED}, [2, 3]),
        ({"query": "since=0&kind=deleted"}, [2]),
    ],
)
async def test_where_and_what(history: MemoryHistory, options: dict[str, Any], ids: list[int]) -> None:
    """From the place that is asked for, and of that only what is wanted and visible; a gap always."""
    history.add("vault")
    history.add("*", "gap")
    history.add("logs-1")
    async with feeding(history) as feed, clients(feed, options) as [client]:
        await until(lambda: len(client.ids) == len(ids))
        history.add("logs-2", "created")
        wanted = [*ids, 4] if options.get("query") != "since=0&kind=deleted" else ids
        await until(lambda: client.ids == wanted)


async def test_one_reading_for_all(history: MemoryHistory) -> None:
    """However many follow, a change is read once, and written once for all who want the same."""
    count = 2 * WOKEN_AT_ONCE + 1
    async with feeding(history, poll_seconds=30.0) as feed, clients(feed, *([{}] * count)) as many:
        reads_before = history.reads_total
        assert reads_before <= 2
        history.add()
        feed.note_news()
        await until(lambda: all(client.ids == [1] for client in many))
        assert (history.reads_total - reads_before, history.pages_total) == (1, 0)
        report = feed.report()
        assert (report.subscribers, report.events_total, report.last_id) == (count, count, 1)
        assert report.caught_up_total == 0
    assert feed.report().subscribers == 0


async def test_a_slow_history(history: MemoryHistory) -> None:
    """Many who come at once wait for one reading together, however old that is when it is done: there are those of the
    reader itself, but none for each of them.
    """
    history.seconds = 0.05
    many = 100
    began_at = time.monotonic()
    async with feeding(history, poll_seconds=0.001) as feed, clients(feed, *([{}] * many)):
        one_after_the_other = (time.monotonic() - began_at) / history.seconds
        assert history.reads_total <= one_after_the_other + 2


async def test_nobody_follows(history: MemoryHistory) -> None:
    """Nothing is read then; who comes later is placed where the history is by then."""
    async with feeding(history, poll_seconds=0.01) as feed:
        async with clients(feed, {}):
            pass
        reads = history.reads_total
        history.add()
        await asyncio.sleep(0.05)
        assert history.reads_total - reads <= 1
        async with clients(feed, {}) as [client]:
            assert client.positions == ["1-h"]


async def test_who_is_behind(history: MemoryHistory) -> None:
    """Who is further behind than what is in memory is told from the history, part by part, each change once."""
    total = KEPT_CHANGES + 3 * EVENTS_AT_ONCE
    for _ in range(total):
        history.add()
    async with feeding(history) as feed, clients(feed, {"query": "since=0"}, {"query": f"since={total}"}) as both:
        await until(lambda: len(both[0].ids) == total)
        assert both[0].ids == list(range(1, total + 1))
        assert history.pages_total in (3, 4)
        assert feed.report().caught_up_total == history.pages_total
        history.add()
        await until(lambda: both[0].ids[-1] == total + 1 and both[1].ids == [total + 1])


async def test_a_slow_reader(history: MemoryHistory) -> None:
    """What happens while it takes nothing waits for it in the history, in no queue, and comes whole and in order."""
    async with feeding(history) as feed, clients(feed, {}, {}) as [slow, quick]:
        slow.may_take.clear()
        for number in range(KEPT_CHANGES + 50):
            history.add()
            if number % 50 == 0:
                await until(lambda: quick.ids[-1:] == [history.last_id])
        await until(lambda: quick.ids[-1:] == [history.last_id])
        assert slow.ids == []
        slow.may_take.set()
        await until(lambda: slow.ids == quick.ids)
        assert feed.report().caught_up_total > 0


async def test_signs_of_life(history: MemoryHistory) -> None:
    """A comment after each silence, with the place where the stream is by now if no event has told that."""
    async with (
        feeding(history, heartbeat_seconds=0.1) as feed,
        clients(feed, {"query": "pattern=logs-*"}) as [client],
    ):
        await until(lambda: client.text.count(": history h\n") >= 3)
        assert client.positions == ["0-h"]
        history.add("orders")
        await until(lambda: client.positions == ["0-h", "1-h"])
        assert client.ids == []


async def test_several_databases(history: MemoryHistory) -> None:
    """Where instances have histories of their own, the stream says that its ids are of this one."""
    async with feeding(history, shared=False) as feed, clients(feed, {}) as [client]:
        assert "which not all instances have" in client.text.split("\n")[0]
        error = await refusal(feed, last_event_id="0-other")
        assert (error.status, error.members) == (410, {"oldest_id": None, "last_id": 0})
        assert "is of another one" in error.detail


async def test_what_is_gone(history: MemoryHistory) -> None:
    """Changes that are not kept any more, and ids that are none yet, are 410 with the oldest id."""
    for _ in range(3):
        history.add()
    del history.rows[:2]
    async with feeding(history) as feed:
        for since in (0, 1, 4):
            error = await refusal(feed, query=f"since={since}")
            # What is in memory by then is told all the same.
            assert isinstance(error, ChangesGone)
            assert error.members == {"oldest_id": 3, "last_id": 3}


async def test_another_instance_was_ahead(history: MemoryHistory) -> None:
    """Who was told a change elsewhere that this process hasn't read yet goes on behind it."""
    async with feeding(history, poll_seconds=0.2) as feed, clients(feed, {}):
        history.add()
        history.add()
        async with clients(feed, {"last_event_id": "1-h"}) as [client]:
            await until(lambda: client.ids == [2])


@pytest.mark.parametrize("way", ["set back", "another"])
async def test_the_history_is_replaced(history: MemoryHistory, way: str) -> None:
    """Streams end, as ids mean something else now: who reconnects is told so."""
    for _ in range(3):
        history.add()
    async with feeding(history) as feed, clients(feed, {}) as [client]:
        if way == "another":
            history.name = "h2"
        else:
            history.set_back(1)
        feed.note_news()
        await asyncio.wait_for(client.task, SOON)
        assert client.task.exception() is None
        assert (await refusal(feed, last_event_id="3-h")).status == 410
        async with clients(feed, {}) as [again]:
            history.add()
            await until(lambda: again.ids == [history.last_id])


async def test_rows_go_while_somebody_is_behind(history: MemoryHistory) -> None:
    """Its stream ends: nothing is left out without a word, as who reconnects gets 410."""
    for _ in range(KEPT_CHANGES + 3 * EVENTS_AT_ONCE):
        history.add()
    async with feeding(history) as feed, clients(feed, {}) as [_]:
        client = Client(feed, "since=0")
        client.may_take.clear()
        await until(lambda: history.pages_total == 1)
        del history.rows[: 2 * EVENTS_AT_ONCE]
        client.may_take.set()
        await asyncio.wait_for(client.task, SOON)
        assert client.ids == list(range(1, EVENTS_AT_ONCE + 1))


async def test_the_history_is_away(history: MemoryHistory) -> None:
    """Who comes is refused; who is there hears of it, stays, and is told afterwards what happened meanwhile."""
    async with feeding(history, heartbeat_seconds=0.1) as feed, clients(feed, {}) as [client]:
        history.failure = StoreUnavailable("The database is away.", retry_after_seconds=5)
        await until(lambda: ": The database is away. What happens meanwhile comes afterwards.\n" in client.text)
        assert feed.report().read_error == "The database is away."
        assert await refusal(feed) is history.failure
        history.add()
        history.failure = None
        await until(lambda: client.ids == [1])
        assert feed.report().read_error is None


async def test_away_while_somebody_is_behind(history: MemoryHistory) -> None:
    """It goes on where it was once the history can be read again."""
    for _ in range(KEPT_CHANGES + 3 * EVENTS_AT_ONCE):
        history.add()
    async with feeding(history, heartbeat_seconds=0.1) as feed, clients(feed, {}):
        client = Client(feed, "since=0")
        client.may_take.clear()
        await until(lambda: history.pages_total == 1)
        history.failure = StoreUnavailable("The database is away.")
        client.may_take.set()
        await until(lambda: "What happens meanwhile" in client.text)
        assert client.ids == list(range(1, EVENTS_AT_ONCE + 1))
        history.failure = None
        await until(lambda: client.ids == list(range(1, history.last_id + 1)))
        client.task.cancel()
        await asyncio.gather(client.task, return_exceptions=True)


async def test_one_too_many(history: MemoryHistory) -> None:
    """Beyond the places it is 503 with the seconds, and counted; who leaves makes place."""
    async with feeding(history, max_subscribers=2) as feed:
        async with clients(feed, {}, {}):
            error = await refusal(feed)
            assert isinstance(error, Overloaded)
            assert error.retry_after_seconds == change_feed.RETRY_SECONDS
            assert feed.report().shed_total == 1
        async with clients(feed, {}):
            assert feed.report().subscribers == 1


async def test_the_end_of_the_server(history: MemoryHistory) -> None:
    """A stream that is told to end does so at once, without being cancelled."""
    async with feeding(history) as feed, clients(feed, {}) as [client]:
        client.call.end(30.0)
        await asyncio.wait_for(client.task, SOON)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"query": "limit=5"}, UnknownParameter),
        ({"query": "since=1&since=2"}, BadRequest),
        ({"query": "since=x"}, BadRequest),
        ({"query": "kind=x"}, BadRequest),
        ({"last_event_id": "x"}, BadRequest),
        ({"query": "&".join(f"a{number}=1" for number in range(2000))}, BadRequest),
        ({"caller": SCOPED}, Forbidden),
    ],
)
async def test_what_is_refused(history: MemoryHistory, options: dict[str, Any], kind: type[EsassistantError]) -> None:
    """As the page of changes refuses it; `limit` is of pages alone."""
    async with feeding(history) as feed:
        assert isinstance(await refusal(feed, **options), kind)
        assert history.reads_total == 0


async def test_many_different_interests(history: MemoryHistory) -> None:
    """Choosing for many gives others a turn in between; each is told its own."""
    async with (
        feeding(history, pause_seconds=-1.0) as feed,
        clients(feed, *({"query": f"pattern=a{n}"} for n in range(5))) as many,
    ):
        for number in range(5):
            history.add(f"a{number}")
        await until(lambda: [client.ids for client in many] == [[1], [2], [3], [4], [5]])


def test_clients_come_back_at_different_times() -> None:
    """Not all at once when a server has ended."""
    low, high = change_feed.RECONNECT_MS
    waits = {change_feed._reconnect_ms() for _ in range(100)}
    assert low <= min(waits) < max(waits) <= high
