"""What is derived from mappings: made once per distinct mapping, kept by bytes, and never out of date."""

import asyncio
import gc
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from cacheapp.cache.derivations import MAX_KEPT_BYTES, Text, View
from cacheapp.cache.derived import FIELD_LIST, FIELDS, MANY_FIELDS, SCHEMA_TEXT, MappingViews
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.cache.refresh_ahead import Room, Shelf
from cacheapp.errors import MappingNotFound
from cacheapp.mapping.fields import MAX_QUERY_CHARACTERS, Field, fields, size_of
from cacheapp.mapping.schema import json_schema
from cacheapp.mapping.tree import Indices
from cacheapp.state.answer import LARGE_OUTLINE_INDICES, MappingAnswer
from cacheapp.state.field_pages import FieldFilter
from esassistant.errors import BadRequest
from tests.support.fakes import A_MAPPING, B_MAPPING, C_MAPPING, FakeClock, FakeReader, cache_config, spawn
from tests.support.states import reading

AB_MAPPING = b'{"properties":{"a":{"type":"keyword"},"bee":{"type":"long"}}}'


@dataclass
class Made:
    """Views over a cluster in memory."""

    reader: FakeReader
    clock: FakeClock
    views: MappingViews
    cache: MappingCache

    @property
    def counts(self) -> tuple[int, int, int]:
        """How often something was derived, merged, written."""
        report = self.views.report()
        return report.derived_total, report.merged_total, report.written_total

    async def read_all(self) -> None:
        """What a full pass does."""
        await self.cache.apply(reading(self.clock(), self.reader.indices), ())


@pytest.fixture
async def made() -> Made:
    reader, clock = FakeReader({"a": A_MAPPING, "b": B_MAPPING}), FakeClock()
    reader.cluster_aliases["both"] = ("a", "b")
    cache = MappingCache(reader, cache_config(max_bytes=10_000_000), spawn, clock=clock)
    return Made(reader, clock, MappingViews(cache, spawn, clock=clock), cache)


async def listed(made: Made, name: str) -> tuple[MappingAnswer, Any]:
    answer, content = await made.views.text(FIELD_LIST, name)
    return answer, json.loads(content.body)


async def test_a_text_is_kept(made: Made) -> None:
    """The second time it comes from memory, with the same ETag, which isn't that of the mapping itself."""
    (answer, first), (_, second) = [await made.views.text(SCHEMA_TEXT, "a") for _ in range(2)]
    assert made.counts == (1, 1, 1)
    assert first is second
    assert first.etag != answer.etag
    assert "a" in json.loads(first.body)["properties"]


async def test_a_thousand_names_of_nine_mappings(made: Made) -> None:
    """Nine derivations in the first round, none in the second, and the same bytes for names of one mapping; a rollover
    derives nothing, an index with a new mapping one.
    """
    bodies = [b'{"properties":{"f%d":{"type":"long"}}}' % number for number in range(9)]
    names = [f"i{number:03}" for number in range(1000)]
    made.reader.indices = {name: bodies[number % 9] for number, name in enumerate(names)}
    made.reader.cluster_aliases = {"rolled": tuple(names[::9])}
    await made.read_all()
    rounds = []
    for _ in range(2):
        contents = {id((await made.views.text(FIELD_LIST, name))[1]) for name in names}
        rounds.append((len(contents), made.counts))
    assert rounds == [(9, (9, 9, 9))] * 2
    assert (await listed(made, "rolled"))[1]["fields"][0]["indices_total"] == 112
    made.reader.indices["next"] = bodies[0]
    made.reader.cluster_aliases["rolled"] = (*names[::9], "next")
    await made.cache.reread("rolled")
    assert (await listed(made, "rolled"))[1]["fields"][0]["indices_total"] == 113
    await made.views.text(FIELD_LIST, "next")
    assert made.counts[0] == 9
    made.reader.indices["new"] = AB_MAPPING
    await made.views.text(FIELD_LIST, "new")
    assert made.counts[0] == 10


@pytest.mark.parametrize("count", [64, 65, 320])
async def test_names_are_not_counted(made: Made, count: int) -> None:
    """What is kept is bounded by bytes: of many names nothing is made twice, schemas with their own titles included."""
    made.reader.indices = {f"i{number}": A_MAPPING for number in range(count)}
    await made.read_all()
    for _ in range(2):
        for name in made.reader.indices:
            content = (await made.views.text(SCHEMA_TEXT, name))[1]
            assert json.loads(content.body)["title"] == name
    assert made.counts == (1, 1, count)


async def test_schemas_of_a_rollover(made: Made) -> None:
    """Another index with a known mapping is in the schema of its alias, for which nothing was merged anew."""
    await made.views.text(SCHEMA_TEXT, "both")
    made.reader.indices["c"] = B_MAPPING
    made.reader.cluster_aliases["both"] = ("a", "b", "c")
    await made.cache.reread("both")
    content = (await made.views.text(SCHEMA_TEXT, "both"))[1]
    assert json.loads(content.body)["x-elasticsearch"]["indices"] == {"indices_total": 3, "indices": ["a", "b", "c"]}
    assert made.counts == (2, 1, 2)


async def test_other_ages_empty_nothing(made: Made) -> None:
    """After everything was confirmed or read anew, but is the same, all is ready still, with its new age."""
    await made.views.text(SCHEMA_TEXT, "both")
    made.clock.advance(5.0)
    ages = []
    for confirmed_at in (None, made.clock.now - 1):
        if confirmed_at is not None:
            made.cache.confirm_all(confirmed_at)
        found = made.views.ready(SCHEMA_TEXT, "both")
        assert found is not None
        ages.append(found[0].age_seconds)
    await made.cache.reread("both")
    found = made.views.ready(SCHEMA_TEXT, "both")
    assert found is not None
    assert [*ages, found[0].age_seconds] == [5.0, 1.0, 0.0]
    assert made.counts == (2, 1, 1)


async def test_a_changed_mapping_is_another_view(made: Made) -> None:
    """When the mapping changes nothing is ready, and what comes next is made of the new one, with another ETag."""
    before = [(await made.views.text(text, "a"))[1] for text in (SCHEMA_TEXT, FIELD_LIST)]
    made.reader.indices["a"] = AB_MAPPING
    await made.cache.reread("a")
    assert made.views.ready(FIELD_LIST, "a") is None
    after = [(await made.views.text(text, "a"))[1] for text in (SCHEMA_TEXT, FIELD_LIST)]
    assert not {content.etag for content in before} & {content.etag for content in after}
    assert json.loads(after[1].body)["total"] == 2
    assert [field.name for field in (await made.views.get(FIELDS, "a"))[1]] == ["a", "bee"]


async def test_what_is_ready_counts_as_a_hit(made: Made) -> None:
    """As if it had been asked of the cache; what isn't ready counts nothing."""
    assert made.views.ready(FIELD_LIST, "a") is None
    await made.views.text(FIELD_LIST, "a")
    before = made.cache.report().answers.hits_total
    assert made.views.ready(FIELD_LIST, "a") is not None
    assert made.views.ready(SCHEMA_TEXT, "a") is None
    assert made.cache.report().answers.hits_total == before + 1
    made.clock.advance(1000.0)
    assert made.views.ready(FIELD_LIST, "a") is None


async def test_the_loop_goes_on(made: Made) -> None:
    """Views are made in one thread at a time, which isn't the loop's, and no garbage is collected meanwhile."""
    threads: set[int] = set()
    at_once: list[int] = []
    collecting: list[bool] = []

    def derive(body: bytes) -> bytes:
        threads.add(threading.get_ident())
        at_once.append(1)
        collecting.append(gc.isenabled())
        at_once.pop()
        assert not at_once
        return body

    view: View[bytes, bytes] = View("watched", derive, lambda parts, _: b"".join(parts), len, len)
    await asyncio.gather(*(made.views.get(view, name) for name in ("a", "b", "both")))
    assert threads
    assert threading.get_ident() not in threads
    assert collecting == [False, False]
    assert gc.isenabled()


async def test_garbage_that_nobody_collects(made: Made) -> None:
    """Where collections are off, they stay off."""
    gc.disable()
    try:
        await made.views.text(FIELD_LIST, "a")
        assert not gc.isenabled()
    finally:
        gc.enable()


async def test_all_who_wait_share_one_computation(made: Made) -> None:
    """Twenty who ask at once get what was made once, though the one who asked first left."""
    await made.cache.get("a")
    leader = asyncio.create_task(made.views.text(SCHEMA_TEXT, "a"))
    await asyncio.sleep(0)
    waiters = [asyncio.create_task(made.views.text(SCHEMA_TEXT, "a")) for _ in range(20)]
    await asyncio.sleep(0)
    leader.cancel()
    answers = await asyncio.gather(*waiters)
    assert made.counts == (1, 1, 1)
    assert len({id(content) for _, content in answers}) == 1


async def test_searches_share_the_list(made: Made) -> None:
    """Different searches take the mapping apart once, however many fields it has; each result has its own ETag."""
    many = {f"field_{number}": {"type": "long"} for number in range(MANY_FIELDS + 1)}
    made.reader.indices = {"a": AB_MAPPING, "many": json.dumps({"properties": many}).encode()}
    for name, query in (("a", "bee"), ("many", "field_7")):
        found = await made.views.find_fields(name, FieldFilter(query), limit=None, cursor=None)
        listed_fields = (await made.views.get(FIELDS, name))[1]
        assert json.loads(found.body)["total"] == sum(query in field.name for field in listed_fields)
        nothing = await made.views.find_fields(name, FieldFilter("nothing"), limit=None, cursor=None)
        assert found.etag != nothing.etag
    assert made.counts == (2, 2, 0)


async def test_an_alias_and_an_unknown_name(made: Made) -> None:
    """An alias has a view of all its indices; a name that doesn't exist has none, and nothing is computed."""
    answer, both = await listed(made, "both")
    assert (both["total"], answer.indices) == (2, ("a", "b"))
    before = made.counts
    with pytest.raises(MappingNotFound):
        await made.views.text(SCHEMA_TEXT, "nowhere")
    assert made.counts == before


async def test_texts_are_what_the_lists_and_schemas_are(made: Made) -> None:
    """What is merged of parts is what is made of all mappings at once, conflicts and the names of indices included."""
    made.reader.indices |= {"c": C_MAPPING, "d": b'{"properties":{"a":{"type":"long"},"o":{"properties":{"x":{}}}}}'}
    made.reader.cluster_aliases["all"] = ("d", "c", "b", "a")
    mappings = {index: made.reader.indices[index] for index in "abcd"}
    schema = (await made.views.text(SCHEMA_TEXT, "all"))[1]
    assert list(json.loads(schema.body).items()) == list(json_schema("all", mappings).items())
    assert (await made.views.get(FIELDS, "all"))[1] == fields(mappings)
    _, fields_answer = await listed(made, "all")
    assert [field["name"] for field in fields_answer["fields"]] == [field.name for field in fields(mappings)]
    assert fields_answer["fields"][0]["conflict"] == [
        {"type": "keyword", "indices_total": 1, "indices": ["a"]},
        {"type": "long", "indices_total": 1, "indices": ["d"]},
    ]


async def test_a_failed_computation_is_not_kept(made: Made) -> None:
    """A view that could not be made is tried again, once its failure is no longer remembered."""
    failing = [True]

    def derive(body: bytes) -> int:
        if failing:
            raise RuntimeError("unforeseen")
        return len(body)

    def merge(parts: Sequence[int], _: Sequence[Indices]) -> int:
        return sum(parts)

    view: View[int, int] = View("failing", derive, merge, lambda _: 1, lambda _: 1)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await made.views.get(view, "a")
    failing.clear()
    made.views._derivations._flights._failures.clear()
    assert (await made.views.get(view, "a"))[1] == len(A_MAPPING)


async def test_kept_within_bytes(made: Made) -> None:
    """All views together take as many bytes as they may; what doesn't fit any more is made anew."""
    assert MAX_KEPT_BYTES == 32 * 2**20
    made.reader.indices = {f"i{number}": b'{"properties":{"f%d":{"type":"long"}}}' % number for number in range(50)}
    views = MappingViews(made.cache, spawn, clock=made.clock, max_bytes=20_000)
    for name in made.reader.indices:
        await views.text(FIELD_LIST, name)
        assert views.report().kept_bytes <= 20_000
    assert views.report().dropped_total > 50
    assert views.ready(FIELD_LIST, "i49") is not None
    assert views.ready(FIELD_LIST, "i0") is None


def test_estimated_sizes() -> None:
    """A list of fields takes about what is counted for it."""
    import tracemalloc

    body = json.dumps({"properties": {f"object_{n}": {"properties": {"x": {"type": "long"}}} for n in range(500)}})
    FIELDS.derive(body.encode())
    tracemalloc.start()
    made_fields: tuple[Field, ...] = FIELDS.derive(body.encode())
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(made_fields) == 1000
    assert 0.7 * taken <= size_of(made_fields) <= 2 * taken


async def test_a_search_is_bounded(made: Made) -> None:
    """More than a person types is refused: each word is looked for in each field."""
    longest = FieldFilter("x" * MAX_QUERY_CHARACTERS)
    assert b'"total":0' in (await made.views.find_fields("a", longest, limit=None, cursor=None)).body
    with pytest.raises(BadRequest, match="at most 200 characters"):
        await made.views.find_fields("a", FieldFilter(longest.q + "x"), limit=None, cursor=None)


async def test_each_mapping_once(made: Made) -> None:
    """Grouped, an alias has each distinct mapping once, with all indices that have it; the ETag is another one."""
    made.reader.indices |= {f"b{number}": B_MAPPING for number in range(20)}
    made.reader.cluster_aliases["all"] = tuple(sorted(made.reader.indices))
    plain, found = await made.views.mapping("all"), await made.views.grouped("all")
    groups = json.loads(found.body)["groups"]
    assert [group["indices"][:2] for group in groups] == [["a"], ["b", "b0"]]
    assert {index: {"mappings": group["mappings"]} for group in groups for index in group["indices"]} == json.loads(
        plain.body
    )
    hashes = {one.mapping_hash for one in made.cache.snapshot.indices.values()}
    assert {group["mapping_hash"] for group in groups} == hashes
    assert found.etag not in (plain.etag, (await made.views.grouped("a")).etag)


async def test_made_anew_before_it_is_asked_for(made: Made) -> None:
    """What was asked for is ready after a change, once it was rebuilt; that asks neither the cluster nor counts as
    asked for.
    """
    await made.views.text(FIELD_LIST, "both")
    await made.views.get(FIELDS, "a")
    await made.views.mapping("b")
    asked_for = set(made.views.asked_for.lately())
    assert asked_for == {(FIELD_LIST, "both"), (FIELDS, "a"), (None, "b")}
    made.reader.indices["a"] = AB_MAPPING
    await made.cache.reread("both")
    asked, hits = list(made.reader.asked), made.cache.report().answers
    room = Room()
    for kind, name in made.views.asked_for.lately():
        await made.views.rebuild(kind, name, room)
    derived = made.counts
    assert made.views.ready(FIELD_LIST, "both") is not None
    await made.views.get(FIELDS, "a")
    assert made.counts == derived
    assert (made.reader.asked, set(made.views.asked_for.lately())) == (asked, asked_for)
    assert made.cache.report().answers.hits_total == hits.hits_total + 2


async def test_what_is_not_rebuilt(made: Made) -> None:
    """Neither what isn't in memory, nor what there is no room for."""
    await made.views.text(FIELD_LIST, "a")
    before = made.counts
    await made.views.rebuild(FIELD_LIST, "nowhere", Room())
    made.reader.indices["a"] = AB_MAPPING
    await made.cache.reread("a")
    await made.views.rebuild(FIELD_LIST, "a", Room(0, 0))
    assert made.counts == before
    room = Room(1, 1)
    await made.views.rebuild(FIELD_LIST, "a", room)
    assert (made.views.ready(FIELD_LIST, "a") is not None, room.has(Shelf.TEXTS), room.is_full) == (True, False, False)
    await made.views.rebuild(None, "a", room)
    assert room.is_full


async def test_a_text_without_a_title_is_shared() -> None:
    """By all names that stand for the same mappings, whatever the indices are called."""
    reader = FakeReader({"a": A_MAPPING, "b": A_MAPPING})
    cache = MappingCache(reader, cache_config(), spawn)
    views = MappingViews(cache, spawn)
    own: Text[tuple[Field, ...]] = Text("count", FIELDS, lambda _, found, __: b"%d" % len(found), "text/plain")
    assert (await views.text(own, "a"))[1] is (await views.text(own, "b"))[1]


async def test_who_hears_of_a_change(made: Made) -> None:
    """Whoever wants to is told when something may have changed, and not when all ages are renewed at once."""
    heard: list[int] = []
    await made.read_all()
    made.cache.on_change(lambda: heard.append(len(made.cache.snapshot.indices)))
    made.cache.confirm_all(made.clock.now)
    made.cache.note_cluster("cluster")
    assert heard == []
    made.reader.indices["c"] = C_MAPPING
    await made.cache.reread("c")
    assert heard == [3]


async def test_many_indices_are_outlined_elsewhere(made: Made) -> None:
    """An alias of thousands of indices isn't ready before its outline was made in a thread; then it is."""
    made.reader.indices = {f"i{number:04}": A_MAPPING for number in range(LARGE_OUTLINE_INDICES + 1)}
    made.reader.cluster_aliases = {"all": tuple(made.reader.indices)}
    await made.cache.apply(reading(made.clock(), made.reader.indices, made.reader.cluster_aliases), ())
    assert made.views.ready(FIELD_LIST, "all") is None
    answer, content = await made.views.text(FIELD_LIST, "all")
    assert (answer.body, json.loads(content.body)["fields"][0]["indices_total"]) == (b"", LARGE_OUTLINE_INDICES + 1)
    found = made.views.ready(FIELD_LIST, "all")
    assert found is not None
    assert found[1] is content
