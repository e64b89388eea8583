"""What was asked for lately: newest first, forgotten in time, bounded."""

from cacheapp.state.asked_for import LATELY_SECONDS, AskedFor
from tests.support.fakes import FakeClock


def test_what_was_asked_for_lately() -> None:
    """The newest first, each once; what wasn't asked for in 24 hours is forgotten."""
    clock = FakeClock()
    asked: AskedFor[str] = AskedFor(clock)
    for name in ("old", "a", "b", "a"):
        asked.note("fields", name)
        clock.advance(1.0)
    assert asked.lately() == [("fields", "a"), ("fields", "b"), ("fields", "old")]
    clock.advance(LATELY_SECONDS - 1.5)
    assert asked.lately() == [("fields", "a")]
    assert len(asked) == 1


def test_names_are_bounded() -> None:
    """Of more than so many, those asked for the longest ago are forgotten."""
    asked: AskedFor[str] = AskedFor(FakeClock(), max_kept=3)
    for name in "abcad":
        asked.note("fields", name)
    assert [name for _, name in asked.lately()] == ["d", "a", "c"]
