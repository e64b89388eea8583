"""The log: whoever logs waits for no reader, and what is lost is counted and said."""

import logging
import os
import re
import select
import threading
import time
from collections.abc import Callable, Iterator
from io import FileIO

import pytest

from dev.servers.process import wait_until
from esassistant.advice import NotEnoughData, Recommendation
from esassistant.log_handler import LogReport, QueuedHandler, ServerErrors, cut, log_handler, log_rules, standard_error

PIPE_BYTES = 64 * 1024
"""What a pipe holds that nobody reads."""
SAID = re.compile(rb"(\d+) records of the log were lost")


@pytest.fixture
def pipe() -> Iterator[tuple[FileIO, int]]:
    """Both ends. The end that is written to stays open: a writer may still have something, which then fails."""
    read, write = os.pipe()
    with FileIO(read) as reader:
        yield reader, write


Say = Callable[..., None]


def saying(handler: QueuedHandler) -> Say:
    def say(text: str, *arguments: object) -> None:
        handler.emit(logging.LogRecord("about", logging.INFO, "", 0, text, arguments, None))

    return say


def serving(descriptor: int, **options: int) -> QueuedHandler:
    handler = QueuedHandler(descriptor, **options)
    handler.waits = False
    return handler


def test_records_are_written_in_order(pipe: tuple[FileIO, int]) -> None:
    """One line for each, by a thread."""
    handler = serving(pipe[1])
    for number in range(3):
        saying(handler)("number %d", number)
    handler.flush()
    assert pipe[0].read(100) == b"number 0\nnumber 1\nnumber 2\n"
    assert handler.report() == LogReport(3, 0)


def test_nobody_waits_for_a_reader(pipe: tuple[FileIO, int]) -> None:
    """With a pipe that is full: what finds no room is lost and counted, and said when somebody reads."""
    handler = serving(pipe[1], max_bytes=10_000)
    started_at = time.monotonic()
    for _ in range(100):
        saying(handler)("x" * 1999)
    assert time.monotonic() - started_at < 0.5
    lost = handler.report().lost_records_total
    assert 100 - (PIPE_BYTES + 10_000) // 2000 - 1 <= lost < 100
    text = b""

    def said() -> bool:
        nonlocal text
        if select.select([pipe[0]], [], [], 0)[0]:
            text += pipe[0].read(PIPE_BYTES) or b""
        return sum(map(int, SAID.findall(text))) == lost

    wait_until(said, 5)
    assert handler.report() == LogReport(100 - lost, lost)


def test_a_reader_that_is_gone(pipe: tuple[FileIO, int]) -> None:
    """What can't be written is counted as lost; the next record is tried again."""
    handler = serving(pipe[1])
    pipe[0].close()
    for _ in range(2):
        saying(handler)("x")
    handler.flush()
    assert handler.report() == LogReport(0, 2)


def test_before_and_after_serving_records_are_waited_for(pipe: tuple[FileIO, int]) -> None:
    """A command's lines are written when it goes on; where nobody reads it waits once, for so long, and never again."""
    handler = QueuedHandler(pipe[1], end_seconds=0.1)
    saying(handler)("now")
    assert pipe[0].read(100) == b"now\n"
    started_at = time.monotonic()
    for _ in range(20):
        saying(handler)("x" * 7000)
    assert 0.1 <= time.monotonic() - started_at < 0.5


def test_what_cannot_be_formatted(pipe: tuple[FileIO, int]) -> None:
    """Whoever logs it goes on; the log says that there was something."""
    handler = serving(pipe[1])
    saying(handler)("%d", "no number")
    handler.flush()
    assert pipe[0].read(100) == b"a record of about could not be formatted\n"


def test_a_writer_is_started_once(pipe: tuple[FileIO, int]) -> None:
    """All records are written by one thread."""
    handler = serving(pipe[1])
    before = threading.active_count()
    for _ in range(10):
        saying(handler)("x")
    handler.flush()
    assert threading.active_count() == before + 1


@pytest.mark.parametrize(("length", "cut_length"), [(10, 10), (11, 10 + len(" … (1 characters left out) … "))])
def test_long_records_are_cut(length: int, cut_length: int) -> None:
    """Their beginning and end are kept."""
    text = cut("a" * (length - 1) + "z", 10)
    assert len(text) == cut_length
    assert (text[0], text[-1]) == ("a", "z")


@pytest.mark.parametrize(("status", "logged"), [(None, True), (400, False), (404, False), (499, False), (500, True)])
def test_what_a_caller_does_wrong_is_not_logged(status: int | None, logged: bool) -> None:
    """Of Django's records of answers only 5xx get through."""
    record = logging.LogRecord("django.request", logging.WARNING, "", 0, "", (), None)
    if status is not None:
        record.status_code = status
    assert ServerErrors().filter(record) == logged


def test_one_handler_for_the_process() -> None:
    """The one that the statistics tell of."""
    assert standard_error() is log_handler


def test_the_rule() -> None:
    """One lost record is worth telling; none, and no data, aren't."""
    assert [type(one) for one in log_rules(LogReport(0, 0))] == [NotEnoughData]
    assert list(log_rules(LogReport(10, 0))) == []
    assert [type(one) for one in log_rules(LogReport(9, 1))] == [Recommendation]
