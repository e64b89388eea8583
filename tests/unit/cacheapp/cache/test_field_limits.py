"""How near families are to the limit of their fields: the fullest are found, and few mappings are taken apart."""

import asyncio
import json

from hypothesis import given
from hypothesis import strategies as st

from cacheapp.cache.field_limits import SHOWN_FAMILIES, FieldLimits, fullest_families
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.mapping.fields import limited_count
from cacheapp.reports import FamilyFields, FieldLimitsReport
from cacheapp.state.merge import merged, pass_statement
from cacheapp.state.published import StoredIndex
from cacheapp.state.readings import Listing, Mappings, Reading
from cacheapp.state.snapshot import Snapshot
from esassistant.long_work import at_once
from tests.support.fakes import FakeClock, FakeReader, cache_config, spawn
from tests.support.states import A_MAPPING, A, state

OWN_FIELDS = 13
"""So many fields of its own the cluster counts beside those of the mapping."""


def mapping(fields: int) -> bytes:
    return json.dumps({"properties": {f"f{number}": {"type": "long"} for number in range(fields)}}).encode()


def reading(indices: dict[str, tuple[int, int]], *, counted: bool = True, listed_at: float = 0.0) -> Reading:
    """Indices with so many fields, of so many that they may have."""
    listing = Listing(
        "cluster",
        {name: f"uuid-{name}" for name in indices},
        {},
        frozenset(),
        {name: fields + OWN_FIELDS for name, (fields, _) in indices.items()} if counted else {},
        field_limits={name: limit for name, (_, limit) in indices.items()},
    )
    return Reading(
        listing, Mappings.from_bodies({name: mapping(fields) for name, (fields, _) in indices.items()}), listed_at
    )


def known(indices: dict[str, tuple[int, int]], *, counted: bool = True) -> Snapshot:
    return at_once(merged(Snapshot(), at_once(pass_statement(reading(indices, counted=counted), ()))))


class Counting:
    """Counts fields, and how often."""

    def __init__(self) -> None:
        self.counted = 0

    def __call__(self, _: str, body: bytes) -> int:
        self.counted += 1
        return limited_count(body)


def test_the_fullest_member_of_each_family() -> None:
    """By its share of its own limit; the fullest family first."""
    snapshot = known({"logs-1": (30, 100), "logs-2": (9, 10), "logs-3": (50, 100), "orders": (95, 100)})
    families = fullest_families(snapshot, Counting())
    assert families is not None
    assert list(families.items()) == [
        ("orders", FamilyFields("orders", 95, 100, 0.95)),
        ("logs*", FamilyFields("logs-2", 9, 10, 0.9)),
    ]


def test_what_is_left_out() -> None:
    """Families with a dot, limits of 0, and mappings that are not in memory; nothing is known without limits."""
    snapshot = known({".system": (9, 10), "none": (5, 0), "gone": (7, 10), "here": (0, 10)})
    evicted = snapshot.without_bodies([snapshot.indices["gone"].mapping_hash])
    assert fullest_families(evicted, Counting()) == {"here": FamilyFields("here", 0, 10, 0.0)}
    assert fullest_families(Snapshot(), Counting()) is None


def test_few_mappings_are_taken_apart() -> None:
    """Of many families with known numbers of fields, hardly more than are shown; without the numbers, all."""
    indices = {f"family{chr(97 + n // 26)}{chr(97 + n % 26)}": (2 * n, 1000) for n in range(200)}
    counting = Counting()
    families = fullest_families(known(indices), counting)
    assert families is not None
    assert [one.fields for one in families.values()] == [2 * n for n in range(199, 179, -1)]
    assert counting.counted < 2 * SHOWN_FAMILIES
    unbounded = Counting()
    assert fullest_families(known(indices, counted=False), unbounded) == families
    assert unbounded.counted == 200


sizes = st.tuples(st.integers(0, 30), st.integers(1, 60))


@given(st.dictionaries(st.text("abcxyz", min_size=1, max_size=3), sizes, max_size=60))
def test_none_that_is_fuller_is_missed(indices: dict[str, tuple[int, int]]) -> None:
    """Whatever the indices, those that are shown are the fullest there are."""
    families = fullest_families(known(indices), Counting()) or {}
    shares = sorted((fields / limit for fields, limit in indices.values()), reverse=True)
    assert [one.share for one in families.values()] == shares[:SHOWN_FAMILIES]


async def test_counting_goes_on() -> None:
    """Nothing is told before a listing; then what it says, and after each change anew, with a pause between;
    nothing after a newer listing of another process, which doesn't tell limits.
    """
    clock = FakeClock()
    filled = MappingCache(FakeReader(), cache_config(), spawn, clock=clock)
    pauses: asyncio.Queue[float] = asyncio.Queue()

    async def sleep(seconds: float) -> None:
        await pauses.put(seconds)

    limits = FieldLimits(filled, sleep=sleep)
    assert limits.report() == FieldLimitsReport(None)
    task = asyncio.create_task(limits.keep_counting())
    try:
        for fields in (3, 4):
            await filled.apply(reading({"a": (fields, 10)}, listed_at=float(fields)), ())
            assert await asyncio.wait_for(pauses.get(), 10) == 5.0
            assert limits.report().families == {"a": FamilyFields("a", fields, 10, fields / 10)}
        await filled.apply_published(state({"a": StoredIndex("uuid-a", A)}, A_MAPPING), clock())
        await asyncio.wait_for(pauses.get(), 10)
        assert limits.report() == FieldLimitsReport(None)
    finally:
        task.cancel()
