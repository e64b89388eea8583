"""The process of the bundled generator of bench/load/client.py: `python -m bench.load.generator JOB`, JOB as JSON."""

import asyncio
import gc
import itertools
import json
import re
import resource
import selectors
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import asdict
from typing import cast
from urllib.parse import urlsplit

import uvloop

from bench.load.client import GRACE_SECONDS, Job, Load, LoadFailed, Target, percentile

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
WITHOUT_BODY = (b"204", b"304")
END = b"\r\n\r\n"
NUMBER = b"{n}"
MOST_SELECTED = 1000
numbers = itertools.count(time.time_ns() // 1000)
"""Numbers that never repeat, not even in the next run."""


class Answers:
    """The answers of one target, on all its connections.

    `served`: latencies by status, counted from when a request was sent. `over`: is resolved when all answers have come,
    or fails when they won't come.
    """

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.served: defaultdict[bytes, list[float]] = defaultdict(list)
        self.late: list[float] = []
        self.lost = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, problem: str) -> None:
        if not self.over.done():
            self.over.set_exception(LoadFailed(problem))

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def load(self, started: float, cpu_share: float, errors: int) -> Load:
        if not self.latencies:
            raise LoadFailed("no request was answered")
        served = {status.decode(): some for status, some in self.served.items()}
        return Load(
            requests=len(self.latencies),
            seconds=time.perf_counter() - started,
            p50=percentile(self.latencies, 50),
            p99=percentile(self.latencies, 99),
            longest=max(self.latencies),
            unexpected=sum(len(some) for status, some in served.items() if status[0] != "2" and status != "304"),
            errors=errors,
            cpu_share=cpu_share,
            statuses={status: len(some) for status, some in served.items()},
            p99_served={status: percentile(some, 99) for status, some in served.items()},
            late_p99=percentile(self.late, 99) if self.late else None,
        )


class Connection(asyncio.Protocol):
    """A connection that sends the same request again and again, one at a time. `answered` is called with the moment at
    which an answer was complete, on the clock of `time.perf_counter`.
    """

    def __init__(
        self,
        request: bytes,
        answers: Answers,
        answered: Callable[["Connection", float], None],
        lost: Callable[[], None],
    ) -> None:
        self._request = request
        self._answers = answers
        self._answered = answered
        self._lost = lost
        self._head = self._status = b""
        self._missing = 0
        self._counted_from = self._sent = 0.0
        self.waiting = False
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports don't inherit from it

    def send(self, counted_from: float) -> None:
        self._counted_from = counted_from
        self._sent = time.perf_counter()
        self.waiting = True
        request = self._request
        if NUMBER in request:
            request = request.replace(NUMBER, b"%d" % next(numbers))
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            head = self._head + data
            end = head.find(END)
            if end < 0:
                self._head = head
                return
            self._head = b""
            self._status = status = head[9:12]
            length = LENGTH.search(head, 0, end)
            if status in WITHOUT_BODY:
                self._missing = end + len(END) - len(head)
            elif length is None:
                self._answers.fail(f"an answer without content-length can't be read: {head[:end].decode('latin-1')}")
                return
            else:
                self._missing = end + len(END) + int(length[1]) - len(head)
        if self._missing == 0 and self.waiting:
            now = time.perf_counter()
            self._answers.latencies.append(now - self._counted_from)
            self._answers.served[self._status].append(now - self._sent)
            self.waiting = False
            self._answered(self, now)
        elif self._missing <= 0:
            self._answers.fail("the server sent more than was asked for")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.closed = True
        if self.waiting:
            self._answers.lost += 1
            self._lost()


def generate(job: Job) -> list[Load]:
    gc.disable()  # the process ends before memory matters, and nothing may pause it
    if job.per_second is None:
        return [uvloop.run(_as_answered(job.targets[0], job.connections, job.seconds))]
    # Timers of uvloop and epoll count in milliseconds, those of select in microseconds; but select takes fewer
    # descriptors.
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    most = len(job.targets) * job.connections
    selector = selectors.SelectSelector if most < MOST_SELECTED else selectors.DefaultSelector
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector())) as runner:
        return runner.run(_paced(job, job.per_second))


async def _as_answered(target: Target, connections: int, seconds: float) -> Load:
    answers = Answers()
    going_on = connections
    ends_at = 0.0

    def answered(connection: Connection, now: float) -> None:
        if now < ends_at:
            connection.send(now)
        else:
            stopped()

    def stopped() -> None:
        nonlocal going_on
        going_on -= 1
        if not going_on:
            answers.end()

    connected = await _connected(target, connections, answers, answered, stopped)
    started, cpu_started = time.perf_counter(), time.process_time()
    ends_at = started + seconds
    for connection in connected:
        connection.send(time.perf_counter())
    await _over(answers, seconds + GRACE_SECONDS)
    share = (time.process_time() - cpu_started) / (time.perf_counter() - started)
    return answers.load(started, share, answers.lost + going_on)


async def _paced(job: Job, per_second: float) -> list[Load]:
    """Send paced requests to all targets. Their requests begin alternately, at equal intervals."""
    count = round(per_second * job.seconds)
    pacers = [await Pacer.connected(target, job.connections, count, 1 / per_second) for target in job.targets]
    cpu_started = time.process_time()
    started = time.perf_counter()
    for number, pacer in enumerate(pacers):
        pacer.start(started + number / per_second / len(pacers))
    await asyncio.gather(*(_over(pacer.answers, job.seconds + GRACE_SECONDS) for pacer in pacers))
    share = (time.process_time() - cpu_started) / (time.perf_counter() - started)
    return [pacer.answers.load(started, share, count - len(pacer.answers.latencies)) for pacer in pacers]


class Pacer:
    """Begins `count` requests to one target, one per `interval`, on a connection that is free, or on the next one that
    becomes free.
    """

    def __init__(self, count: int, interval: float) -> None:
        self.answers = Answers()
        self._loop = asyncio.get_running_loop()
        self._count = count
        self._interval = interval
        self._begun = 0
        self._first = 0.0
        self._waiting: deque[float] = deque()
        # The connection that was free for the longest time comes first, because a server closes idle connections.
        self._free: deque[Connection] = deque()

    @classmethod
    async def connected(cls, target: Target, connections: int, count: int, interval: float) -> "Pacer":
        pacer = cls(count, interval)
        pacer._free.extend(await _connected(target, connections, pacer.answers, pacer._answered, lambda: None))
        return pacer

    def start(self, first: float) -> None:
        self._first = first
        self._begin_after(first)

    def _begin_after(self, moment: float) -> None:
        # The clock of the loop is perf_counter here too.
        self._loop.call_later(max(0.0, moment - time.perf_counter()), self._due)

    def _due(self) -> None:
        now = time.perf_counter()
        while self._begun < self._count and (intended := self._first + self._begun * self._interval) <= now:
            self.answers.late.append(now - intended)
            self._waiting.append(intended)
            self._begun += 1
        self._send()
        if self._begun < self._count:
            self._begin_after(self._first + self._begun * self._interval)

    def _answered(self, connection: Connection, _now: float) -> None:
        self._free.append(connection)
        self._send()
        if len(self.answers.latencies) == self._count:
            self.answers.end()

    def _send(self) -> None:
        while self._waiting and self._free:
            connection = self._free.popleft()
            if not connection.closed:
                connection.send(self._waiting.popleft())


async def _connected(
    target: Target,
    connections: int,
    answers: Answers,
    answered: Callable[[Connection, float], None],
    lost: Callable[[], None],
) -> list[Connection]:
    loop, address = asyncio.get_running_loop(), urlsplit(target.url)
    request = target.request()
    made = [
        await loop.create_connection(
            lambda: Connection(request, answers, answered, lost), address.hostname or "", address.port or 80
        )
        for _ in range(connections)
    ]
    return [connection for _, connection in made]


async def _over(answers: Answers, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await answers.over
    except TimeoutError:
        pass  # missing answers are counted


def main() -> int:
    words = json.loads(sys.argv[1])
    try:
        loads = generate(Job(**{**words, "targets": [Target(**target) for target in words["targets"]]}))
    except (LoadFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps([asdict(load) for load in loads]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
