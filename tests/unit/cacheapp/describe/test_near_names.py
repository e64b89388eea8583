"""Which names were probably meant by one that isn't there: of what the caller sees, and of nothing else."""

import time

import pytest

from cacheapp.describe.near_names import near_names, with_near_names
from cacheapp.errors import MappingNotFound, no_such_name
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from cacheapp.state.visible import ALL_VISIBLE, Visible


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("order", "orders"),
        ("odrers", "orders"),
        ("web-logs", "logs-web"),
        ("logs-*", "logs-web"),
        ("zebra", None),
    ],
)
def test_near_names(wanted: str, expected: str | None) -> None:
    """Alike in spelling, or with the same words."""
    found = near_names(wanted, ["orders", "orders-eu", "logs-web", "people"])
    assert next(iter(found), None) == expected


def test_a_list_of_thousands_of_words() -> None:
    """Only some words are looked for: the list comes from a caller, and there may be thousands of names."""
    wanted = ",".join(f"w{number}o" for number in range(2_000))
    started_at = time.thread_time()
    assert near_names(wanted, [f"logs-{number}" for number in range(5_000)]) == ()
    assert time.thread_time() - started_at < 0.5


INDICES = ("orders", "orders-eu", "secret-orders", "logs-1", "logs-2")
THERE = Snapshot(
    indices={name: IndexEntry(None, "a", 0.0, Source.MEMORY) for name in INDICES}, aliases={"order-all": ("orders",)}
)


async def suggested(error: MappingNotFound, visible: Visible) -> object:
    return (await with_near_names(error, THERE, visible)).members.get("did_you_mean")


async def test_only_visible_names() -> None:
    """At most three names, of those that exist for the caller; none where nothing is like it. The error itself, which
    others may get too, stays as it is.
    """
    error = no_such_name("ordrs")
    everything = await suggested(error, ALL_VISIBLE)
    assert isinstance(everything, list)
    assert everything[0] == "orders"
    assert len(everything) <= 3
    assert await suggested(error, Visible(("secret-*",))) in (["secret-orders"], None)
    assert await suggested(no_such_name("order"), Visible(("secret-*",))) == ["secret-orders"]
    assert await suggested(no_such_name("order"), Visible(("logs-*",))) is None
    assert await suggested(MappingNotFound("No name."), ALL_VISIBLE) is None
    assert not error.members


async def test_what_is_hidden_changes_nothing() -> None:
    """For who doesn't see it, a name that is there is answered as one that isn't."""
    seen = Visible(("logs-*",))
    for name in ("orders", "secret-orders", "ordrs"):
        assert await suggested(no_such_name(name), seen) is None
