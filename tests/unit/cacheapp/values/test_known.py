"""What a process knows of field values, and what of it callers see."""

from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from cacheapp.state.visible import ALL_VISIBLE, Visible
from cacheapp.values.family_values import KEPT_SECONDS, FamilyValues, FieldValues, ValueCount, encoded
from cacheapp.values.known import KnownValues
from cacheapp.values.shared_values import (
    OVERVIEW,
    PARTS,
    Overview,
    name_of,
    part_of,
    pause,
    put,
    read_overview,
    read_parts,
)
from esassistant.shared_values import MAX_VALUE_BYTES
from tests.support.fakes import FakeClock

SNAPSHOT = Snapshot(
    indices={
        name: IndexEntry("u", "h", 0.0, Source.MEMORY) for name in ("logs-1", "logs-2", "shop-1", "shop-2", "alone")
    },
    aliases={"shop": ("shop-1", "shop-2")},
    bodies={"h": b"{}"},
)
STATUS = {"status": FieldValues("keyword", 0, (ValueCount("open", 1),))}


def of(family: str, *indices: str, at_ms: int = 0, fields: dict[str, FieldValues] = STATUS) -> FamilyValues:
    return FamilyValues(family, at_ms, indices, len(indices), 7, True, fields)


def known(*families: FamilyValues) -> KnownValues:
    values = KnownValues(clock=FakeClock())
    values.keep(families, 10_000)
    return values


def seen(values: KnownValues, *names: str, by: Visible = ALL_VISIBLE) -> str | None:
    """The family whose values are shown for these names."""
    found = values.of(names, SNAPSHOT, by)
    return None if found is None else found.family


def test_by_every_name_of_the_family() -> None:
    """By its own name, by those of its indices, by several of them; not by those of several families."""
    values = known(of("shop", "shop-1", "shop-2"), of("logs*", "logs-1", "logs-2"))
    assert {seen(values, name) for name in ("shop", "shop-1", "shop-2")} == {"shop"}
    assert seen(values, "logs-1") == seen(values, "logs-1", "logs-2") == "logs*"
    assert seen(values, "shop", "logs-1") is None
    assert seen(values, "alone") is seen(values, "absent") is seen(values) is None


def test_only_what_the_caller_sees_entirely() -> None:
    """An alias by its name; a series by all of its indices that were looked at."""
    values = known(of("shop", "shop-1", "shop-2"), of("logs*", "logs-1", "logs-2"))
    assert seen(values, "shop-1", by=Visible(("shop-1", "shop-2"))) is None
    assert seen(values, "shop", by=Visible(("shop",))) == "shop"
    assert seen(values, "logs-1", by=Visible(("logs-1",))) is None
    assert seen(values, "logs-1", by=Visible(("logs-*",))) == "logs*"


def test_families_that_are_left_out_have_none() -> None:
    """They are known, so that they aren't asked for again."""
    values = known(FamilyValues("shop", 0, left_out="filtered"))
    assert seen(values, "shop") is None
    assert values.ages() == {"shop": 10.0}
    assert values.counts() == (0, 0, {"filtered": 1, "denied": 0, "gone": 0, "failed": 0})


def test_they_get_old() -> None:
    """The age grows; the newer of two statements stays; in the end they are forgotten."""
    clock = FakeClock()
    values = KnownValues(clock=clock)
    values.keep([of("shop", at_ms=9_000)], 10_000)
    values.keep([of("shop", at_ms=8_000)], 10_000)
    assert values.ages() == {"shop": 1.0}
    clock.advance(KEPT_SECONDS)
    assert seen(values, "shop") is None
    assert values.ages() == {}


def test_they_are_bounded() -> None:
    """Of too many bytes the oldest goes."""
    one = of("shop", at_ms=1_000)
    values = KnownValues(clock=FakeClock(), max_kept_bytes=len(encoded([one])) * 2 + 10)
    values.keep([one, of("alone", at_ms=2_000), of("more", at_ms=3_000)], 10_000)
    assert set(values.ages()) == {"alone", "more"}
    assert values.kept_bytes <= len(encoded([one])) * 2 + 10


def test_what_is_put_in_is_found() -> None:
    """With the time of the store, in the part of its family, whose number grows; the rest stays."""
    replaced, (shared, now_ms) = put({}, 5_000, of("shop"))
    assert (shared.gathered_at_ms, now_ms) == (5_000, 5_000)
    assert set(replaced) == {OVERVIEW, name_of(part_of("shop"))}
    _, (overview, _) = read_overview(replaced, 6_000)
    assert [number for number, version in enumerate(overview.versions) if version] == [part_of("shop")]
    _, (families, _) = read_parts({name_of(part_of("shop")): replaced[name_of(part_of("shop"))]}, 6_000)
    assert list(families) == [shared]


def test_what_is_too_old_or_damaged_is_nothing() -> None:
    """Nor what is of the future; a damaged overview is one that was never written."""
    replaced, _ = put({}, 5_000, of("shop"))
    part = {name_of(part_of("shop")): replaced[name_of(part_of("shop"))]}
    for now_ms in (4_000, 5_001 + int(1000 * KEPT_SECONDS)):
        assert read_parts(part, now_ms)[1][0] == []
    assert read_parts({"x": b"\xff"}, 0)[1][0] == []
    for damaged in (b"\xff", b'{"versions":[1]}', b"[]"):
        assert read_overview({OVERVIEW: damaged}, 0)[1][0] == Overview()


def test_a_part_is_bounded() -> None:
    """A family that is too large loses fields, which is said; of too many the oldest go."""
    large = {f"f{number}": FieldValues("keyword", 0, (ValueCount("x" * 90, 1),) * 20) for number in range(200)}
    replaced, (shared, _) = put({}, 5_000, of("shop", fields=large))
    assert len(shared.fields) + shared.fields_left_out == 200
    assert shared.fields_left_out > 0
    same_part = [name for name in map(str, range(1_000)) if part_of(name) == part_of("shop")][:4]
    there = dict(replaced)
    for number, name in enumerate(same_part):
        more, _ = put(there, 6_000 + number, of(name, fields=large))
        there |= more
    raw = there[name_of(part_of("shop"))]
    assert len(raw) <= MAX_VALUE_BYTES
    families = read_parts({"x": raw}, 7_000)[1][0]
    assert families[-1].family == same_part[-1]
    assert "shop" not in {one.family for one in families}


def test_a_pause_is_shared() -> None:
    """The longer one stands."""
    there, _ = pause({}, 1_000, 60.0)
    assert read_overview(there, 0)[1][0].paused_until_ms == 61_000
    again, _ = pause(there, 2_000, 1.0)
    assert read_overview(again, 0)[1][0] == Overview((0,) * PARTS, 61_000)
