"""What is remembered of a failure, by an injected clock."""

import logging
import threading

import pytest

from esassistant.database.failures import DatabaseFailure
from esassistant.database.outage import Outage, Unsaid, probing
from tests.support.fakes import FakeClock

AWAY = DatabaseFailure("could not be reached.", is_answer=False)
FULL = DatabaseFailure("takes no writes: its disk is full.", is_answer=True)


def outage(clock: FakeClock) -> Outage:
    return Outage("The database", "The database answers again", clock, remembered_seconds=15, probe_seconds=5)


def test_a_failure_is_remembered(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody tries while it is, each failure lasts for its time, and the first success ends it; log and end are one
    line each.
    """
    caplog.set_level(logging.INFO)
    clock = FakeClock()
    one = outage(clock)
    assert (one.failure(), one.enter()) == (None, None)
    one.note_success()
    one.note_failure(AWAY)
    clock.advance(14)
    assert (one.failure(), one.enter()) == (AWAY, AWAY)
    one.note_failure(AWAY)
    clock.advance(14)
    assert one.enter() == AWAY
    one.note_success()
    assert (one.failure(), one.enter()) == (None, None)
    assert caplog.messages == ["The database could not be reached.", "The database answers again, after 28 s"]


def test_one_tries_when_nobody_has_for_long() -> None:
    """And another one when that one takes too long; the others are told what is known meanwhile."""
    clock = FakeClock()
    one = outage(clock)
    one.note_failure(AWAY)
    clock.advance(15)
    assert one.failure() is None
    assert (one.enter(), one.enter()) == (None, AWAY)
    clock.advance(5)
    assert (one.enter(), one.enter()) == (None, AWAY)


def test_who_probes_tries() -> None:
    """In its own thread, for the length of the block."""
    one = outage(FakeClock())
    one.note_failure(AWAY)
    elsewhere: list[DatabaseFailure | None] = []
    with probing():
        assert one.enter() is None
        thread = threading.Thread(target=lambda: elsewhere.append(one.enter()))
        thread.start()
        thread.join()
    assert elsewhere == [AWAY]
    assert one.enter() == AWAY


def test_what_comes_and_goes_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A cause that keeps being seen is said once; another one is said, and so is the same after a quiet minute."""
    caplog.set_level(logging.INFO)
    clock = FakeClock()
    one = outage(clock)
    for _ in range(200):
        one.note_failure(AWAY)
        one.note_success()
        clock.advance(1)
    assert len(caplog.messages) == 2
    one.note_failure(FULL)
    assert caplog.messages[2:] == ["The database takes no writes: its disk is full."]
    one.note_success()
    clock.advance(60)
    one.note_failure(AWAY)
    assert caplog.messages[4:] == ["The database could not be reached."]


def test_unsaid() -> None:
    """Whether to say a cause: at first, and when it was not seen for a minute."""
    clock = FakeClock()
    unsaid = Unsaid(clock, again_seconds=60)
    assert (unsaid.take("a"), unsaid.take("a"), unsaid.take("b")) == (True, False, True)
    clock.advance(59)
    assert not unsaid.take("a")
    clock.advance(59)
    assert not unsaid.take("a")
    clock.advance(60)
    assert unsaid.take("a")
