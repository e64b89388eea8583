"""Use counts: bounded, decaying, shared, and within a caller's scope."""

import msgspec
import pytest

from cacheapp.state.clusters import ClusterId
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from cacheapp.state.visible import ALL_VISIBLE, Visible
from cacheapp.values.use_counts import UseCounts
from cacheapp.values.uses import (
    HALF_LIFE_SECONDS,
    MAX_ADDED,
    MAX_FAMILIES,
    MAX_FIELDS,
    MAX_NAME_CHARACTERS,
    MAX_USES,
    SHARED,
    FamilyUses,
    PendingUses,
    added,
    shares_of,
)
from esassistant.shared_values import MAX_VALUE_BYTES, MemoryValues
from tests.support.fakes import FakeClock

HERE = ClusterId("one", "")
SNAPSHOT = Snapshot(
    indices={name: IndexEntry("u", "h", 0.0, Source.MEMORY) for name in ("shop-1", "shop-2", "logs-1", "logs-2")},
    aliases={"shop": ("shop-1", "shop-2")},
)


def numbers(there: dict[str, bytes], now_ms: int = 0, **counts: dict[str, int]) -> dict[str, float]:
    """What is shared of the family `shop` after these counts were added."""
    replaced, after = added(there, now_ms, HERE, counts)
    there.update(replaced)
    return dict(after.families["shop"].fields) if "shop" in after.families else {}


def test_they_add_up_and_decay() -> None:
    """By half in a week; what is next to nothing is forgotten."""
    there: dict[str, bytes] = {}
    assert numbers(there, shop={"status": 4}) == {"status": 4}
    assert numbers(there, shop={"status": 2, "total": 1}) == {"status": 6, "total": 1}
    week_ms = int(1000 * HALF_LIFE_SECONDS)
    assert numbers(there, week_ms) == {"status": 3, "total": 0.5}
    assert numbers(there, 20 * week_ms) == {}


def test_nobody_outweighs_all_others() -> None:
    """Of one exchange a field gains so much at most, and has so much in all; a share is at most 1."""
    there: dict[str, bytes] = {}
    assert numbers(there, shop={"status": 1_000_000}) == {"status": MAX_ADDED}
    for _ in range(200):
        found = numbers(there, shop={"status": 1_000_000})
    assert found == {"status": MAX_USES}
    assert shares_of(FamilyUses(0, {"status": MAX_USES, "total": 0.0})) == {"status": 1.0, "total": 0.0}
    assert shares_of(None) == {}


def test_they_are_bounded() -> None:
    """In fields, names, families and bytes; the most used stay."""
    many = {f"f{number}": 1 for number in range(MAX_FIELDS)} | {"status": 5, "x" * (MAX_NAME_CHARACTERS + 1): 9}
    found = numbers({}, shop=many)
    assert len(found) == MAX_FIELDS
    assert found["status"] == 5
    families = {f"{number}": {"f": 1} for number in range(2 * MAX_FAMILIES)}
    _, after = added({}, 0, HERE, {**families, "shop": {"f": 9}})
    assert len(after.families) == MAX_FAMILIES
    assert "shop" in after.families
    long = {"x" * 150 + str(number): 1 for number in range(MAX_FIELDS)}
    replaced, _ = added({}, 0, HERE, {f"{number}": long for number in range(MAX_FAMILIES)})
    assert len(replaced[SHARED]) <= MAX_VALUE_BYTES


def test_what_isn_t_ours_is_nothing() -> None:
    """Damaged, of another cluster, or with numbers that nobody writes."""
    other, _ = added({}, 0, ClusterId("two", ""), {"shop": {"status": 4}})
    hostile = msgspec.json.encode({"cluster": HERE, "families": {"shop": {"at_ms": 0, "fields": {"status": 1e9}}}})
    for there in (other, {SHARED: b"\xff"}, {SHARED: b"{}"}, {SHARED: hostile}):
        assert numbers(dict(there)) == {}


def test_counting_is_bounded() -> None:
    """Of too many different searches the later ones aren't counted, and that is."""
    pending = PendingUses(max_kept=2)
    for name in ("a", "b", "a", "c"):
        pending.note(name, ("f",))
    assert (pending.counted_total, pending.uncounted_total) == (3, 1)
    assert pending.take() == {("a", ("f",)): 2, ("b", ("f",)): 1}
    assert pending.take() == {}


@pytest.fixture
def processes() -> tuple[UseCounts, UseCounts]:
    """Two processes that share a store."""
    clock = FakeClock()
    values = MemoryValues(clock)
    one, other = (UseCounts(values, lambda: SNAPSHOT, lambda: HERE) for _ in range(2))
    return one, other


async def test_all_processes_rank_alike(processes: tuple[UseCounts, UseCounts]) -> None:
    """What one has counted counts for all, whichever name of the family was searched."""
    one, other = processes
    for name in ("shop", "shop-1", "shop-1", "absent"):
        one.note(name, ("status", "total"))
    one.note("logs-1", ("level",))
    await one.exchange()
    await other.exchange()
    assert one.of(("shop-2",), SNAPSHOT, ALL_VISIBLE) == other.of(("shop",), SNAPSHOT, ALL_VISIBLE)
    assert other.most_used("shop") == ["status", "total"]
    assert (one.report().families, one.report().fields, one.report().counted_total) == (2, 3, 5)
    assert other.of((), SNAPSHOT, ALL_VISIBLE) == other.of(("shop", "logs-1"), SNAPSHOT, ALL_VISIBLE) == {}


async def test_others_searches_are_nobodys_business(processes: tuple[UseCounts, UseCounts]) -> None:
    """Who doesn't see the whole family isn't told what others ask of it."""
    one, _ = processes
    one.note("shop", ("status",))
    one.note("logs-1", ("level",))
    await one.exchange()
    assert one.of(("shop-1",), SNAPSHOT, Visible(("shop-*",))) == {}
    assert one.of(("shop",), SNAPSHOT, Visible(("shop",))) != {}
    assert one.of(("logs-1",), SNAPSHOT, Visible(("logs-1",))) == {}
    assert one.of(("logs-1",), SNAPSHOT, Visible(("logs-*",))) != {}
