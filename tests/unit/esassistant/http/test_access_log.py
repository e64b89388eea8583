"""The access log's writing: every line reaches its reader, or is counted as lost; and no reader holds up the loop."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esassistant import masking
from esassistant.http.access_log import ATOMIC_BYTES, MAX_PATH_CHARACTERS, STANDARD_OUTPUT, AccessLog, AccessLogReport
from esassistant.masking import MASK, remember_secrets
from tests.support.access_logs import Pipe, a_line, length_of, on_pipe, on_terminal


@pytest.fixture
def pipe(request: pytest.FixtureRequest) -> Iterator[Pipe]:
    """A pipe, by an indirect parameter with other times."""
    with contextlib.closing(Pipe(**getattr(request, "param", {}))) as made:
        yield made


def in_chunks(count: int) -> list[str]:
    """Paths so long that the lines of ten of them fill the pipe, and eleven don't fit."""
    return [f"/{number:03}/{'x' * 195}" for number in range(count)]


async def test_lines_come_in_order(pipe: Pipe) -> None:
    """Lines come in the order of the requests, however often is written in between, and each once."""
    pipe.write("/a", "/b")
    await pipe.log.write_waiting()
    await pipe.log.write_waiting()
    assert pipe.read_paths() == ["/a", "/b"]
    pipe.write("/c")
    assert pipe.log.report() == AccessLogReport(2, 0)
    await pipe.log.write_waiting()
    assert pipe.read_paths() == ["/c"]
    assert pipe.log.report() == AccessLogReport(3, 0)


async def test_whole_lines_are_written_together() -> None:
    """Each write is of whole lines, no more than what a pipe takes without blocking, and of as many as that allows."""
    with contextlib.closing(Pipe(flags=os.O_DIRECT)) as packets:  # one read gives what one write wrote
        paths = in_chunks(25)
        packets.write(*paths)
        most = ATOMIC_BYTES // length_of(a_line(paths[0]))
        found: list[int] = []
        received: list[str] = []
        while len(received) < len(paths):
            await packets.log.write_waiting()
            packet = packets.read()
            found.append(packet.count(b"\n"))
            assert packet.endswith(b"}\n")
            assert len(packet) <= ATOMIC_BYTES
            received += [json.loads(line)["path"] for line in packet.splitlines()]
    assert received == paths
    assert found == [most, most, 25 - 2 * most]


@pytest.mark.parametrize("length", [ATOMIC_BYTES - 1, ATOMIC_BYTES, ATOMIC_BYTES + 1])
async def test_writes_are_as_long_as_allowed(length: int) -> None:
    """Two lines that fit exactly are written at once; if they are a byte longer, one after the other."""
    one = length_of(a_line())
    with contextlib.closing(Pipe(flags=os.O_DIRECT)) as packets:
        packets.log.write(a_line())
        packets.log.write(a_line(client="x" * (length - 2 * one + len("10.0.0.1"))))
        await packets.log.write_waiting()
        assert len(packets.read()) == (length if length <= ATOMIC_BYTES else one)


def test_a_line_longer_than_a_write() -> None:
    """A line that doesn't fit into one write isn't lost, and holds up no other."""
    reader, descriptor = os.pipe()  # of ordinary size
    log = AccessLog(descriptor)
    for client in ("a", "b" * 2 * ATOMIC_BYTES, "c"):
        log.write(a_line(client=client))
    asyncio.run(log.write_waiting())
    os.close(descriptor)
    with os.fdopen(reader, "rb") as file:
        assert [json.loads(line)["client"] for line in file] == ["a", "b" * 2 * ATOMIC_BYTES, "c"]
    assert log.report() == AccessLogReport(3, 0)


async def test_nothing_to_write() -> None:
    """Without lines the descriptor isn't even looked at."""
    log = AccessLog(-1)
    await log.write_waiting()
    assert log.report() == AccessLogReport(0, 0)


@pytest.mark.parametrize("pipe", [{"write_every_seconds": 0.01}], indirect=True)
async def test_background_task(pipe: Pipe) -> None:
    """The task writes what comes, soon after it came, again and again, until it is cancelled."""
    task = asyncio.create_task(pipe.log.keep_writing())
    for path in ("/a", "/b"):
        pipe.write(path)
        assert await pipe.next_paths() == [path]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# A reader that is slow, and one that is gone


@pytest.mark.parametrize("pipe", [{"writable_within_seconds": 0.2}], indirect=True)
async def test_a_reader_that_does_not_read(pipe: Pipe) -> None:
    """While the reader doesn't read, the loop goes on; what didn't fit waits, and comes when the reader reads again."""
    paths = in_chunks(40)
    pipe.write(*paths)
    writing = asyncio.create_task(pipe.log.write_waiting())
    turns = 0
    while not writing.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns >= 20
    report = pipe.log.report()
    assert 0 < report.written_lines_total < 20
    assert report.lost_lines_total == 0
    assert await pipe.read_all() == paths
    assert pipe.log.report() == AccessLogReport(40, 0)


@pytest.mark.parametrize("pipe", [{"writable_within_seconds": 2.0}], indirect=True)
async def test_a_slow_reader_is_waited_for(pipe: Pipe) -> None:
    """A reader that reads before long gets everything in one go, as it reads."""
    paths = in_chunks(40)
    pipe.write(*paths)
    writing = asyncio.create_task(pipe.log.write_waiting())
    received: list[str] = []
    while len(received) < len(paths):
        received += await pipe.next_paths()
    await asyncio.wait_for(writing, 1)
    assert received == paths
    assert pipe.log.report() == AccessLogReport(40, 0)


async def test_the_oldest_are_lost() -> None:
    """Of more lines than may wait the oldest are lost, and counted at once."""
    with contextlib.closing(Pipe(max_waiting=3)) as made:
        made.write("/a", "/b", "/c")
        assert made.log.report() == AccessLogReport(0, 0)
        made.write("/d", "/e")
        assert made.log.report() == AccessLogReport(0, 2)
        assert await made.read_all() == ["/c", "/d", "/e"]
        assert made.log.report() == AccessLogReport(3, 2)


@pytest.mark.parametrize("more", [0, 5, 20, 30, 45])
async def test_lines_that_come_while_others_are_written(more: int) -> None:
    """What couldn't be written waits on before what came meanwhile; of both together the oldest are lost, as many as
    are too many. What is being written is neither written nor lost.
    """
    with contextlib.closing(Pipe(max_waiting=30)) as made:
        paths = in_chunks(30 + more)
        made.write(*paths[:30])
        writing = asyncio.create_task(made.log.write_waiting())
        await asyncio.sleep(0)
        assert made.log.report() == AccessLogReport(0, 0)
        made.write(*paths[30:])
        assert made.log.report() == AccessLogReport(0, max(0, more - 30))
        await writing
        written = made.log.report().written_lines_total
        assert 0 < written < 20
        lost = max(0, len(paths) - written - 30)
        assert made.log.report() == AccessLogReport(written, lost)
        assert await made.read_all() == paths[:written] + paths[written + lost :]
        assert made.log.report() == AccessLogReport(len(paths) - lost, lost)


async def test_no_more_wait_than_may() -> None:
    """Where no line may wait, each is lost and counted, and nothing fails."""
    with contextlib.closing(Pipe(max_waiting=0)) as made:
        made.write("/a", "/b")
        await made.log.write_waiting()
        assert made.log.report() == AccessLogReport(0, 2)


STEPS = st.lists(
    st.tuples(st.integers(0, 25), st.integers(0, 25), st.booleans()),
    min_size=1,
    max_size=6,
)
"""So many lines before writing, so many while that is under way, and whether the reader reads then."""


@settings(max_examples=25)
@given(STEPS, st.integers(1, 40))
def test_every_line_is_accounted_for(steps: list[tuple[int, int, bool]], max_waiting: int) -> None:
    """However lines, writes and reads fall together: each line is written once, lost or waits, never two of these; what
    comes is in order, no count ever goes down, and the newest are never lost.
    """

    async def run() -> None:
        with contextlib.closing(Pipe(max_waiting)) as made:
            log, sent, received = made.log, 0, list[str]()
            last = log.report()

            def write(count: int) -> None:
                nonlocal sent
                made.write(*(f"/{number}/{'x' * 195}" for number in range(sent, sent + count)))
                sent += count

            def check() -> int:
                nonlocal last
                report = log.report()
                assert report.written_lines_total >= last.written_lines_total
                assert report.lost_lines_total >= last.lost_lines_total
                last = report
                return sent - report.written_lines_total - report.lost_lines_total

            for before, meanwhile, reads in steps:
                write(before)
                assert check() == len(log._waiting) <= max_waiting
                writing = asyncio.create_task(log.write_waiting())
                await asyncio.sleep(0)
                pending = check()
                write(meanwhile)
                assert pending <= check() <= pending + min(meanwhile, max_waiting)
                if reads:
                    received += made.read_paths()
                await writing
                assert check() == len(log._waiting) <= max_waiting
            received += await made.read_all()
            assert check() == 0
            numbers = [int(path.split("/")[1]) for path in received]
            assert numbers == sorted(set(numbers))
            assert len(numbers) == last.written_lines_total
            newest = min(sent, max_waiting)
            assert numbers[len(numbers) - newest :] == list(range(sent - newest, sent))

    asyncio.run(run())


@pytest.mark.parametrize("pipe", [{"write_every_seconds": 0.005}], indirect=True)
async def test_the_reader_is_gone(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    """When nobody reads any more the lines are lost, and counted; the task goes on, and says so once."""
    pipe.write("/a")
    await pipe.log.write_waiting()
    pipe.leave()
    task = asyncio.create_task(pipe.log.keep_writing())
    for lost in (1, 2, 3):
        pipe.write("/b")
        async with asyncio.timeout(2):
            while pipe.log.report() != AccessLogReport(1, lost):  # noqa: ASYNC110  (nothing is signalled)
                await asyncio.sleep(0.005)
    assert not task.done()
    task.cancel()
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == "the access log loses lines: it can't be written (BrokenPipeError)"


@pytest.mark.parametrize("pipe", [{"writable_within_seconds": 2.0}], indirect=True)
async def test_the_reader_goes_in_the_middle(pipe: Pipe) -> None:
    """What was written before the reader went counts as written, the rest as lost; nothing waits for nobody."""
    pipe.write(*in_chunks(40))
    writing = asyncio.create_task(pipe.log.write_waiting())
    received = await pipe.next_paths()
    await pipe.arrived()  # the next ones, which nobody will read
    pipe.leave()
    await asyncio.wait_for(writing, 1)
    report = pipe.log.report()
    assert report.written_lines_total == 2 * len(received)
    assert report.written_lines_total + report.lost_lines_total == 40


@pytest.mark.parametrize("failure", ["disk full", "closed"])
async def test_what_cannot_be_written(failure: str, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk or a closed descriptor is no reason to crash, nor to keep lines for ever; it is said once."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    log = AccessLog(descriptor)
    if failure == "closed":
        os.close(descriptor)
    for count in (1, 2):
        log.write(a_line())
        await log.write_waiting()
        assert log.report() == AccessLogReport(0, count)
    assert len(caplog.records) == 1
    if failure != "closed":
        os.close(descriptor)


@pytest.mark.parametrize("pipe", [{"writable_within_seconds": 2.0}], indirect=True)
async def test_cancelled_while_writing(pipe: Pipe) -> None:
    """Who cancels the task while it writes, as closing does, can still write what came since; nothing waits for
    ever.
    """
    paths = in_chunks(15)
    pipe.write(*paths)
    writing = asyncio.create_task(pipe.log.write_waiting())
    await pipe.arrived()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    # The thread goes on; as nobody hears of what it writes any more, that counts as lost.
    assert pipe.log.report() == AccessLogReport(0, 15)
    assert await pipe.next_paths() + await pipe.next_paths() == paths
    pipe.write("/last")
    assert await pipe.read_all() == ["/last"]
    assert pipe.log.report() == AccessLogReport(1, 15)


SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests know one secret; those of the settings come back afterwards."""
    monkeypatch.setattr(masking, "_known", None)
    remember_secrets([SECRET])
    yield
    monkeypatch.undo()


def test_lines_for_programs() -> None:
    """Where no terminal is, each request is one line of JSON with all that is known of it."""
    lines = on_pipe(
        a_line(), a_line("/x", status=None, client=None, route=None, door="django", token="logs")
    ).splitlines()
    assert list(map(json.loads, lines)) == [
        {
            "time": "2026-03-04T05:06:07.891000Z",
            "request_id": "r-1",
            "client": "10.0.0.1",
            "method": "GET",
            "path": "/api/mappings",
            "route": "/api/mappings",
            "door": "hot",
            "status": 200,
            "duration_ms": 0.123,
            "bytes": 17,
            "token": None,
        },
        {
            "time": "2026-03-04T05:06:07.891000Z",
            "request_id": "r-1",
            "client": None,
            "method": "GET",
            "path": "/x",
            "route": None,
            "door": "django",
            "status": None,
            "duration_ms": 0.123,
            "bytes": 17,
            "token": "logs",
        },
    ]


def test_lines_for_people() -> None:
    """On a terminal a line is short, and says of who left before the answer that there was none."""
    shown = on_terminal(a_line(), a_line("/ä", status=None, method="POST", duration_ms=1234.56, door="django"))
    assert shown.splitlines() == [
        "05:06:07 200 GET /api/mappings 0.1 ms (hot)",
        "05:06:07 --- POST /\\xe4 1234.6 ms (django)",
    ]


def test_a_file_is_no_terminal(tmp_path: Path) -> None:
    """A log that goes to a file is JSON, and is added to it."""
    with (tmp_path / "log").open("wb") as file:
        log = AccessLog(file.fileno())
        for path in ("/a", "/b"):
            log.write(a_line(path))
            asyncio.run(log.write_waiting())
    assert [json.loads(line)["path"] for line in (tmp_path / "log").read_bytes().splitlines()] == ["/a", "/b"]


def test_standard_output() -> None:
    """The log of the process is what it writes to standard output, and to nothing else."""
    code = (
        "import asyncio; from datetime import datetime; from esassistant.http.access_log import *;"
        "access_log.write(LogLine(datetime.min, 'r', None, 'GET', '/a', None, 'hot', 200, 1.0, 0, None));"
        "asyncio.run(access_log.write_waiting())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=20)
    assert json.loads(done.stdout)["path"] == "/a"
    assert done.stderr == b""
    assert STANDARD_OUTPUT == sys.__stdout__.fileno() == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (f"/login/{SECRET}/x", f"/login/{MASK}/x"),
        ("/password=hunter2/x", f"/password={MASK}"),
        ("/go/https://me:hunter2@host/", "/go/https://host/"),
    ],
)
def test_secrets_are_masked(path: str, shown: str) -> None:
    """No secret of this process gets into the log by a path, nor what has the form of one; in neither form of the
    log.
    """
    assert json.loads(on_pipe(a_line(path)))["path"] == shown
    assert f" GET {shown} 0.1 ms" in on_terminal(a_line(path))


@pytest.mark.parametrize("before", range(MAX_PATH_CHARACTERS - len(SECRET) - 2, MAX_PATH_CHARACTERS + 2))
def test_the_end_cuts_through_no_secret(before: int) -> None:
    """Where a path is cut in the middle of a secret, its beginning isn't shown either."""
    path = "/".ljust(before, "x") + SECRET + "/more" * 100
    shown = json.loads(on_pipe(a_line(path)))["path"]
    assert shown.rstrip("*/more") == "/".ljust(min(before, MAX_PATH_CHARACTERS), "x")


@pytest.mark.parametrize("length", [MAX_PATH_CHARACTERS - 1, MAX_PATH_CHARACTERS, MAX_PATH_CHARACTERS + 1, 100_000])
def test_long_paths_are_cut(length: int) -> None:
    """A path is shown up to a number of characters, whole as long as it is no longer."""
    path = "/".ljust(length, "ä")
    assert json.loads(on_pipe(a_line(path)))["path"] == path[:MAX_PATH_CHARACTERS]
    assert path[:MAX_PATH_CHARACTERS].replace("ä", "\\xe4") in on_terminal(a_line(path))


@settings(max_examples=60)
@given(st.text(st.characters() | st.sampled_from('\n\r\t\x1b\x9b\x7f\u2028\u202e\ud800"\\%€'), max_size=80))
def test_no_path_breaks_a_line_or_a_terminal(path: str) -> None:
    """Whatever a path is made of, it makes one line, with nothing in it that would steer the terminal that shows it;
    what can be shown is.
    """
    as_json = on_pipe(a_line(f"/{path}")).decode()
    assert as_json.endswith("}\n")
    assert as_json[:-1].isprintable()
    shown = json.loads(as_json)["path"]
    if MASK not in shown:
        assert shown == "/" + "".join(each if each.isprintable() else "?" for each in path)
    for_people = on_terminal(a_line(f"/{path}"))
    assert for_people.endswith(" 0.1 ms (hot)\r\n")
    assert for_people[:-2].isprintable()
    assert len(for_people.splitlines()) == 1
