"""The fields of the whole cluster: true, within the caller's scope, and made once per distinct mapping."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from cacheapp.cache.cluster_fields import ClusterFieldPage, ClusterFields, TypeTotal
from cacheapp.cache.derived import MappingViews
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.errors import MappingNotFound, NotWarm
from cacheapp.state.field_pages import FieldFilter
from cacheapp.state.visible import ALL_VISIBLE, Visible
from tests.support.fakes import FakeClock, FakeReader, cache_config, spawn
from tests.support.states import reading


def mapping(**types: str) -> bytes:
    return json.dumps({"properties": {name: {"type": kind} for name, kind in types.items()}}).encode()


WEB, OLD_WEB, ORDERS = mapping(status="keyword", url="text"), mapping(status="long"), mapping(status="keyword")
INDICES = {
    **{f"web-{number}": WEB for number in range(3)},
    "web-old": OLD_WEB,
    "orders": ORDERS,
    ".hidden": mapping(inner="ip"),
}


@dataclass
class Made:
    """Fields of a cluster in memory."""

    reader: FakeReader
    clock: FakeClock
    cache: MappingCache
    views: MappingViews
    fields: ClusterFields

    async def read_all(self) -> None:
        """What a full pass does."""
        await self.cache.apply(reading(self.clock(), self.reader.indices, self.reader.cluster_aliases), ())

    async def page(
        self,
        wanted: FieldFilter = FieldFilter(),  # noqa: B008  (frozen)
        pattern: str | None = None,
        visible: Visible = ALL_VISIBLE,
        limit: int = 100,
        cursor: str | None = None,
    ) -> ClusterFieldPage:
        return await self.fields.page(wanted, pattern=pattern, visible=visible, limit=limit, cursor=cursor)


def over(indices: Mapping[str, bytes]) -> Made:
    reader, clock = FakeReader(dict(indices)), FakeClock()
    cache = MappingCache(reader, cache_config(max_bytes=10_000_000), spawn, clock=clock)
    views = MappingViews(cache, spawn, clock=clock)
    return Made(reader, clock, cache, views, ClusterFields(cache, views))


@pytest.fixture
async def made() -> Made:
    found = over(INDICES)
    found.reader.cluster_aliases["web"] = ("web-0", "web-1", "web-2")
    await found.read_all()
    return found


async def test_a_row_for_each_path(made: Made) -> None:
    """Each path has its types, and how many indices have it, of which families; where they disagree, how many each."""
    page = await made.page()
    assert (page.total, page.next_cursor, page.unread_indices_total) == (2, None, 0)
    status, url = page.fields
    assert (status.name, status.types, status.indices_total) == ("status", ("keyword", "long"), 5)
    assert (status.families, status.families_total) == (("orders", "web", "web-old"), 3)
    assert status.conflict == (TypeTotal("keyword", 4), TypeTotal("long", 1))
    assert (url.types, url.indices_total, url.families, url.conflict) == (("text",), 3, ("web",), ())


async def test_filters_and_pages(made: Made) -> None:
    """A search, a type and pages narrow the rows; the total stays that of all pages."""
    assert [row.name for row in (await made.page(FieldFilter("ur"))).fields] == ["url"]
    assert [row.name for row in (await made.page(FieldFilter(type="long"))).fields] == ["status"]
    first = await made.page(limit=1)
    second = await made.page(limit=1, cursor=first.next_cursor)
    assert [row.name for row in (*first.fields, *second.fields)] == ["status", "url"]
    assert (first.total, second.total, second.next_cursor) == (2, 2, None)


async def test_fields_of_paths(made: Made) -> None:
    """In the order of the paths, of a pattern, of a type; with a type multi-fields of the paths, too."""
    title = b'{"properties":{"title":{"type":"text","fields":{"raw":{"type":"keyword"}}}}}'
    made.reader.indices["books"] = title
    await made.read_all()

    async def names(*paths: str, pattern: str | None = None, type_: str = "") -> list[str]:
        rows = await made.fields.of_paths(paths, pattern=pattern, visible=ALL_VISIBLE, type_=type_)
        return [row.name for row in rows]

    assert await names("url", "nothing", "status", "title") == ["url", "status", "title"]
    assert await names("url", "status", pattern="orders") == ["status"]
    assert await names("title", "status", "url", type_="keyword") == ["title.raw", "status"]
    assert await names("title", type_="text") == ["title"]


async def test_patterns(made: Made) -> None:
    """A pattern counts the indices that it gives alone; a hidden one needs a dot, and one that gives nothing is 404."""
    [status] = (await made.page(pattern="web-o*,orders")).fields
    assert (status.indices_total, status.families) == (2, ("orders", "web-old"))
    assert [row.name for row in (await made.page(pattern=".*")).fields] == ["inner"]
    for pattern in ("nothing*", "nothing", "orders,nothing"):
        with pytest.raises(MappingNotFound):
            await made.page(pattern=pattern)


async def test_scopes(made: Made) -> None:
    """Who sees some names is told of these alone: fields, types, counts and families."""
    [status] = (await made.page(visible=Visible(("orders", "web-o*")))).fields
    assert (status.types, status.indices_total, status.families) == (("keyword", "long"), 2, ("orders", "web-old"))
    by_alias = await made.page(visible=Visible(("web",)))
    assert [(row.name, row.indices_total, row.families) for row in by_alias.fields] == [
        ("status", 3, ("web",)),
        ("url", 3, ("web",)),
    ]
    assert (await made.page(visible=Visible(("nothing",)))).total == 0
    with pytest.raises(MappingNotFound):
        await made.page(pattern="orders", visible=Visible(("web",)))


async def test_each_distinct_mapping_once() -> None:
    """Ten thousand indices with fifty distinct mappings take fifty derivations, and asking again takes none; a
    rollover with a known mapping takes none either.
    """
    known = [mapping(**{f"field_{number}": "keyword", "same": "date"}) for number in range(50)]
    made = over({f"logs-{number:05}": known[number % 50] for number in range(10_000)})
    await made.read_all()
    page = await made.page(FieldFilter("same"))
    assert [(row.indices_total, row.families) for row in page.fields] == [(10_000, ("logs*",))]
    assert made.views.report().derived_total == 50
    made.reader.indices["logs-10000"] = known[7]
    await made.read_all()
    assert (await made.page(FieldFilter("same"))).fields[0].indices_total == 10_001
    assert await made.fields.hashes_with("field_7") == {made.cache.snapshot.indices["logs-10000"].mapping_hash}
    assert made.views.report().derived_total == 50


async def test_rows_are_kept_while_names_are_the_same(made: Made) -> None:
    """Another snapshot of which only the ages are others has the same rows; a change makes others."""
    before = (await made.page()).fields[0]
    made.clock.advance(1)
    made.cache.confirm_all(made.clock())
    assert (await made.page()).fields[0] is before
    made.reader.indices["new"] = ORDERS
    await made.read_all()
    assert (await made.page()).fields[0].indices_total == before.indices_total + 1


async def test_sets_without_rows_are_bounded_too() -> None:
    """Each list or pattern has a set of rows, and callers choose how many there are. After a change none are left."""
    made = over({"empty": b"{}"})
    await made.read_all()
    fields = ClusterFields(made.cache, made.views, max_kept_bytes=50_000)
    for number in range(1, 200):
        await fields.page(FieldFilter(), pattern="empty," * number + "e*", visible=ALL_VISIBLE, limit=1, cursor=None)
    assert len(fields._kept) <= 50
    made.reader.indices["new"] = ORDERS
    await made.read_all()
    await fields.page(FieldFilter(), pattern=None, visible=ALL_VISIBLE, limit=1, cursor=None)
    assert len(fields._kept) == 1


async def test_names_with_a_field(made: Made) -> None:
    """Which mappings have a field is told by its whole path."""
    hashes = {name: entry.mapping_hash for name, entry in made.cache.snapshot.indices.items()}
    assert await made.fields.hashes_with("url") == {hashes["web-0"]}
    assert await made.fields.hashes_with("status") == {hashes["web-0"], hashes["web-old"], hashes["orders"]}
    assert await made.fields.hashes_with("ur") == frozenset()


async def test_nothing_known() -> None:
    """Before the first pass there is no answer; of an empty cluster it is empty."""
    made = over({})
    with pytest.raises(NotWarm):
        await made.page()
    await made.read_all()
    assert (await made.page()).total == 0


async def test_mappings_that_are_not_in_memory() -> None:
    """It is said of how many indices the fields are missing, as their mappings were evicted."""
    reader, clock = FakeReader({"a": mapping(a="ip"), "b": mapping(b="ip")}), FakeClock()
    cache = MappingCache(reader, cache_config(max_bytes=60), spawn, clock=clock)
    await cache.apply(reading(clock(), reader.indices), ())
    fields = ClusterFields(cache, MappingViews(cache, spawn, clock=clock))
    page = await fields.page(FieldFilter(), pattern=None, visible=ALL_VISIBLE, limit=10, cursor=None)
    assert (page.total, page.unread_indices_total) == (1, 1)


async def test_closed_members_are_marked(made: Made) -> None:
    """Closed indices whose fields are counted are named; those that a pattern leaves out are counted."""
    made.cache.snapshot = replace(made.cache.snapshot, closed=frozenset({"web-2", "orders"}))
    by_name = await made.page(pattern="web,orders")
    assert (by_name.closed_indices, by_name.closed_indices_total) == (("orders", "web-2"), 2)
    assert by_name.left_out_closed_total == 0
    by_pattern = await made.page(pattern="web*,or*")
    assert (by_pattern.closed_indices, by_pattern.left_out_closed_total) == ((), 2)
    assert (await made.page(pattern="web*,or*", visible=Visible(("web*",)))).left_out_closed_total == 1
