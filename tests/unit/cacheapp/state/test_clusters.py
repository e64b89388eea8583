"""Which cluster something is about, and who uses it."""

import msgspec
import pytest

from cacheapp.state.clusters import ClusterId, users_of


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        pytest.param(ClusterId("x", "a"), ClusterId("x", "a"), True, id="the same"),
        pytest.param(ClusterId("x", "a"), ClusterId("x", "b"), True, id="by another of its nodes"),
        pytest.param(ClusterId("x", "a"), ClusterId("y", "a"), False, id="another at the same URL"),
        pytest.param(ClusterId("", "a"), ClusterId("y", "a"), True, id="one uuid isn't known, the same URL"),
        pytest.param(ClusterId("x", "a"), ClusterId("", "b"), False, id="one uuid isn't known, another URL"),
        pytest.param(ClusterId("", "a"), ClusterId("", "a"), True, id="no uuid is known"),
    ],
)
def test_the_same_cluster(one: ClusterId, other: ClusterId, is_same: bool) -> None:
    """The uuid decides; where one isn't known, the URLs."""
    assert (one.is_same_as(other), other.is_same_as(one)) == (is_same, is_same)


def report(**told: object) -> bytes:
    return msgspec.json.encode({"server": "host:1", **told})


def test_who_uses_a_cluster() -> None:
    """Those that say so, and those that don't say which: instances of version 1.0, and reports that can't be read."""
    theirs = ClusterId("x", "a")
    ours = report(cluster=ClusterId("y", "b"))
    assert users_of(theirs, []) == 0
    assert users_of(theirs, [ours, ours]) == 0
    assert users_of(theirs, [ours, report(cluster=ClusterId("x", "c"))]) == 1
    assert users_of(theirs, [report(), b"{", report(cluster="x")]) == 3
