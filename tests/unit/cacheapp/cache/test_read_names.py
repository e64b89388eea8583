"""Which names reads and publications added or dropped, and which of those are never listed."""

from itertools import pairwise
from types import MappingProxyType

from cacheapp.cache.read_names import UNLISTED_SECONDS, ReadNames
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from tests.support.fakes import FakeClock


def known(*indices: str, **aliases: tuple[str, ...]) -> Snapshot:
    entries = {name: IndexEntry(None, "hash", 0.0, Source.ELASTICSEARCH) for name in indices}
    return Snapshot(MappingProxyType(entries), MappingProxyType(aliases))


def test_a_read_that_changes_names_counts() -> None:
    """An index or alias that a read adds, drops or moves counts; one that stays doesn't."""
    names = ReadNames(FakeClock())
    names.note_read(known("a"), known("a"), {"a"}, 1000.0)
    assert names.changes_total == 0
    steps = [known(), known("a"), known("a", x=("a",)), known("a", "b", x=("b",)), known("b", x=("b",))]
    for number, (before, after) in enumerate(pairwise(steps), start=1):
        names.note_read(before, after, {"a", "b", "x"}, 1000.0)
        assert names.changes_total == number


def test_a_publication_that_changes_names_counts() -> None:
    """What another process published counts where it adds or drops names."""
    names = ReadNames(FakeClock())
    names.note_published(known("a", x=("a",)), known("a", x=("a",)))
    assert names.changes_total == 0
    names.note_published(known("a"), known("b"))
    names.note_published(known("b"), known("b", x=("b",)))
    assert names.changes_total == 2


def test_names_that_are_never_listed() -> None:
    """A name that a listing after its read doesn't have counts no more, for an hour; a listed one does."""
    clock = FakeClock()
    names = ReadNames(clock)
    names.note_read(known(), known("a", "hidden"), {"a", "hidden"}, clock())
    names.note_listing(lambda name: name == "a", clock() - 1.0)  # was listed before: says nothing
    names.note_listing(lambda name: name == "a", clock() + 1.0)
    before = names.changes_total
    names.note_read(known("a", "hidden"), known("a"), {"hidden"}, clock())
    names.note_read(known("a"), known("a", "hidden"), {"hidden"}, clock())
    names.note_published(known("a", "hidden"), known("a"))
    assert names.changes_total == before
    names.note_read(known("a"), known(), {"a"}, clock())
    assert names.changes_total == before + 1
    clock.advance(UNLISTED_SECONDS)
    names.note_read(known("a"), known("a", "hidden"), {"hidden"}, clock())
    assert names.changes_total == before + 2


def test_names_are_bounded() -> None:
    """However many names are read that no listing has, few are remembered: the latest."""
    clock = FakeClock()
    names = ReadNames(clock, max_names=2)
    for name in "abc":
        names.note_read(known(), known(name), {name}, clock())
    names.note_listing(lambda _: False, clock())
    assert names.changes_total == 3
    for number, name in enumerate("bca"):
        names.note_read(known(), known(name), {name}, clock())
        assert names.changes_total == (3 if number < 2 else 4)
