"""When the watch looks by itself, when it asks for the versions of mappings, and what these name."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from cacheapp.sync.look_policy import (
    ASK_SECONDS,
    FIRST_UNREAD_SECONDS,
    LONGEST_UNREAD_SECONDS,
    PASS_FACTOR,
    PAUSE_SECONDS,
    Looks,
    NextStep,
    VersionPolicy,
    names_to_read,
    versions_read,
)
from cacheapp.sync.pass_record import ChangesRead
from tests.support.fakes import FakeClock

BAD = ChangesRead(0, frozenset({"bad"}))
NAMES = st.sampled_from("abcdef")
VERSIONS = st.dictionaries(NAMES, st.integers(1, 4))
many = settings(max_examples=200)


class Policy:
    """A policy, and the clock that it goes by."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.versions = VersionPolicy(self.clock)

    def ask(self, seconds: float = 0.1) -> bool:
        """Ask, as it is due; return whether asking now pauses."""
        assert self.versions.due() is NextStep.ASK
        self.clock.advance(seconds)
        paused = self.versions.note_asked(seconds)
        self.versions.settle()
        return paused

    def slow(self) -> None:
        """Have answers be slow until asking pauses."""
        for paused in (False, True):
            self.versions.note_wake(found=False)
            self.clock.advance(self.versions.due_in() or 0.0)
            assert self.ask(3.0) is paused


def test_nothing_left_to_look_for() -> None:
    """A look that read everything starts none; nor does the beginning."""
    looks = Looks(FakeClock())
    assert looks.due_in() is None
    looks.note(BAD)
    looks.note(ChangesRead(1))
    assert (looks.due_in(), looks.may_postpone()) == (None, True)


def test_what_can_not_be_read_is_tried_less_and_less_often() -> None:
    """Each try waits twice as long as the one before, up to a bound; a change begins anew."""
    clock = FakeClock()
    looks, waits = Looks(clock), []
    for _ in range(7):
        looks.note(BAD)
        looks.note(BAD)  # a second look of the same moment is no other try
        waits.append(looks.due_in())
        clock.advance(waits[-1] or 0.0)
        assert (looks.due_in(), looks.may_postpone()) == (0.0, True)
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, 32.0, 32.0]
    assert waits[-1] == LONGEST_UNREAD_SECONDS
    looks.note_wake()
    assert looks.due_in() is None
    looks.note(BAD)
    assert looks.due_in() == FIRST_UNREAD_SECONDS


def test_what_was_postponed_is_read_when_it_is_due() -> None:
    """Not before, and then all of it; what could not be read comes sooner, and leaves it alone."""
    clock = FakeClock()
    looks = Looks(clock)
    looks.note(ChangesRead(0, postponed_seconds=20.0))
    assert (looks.due_in(), looks.may_postpone()) == (20.0, True)
    looks.note(ChangesRead(0, frozenset({"bad"}), 20.0))
    assert looks.due_in() == FIRST_UNREAD_SECONDS
    clock.advance(FIRST_UNREAD_SECONDS)
    assert looks.may_postpone()
    clock.advance(20.0)
    assert (looks.due_in(), looks.may_postpone()) == (0.0, False)


def test_nothing_is_owed() -> None:
    """Without a wake nothing is asked, however long."""
    policy = Policy()
    policy.clock.advance(10_000.0)
    assert (policy.versions.due(), policy.versions.due_in()) == (None, None)


def test_a_look_that_found_nothing() -> None:
    """It is asked at once, and once; a second such wake waits until ten seconds are over, and isn't forgotten."""
    policy = Policy()
    policy.versions.note_wake(found=False)
    assert policy.versions.due_in() == 0.0
    policy.ask()
    assert policy.versions.due_in() is None
    policy.clock.advance(2.0)
    policy.versions.note_wake(found=False)
    assert (policy.versions.due(), policy.versions.due_in()) == (None, ASK_SECONDS - 2.0)
    policy.clock.advance(ASK_SECONDS - 2.0)
    policy.ask()


def test_what_was_asked_for_comparison_delays_nothing() -> None:
    """After that, the first change is asked for at once."""
    policy = Policy()
    policy.versions.note_asked(0.1)
    policy.versions.allow_asking()
    policy.versions.note_wake(found=False)
    assert policy.versions.due() is NextStep.ASK


def test_a_look_that_found_something() -> None:
    """That may not be all: it is asked ten seconds later, however often more is found until then."""
    policy = Policy()
    policy.versions.note_wake(found=True)
    for _ in range(9):
        policy.clock.advance(1.0)
        assert policy.versions.due() is None
        policy.versions.note_wake(found=True)
    policy.clock.advance(1.0)
    policy.ask()
    policy.versions.note_wake(found=True)
    policy.clock.advance(ASK_SECONDS / 2)
    policy.versions.note_wake(found=False)
    assert policy.versions.due_in() == ASK_SECONDS / 2  # since the last answer


def test_an_answer_that_settles_nothing() -> None:
    """What was asked and not answered, or could not be read, is asked again ten seconds later."""
    policy = Policy()
    policy.versions.note_wake(found=False)
    policy.versions.note_asked(0.1)
    assert policy.versions.due_in() == ASK_SECONDS


def test_what_can_not_be_read() -> None:
    """It is asked for again, each time twice as long afterwards, but at once when something happens."""
    policy, waits = Policy(), []
    policy.versions.note_wake(found=False)
    for _ in range(8):
        policy.versions.note_asked(0.1)
        policy.versions.note_unread()
        waits.append(policy.versions.due_in())
        policy.clock.advance(waits[-1] or 0.0)
    assert waits == [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0]
    policy.versions.note_unread()
    policy.versions.note_wake(found=False)
    assert policy.versions.due() is NextStep.ASK
    policy.versions.settle()
    policy.versions.note_unread()
    assert policy.versions.due_in() == ASK_SECONDS


def test_where_it_is_refused() -> None:
    """It is asked again much later, and whatever woke the watch until then is owed the answer."""
    policy = Policy()
    policy.versions.note_wake(found=False)
    assert not policy.versions.is_paused()
    policy.versions.note_refused()
    for _ in range(3):
        policy.versions.note_wake(found=False)
        assert (policy.versions.due(), policy.versions.is_paused()) == (None, True)
        policy.clock.advance(PAUSE_SECONDS / 3)
    assert (policy.versions.due(), policy.versions.is_paused()) == (NextStep.ASK, False)


def test_one_slow_answer_is_an_accident() -> None:
    """Only two in a row are too much."""
    policy = Policy()
    for seconds in (3.0, 0.5, 3.0, 0.5):
        policy.versions.note_wake(found=False)
        policy.clock.advance(policy.versions.due_in() or 0.0)
        assert policy.ask(seconds) is False


def test_where_it_is_slow() -> None:
    """What no look explains is worth an early full pass, so often as its price allows; what a look found is not. At the
    end of the pause it is asked again, and one more slow answer is enough.
    """
    policy = Policy()
    policy.slow()
    slow_until = policy.clock.now + PAUSE_SECONDS
    policy.versions.note_wake(found=True)
    assert (policy.versions.due(), policy.versions.due_in()) == (None, PAUSE_SECONDS)
    policy.versions.note_wake(found=False)
    assert policy.versions.due() is NextStep.REFRESH
    policy.versions.note_pass(started=True)
    assert policy.versions.due_in() is None
    policy.versions.note_wake(found=False)
    assert policy.versions.due_in() == PASS_FACTOR * 3.0
    policy.clock.now = slow_until - 1
    policy.versions.note_pass(started=True)
    policy.versions.note_wake(found=False)
    assert policy.versions.due_in() == 1.0
    policy.clock.advance(1.0)
    assert policy.ask(3.0) is True


def test_a_pass_that_ran_already() -> None:
    """It may have read before the change: another one is asked for soon."""
    policy = Policy()
    policy.slow()
    policy.versions.note_wake(found=False)
    policy.versions.note_pass(started=False)
    assert (policy.versions.due(), policy.versions.due_in()) == (None, ASK_SECONDS)
    policy.clock.advance(ASK_SECONDS)
    assert policy.versions.due() is NextStep.REFRESH


@many
@given(wakes=st.lists(st.tuples(st.floats(0.0, 15.0), st.booleans()), min_size=1, max_size=30))
def test_no_wake_is_slept_over(wakes: list[tuple[float, bool]]) -> None:
    """Whenever wakes come, and whatever looks find, each is owed an answer that is asked for within ten seconds of it,
    and no two are less than ten seconds apart.
    """
    policy, asked_at = Policy(), [0.0]

    def pass_by(seconds: float) -> None:
        """Ask whenever it is due meanwhile."""
        ends_at = policy.clock.now + seconds
        while (due_in := policy.versions.due_in()) is not None and policy.clock.now + due_in <= ends_at:
            policy.clock.advance(due_in)
            if policy.versions.due() is NextStep.ASK:
                asked_at.append(policy.clock.now)
                policy.ask(0.0)
        policy.clock.now = ends_at

    woken_at = []
    for seconds, found in wakes:
        pass_by(seconds)
        policy.versions.note_wake(found=found)
        woken_at.append(policy.clock.now)
    pass_by(2 * ASK_SECONDS)
    tolerance = 1e-6
    for at in woken_at:
        assert any(at - tolerance <= asked <= at + ASK_SECONDS + tolerance for asked in asked_at)
    assert all(later - sooner >= ASK_SECONDS - tolerance for sooner, later in pairwise(asked_at))
    assert policy.versions.due_in() is None


def test_names_to_read() -> None:
    """What has another version, also a lower one; a new one in its first version was read when it was found."""
    told = {"same": 3, "changed": 4, "again": 1, "new": 1, "new and changed": 2}
    assert names_to_read({"same": 3, "changed": 3, "again": 5, "gone": 1}, told) == {
        "changed",
        "again",
        "new and changed",
    }


@many
@given(known=VERSIONS, told=VERSIONS, failed=st.frozensets(NAMES))
def test_what_failed_is_named_again(known: dict[str, int], told: dict[str, int], failed: frozenset[str]) -> None:
    """After what was named is read, the same versions name exactly what could not be read; nothing is kept of what is
    gone, as far as it was read.
    """
    named = names_to_read(known, told)
    after = versions_read(known, told, named & failed)
    assert names_to_read(after, told) == named & failed
    assert after.keys() <= told.keys()
