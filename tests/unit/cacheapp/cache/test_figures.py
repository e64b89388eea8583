"""Ages of a snapshot's entries, against looking at each of them."""

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cacheapp.cache.figures import Ages
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from tests.support.fakes import A_MAPPING
from tests.support.snapshots import changed

MOMENTS = st.integers(0, 400).map(lambda quarters: 900.0 + quarters / 4)
"""Quarters of seconds, which floats hold exactly: an age is as long as, or longer than another, without doubt."""


def snapshot(*confirmed_at: float, together_at: float = -math.inf) -> Snapshot:
    """Indices that were confirmed one by one, and all of them together."""
    known = mapping_hash(A_MAPPING)
    entries = {
        f"index-{number}": IndexEntry("u", known, moment, Source.ELASTICSEARCH)
        for number, moment in enumerate(confirmed_at)
    }
    return replace(changed(Snapshot(), entries, {known: A_MAPPING}), confirmed_at=together_at)


SNAPSHOTS = st.builds(
    lambda each, together_at: snapshot(*each, together_at=together_at),
    st.lists(MOMENTS, max_size=8),
    MOMENTS | st.just(-math.inf),
)


def naive_ages(of: Snapshot, now: float) -> list[float]:
    return [now - of.confirmed_of(name) for name in of.indices]


@given(st.lists(SNAPSHOTS, min_size=1, max_size=4), st.lists(st.integers(0, 3), min_size=1, max_size=8), st.data())
def test_as_looking_at_each(snapshots: list[Snapshot], order: list[int], data: st.DataObject) -> None:
    """The oldest age, and how many are older than any limit, are those of all entries, whichever snapshot is asked for
    after which.
    """
    ages = Ages()
    for number in order:
        asked = snapshots[number % len(snapshots)]
        now = data.draw(MOMENTS, "now")
        limit = data.draw(st.integers(0, 200), "quarters") / 4
        expected = naive_ages(asked, now)
        assert ages.oldest_seconds(asked, now) == max(expected, default=None)
        assert ages.older_than(asked, limit, now) == sum(age > limit for age in expected)


def test_without_indices() -> None:
    """Without any index there is no oldest age, instead of a flattering 0, and none is too old."""
    ages = Ages()
    for empty in (Snapshot(), snapshot(together_at=990.0)):
        assert ages.oldest_seconds(empty, 1000.0) is None
        assert ages.older_than(empty, 5.0, 1000.0) == 0


def test_as_old_as_the_limit_is_not_older() -> None:
    """An entry counts from the moment that it is older than the limit, not when it reaches it."""
    ages = Ages()
    each = snapshot(990.0, 980.0, 970.0)
    assert [ages.older_than(each, limit, 1000.0) for limit in (9.0, 10.0, 19.0, 20.0, 30.0)] == [3, 2, 2, 1, 0]


def test_confirmed_together() -> None:
    """What the cluster confirmed at once makes all entries as young, but none younger or older than that."""
    ages = Ages()
    each = snapshot(998.0, 900.0, 950.0, together_at=995.0)
    assert ages.oldest_seconds(each, 1000.0) == 5.0
    assert (ages.older_than(each, 5.0, 1000.0), ages.older_than(each, 4.0, 1000.0)) == (0, 2)


def test_the_same_indices_in_a_new_snapshot() -> None:
    """A snapshot that replaces another is looked at anew, however much it resembles it; the same one isn't again."""
    ages = Ages()
    before = snapshot(950.0, 960.0)
    assert ages.oldest_seconds(before, 1000.0) == 50.0
    kept = ages._confirmed_at
    assert ages.older_than(before, 45.0, 1000.0) == 1
    assert ages._confirmed_at is kept
    after = changed(before, {"index-0": IndexEntry("u", mapping_hash(A_MAPPING), 990.0, Source.ELASTICSEARCH)}, {})
    assert ages.older_than(after, 45.0, 1000.0) == 0
    assert ages.oldest_seconds(after, 1000.0) == 40.0
    assert ages.oldest_seconds(before, 1000.0) == 50.0
