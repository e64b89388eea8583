"""The mapping cache asked for lists and patterns: from memory, and with few calls for what isn't there."""

import asyncio
import json
from dataclasses import replace

import pytest

from cacheapp.cache.mapping_cache import MAX_LACKING, MappingCache
from cacheapp.errors import IllegalName, MappingNotFound, NotWarm, TooMuch
from cacheapp.state.answer import LARGE_INDICES, MAX_OUTLINE_BYTES, Freshness, MappingAnswer
from cacheapp.state.expressions import Expression
from cacheapp.state.readings import Mappings, Reading
from cacheapp.state.visible import ALL_VISIBLE, Visible
from esassistant.errors import ClusterUnavailable
from tests.support.fakes import A_MAPPING, B_MAPPING, C_MAPPING, FakeClock, FakeReader, cache_config, settle, spawn

INDICES = {"a-1": A_MAPPING, "a-2": A_MAPPING, "b-1": B_MAPPING, ".hidden": B_MAPPING, "a-closed": C_MAPPING}


class Made:
    """A cache that a pass has filled, over a cluster in memory."""

    def __init__(self, indices: dict[str, bytes] | None = None, *, max_bytes: int = 1_000_000) -> None:
        self.reader, self.clock = FakeReader(INDICES if indices is None else indices), FakeClock()
        self.reader.cluster_aliases["both"] = ("a-1", "b-1")
        if indices is not None:
            self.reader.cluster_aliases.clear()
        self.cache = MappingCache(self.reader, cache_config(max_bytes=max_bytes), spawn, clock=self.clock)

    async def read_all(self) -> None:
        """A full pass."""
        listing = replace(await self.reader.listing(), closed=frozenset({"a-closed"} & self.reader.indices.keys()))
        reading = Reading(listing, Mappings.from_bodies(self.reader.indices), self.clock())
        await self.cache.apply(reading, ())
        self.reader.asked.clear()

    async def get(self, text: str, visible: Visible = ALL_VISIBLE) -> MappingAnswer:
        return await self.cache.get(Expression(text, visible))


@pytest.fixture
async def made() -> Made:
    made = Made()
    await made.read_all()
    return made


async def test_it_is_answered_from_memory(made: Made) -> None:
    """As Elasticsearch renders it, with the age of the oldest, and without any call; again, it is the same bytes."""
    made.clock.advance(3.0)
    answer = await made.get("a-*,both")
    assert json.loads(answer.body) == {name: {"mappings": json.loads(INDICES[name])} for name in ("a-1", "a-2", "b-1")}
    assert (answer.age_seconds, answer.freshness) == (3.0, Freshness.FRESH)
    assert answer.resolved is not None
    assert (answer.resolved.names, answer.resolved.closed) == (("a-1", "a-2", "both"), ("a-closed",))
    assert (await made.get("a-*,both")).body is answer.body
    assert made.cache.ready(Expression("a-*,both", ALL_VISIBLE)) is not None
    assert made.reader.asked == []
    assert made.cache.report().answers.hits_total == 3


async def test_an_outline_has_each_mapping_once(made: Made) -> None:
    """What is derived needs no more; whoever sees other names gets another answer."""
    outline = await made.cache.outline(Expression("*", ALL_VISIBLE))
    assert [len(one.indices) for one in outline.distinct] == [2, 1]
    few = await made.cache.outline(Expression("*", Visible(("b*",))))
    assert few.indices == ("a-1", "b-1")  # by the alias, which is visible


async def test_what_stands_for_nothing_is_said(made: Made) -> None:
    """With what to do about it: closed indices, hidden ones; and illegal expressions."""
    with pytest.raises(MappingNotFound, match="closed \\(a-closed\\)"):
        await made.get("a-c*")
    with pytest.raises(MappingNotFound, match="dot at its beginning"):
        await made.get("none-*")
    with pytest.raises(MappingNotFound, match="no none"):
        await made.get("a-1,none")
    with pytest.raises(IllegalName, match="comes after a pattern"):
        await made.get("-a,a-*")
    assert made.reader.asked == ["none"]


async def test_an_exact_name_may_be_new(made: Made) -> None:
    """It is read as it is alone, and several in one request; then it is known."""
    made.reader.indices |= {"new-1": C_MAPPING, "new-2": C_MAPPING}
    assert (await made.get("new-1,a-*,new-2")).indices == ("a-1", "a-2", "new-1", "new-2")
    assert made.reader.asked == [("new-1", "new-2")]
    assert (await made.get("new-1,a-*,new-2")).indices == ("a-1", "a-2", "new-1", "new-2")
    assert len(made.reader.asked) == 1


async def test_few_are_read_for_one_answer(made: Made) -> None:
    """More names that aren't known are refused, and nothing is asked."""
    with pytest.raises(TooMuch, match="11 of these names are not known"):
        await made.get(",".join(f"n{number}" for number in range(MAX_LACKING + 1)))
    assert made.reader.requests_total == 1  # the listing of the pass


async def test_the_invisible_is_never_asked_for(made: Made) -> None:
    """It isn't there, whether or not it is, with the same words."""
    for name in ("b-1", "none"):
        with pytest.raises(MappingNotFound, match=f"named '{name}'"):
            await made.get(f"a-1,{name}", Visible(("a-*",)))
    assert made.reader.asked == []
    with pytest.raises(MappingNotFound, match="closed"):
        await made.get("a-c*", Visible(("a-*",)))
    with pytest.raises(MappingNotFound, match="dot at its beginning"):
        await made.get("a-c*", Visible(("b-*",)))


async def test_before_the_first_pass() -> None:
    """A pattern can't be answered; exact names are read."""
    made = Made()
    with pytest.raises(NotWarm):
        await made.get("a-*")
    assert (await made.get("a-1,b-1")).indices == ("a-1", "b-1")


async def test_what_had_to_go_is_read_again() -> None:
    """One index for each mapping that isn't kept; where they are many it is refused."""
    made = Made()
    await made.read_all()
    made.cache.snapshot = made.cache.snapshot.without_bodies(made.cache.snapshot.bodies)
    assert made.cache.ready(Expression("a-*,b-*", ALL_VISIBLE)) is None
    assert (await made.get("a-*,b-*")).indices == ("a-1", "a-2", "b-1")
    assert len(made.reader.asked) == 1
    many = Made(
        {f"i-{number}": b'{"properties":{"f%d":{"type":"long"}}}' % number for number in range(MAX_LACKING + 1)}
    )
    await many.read_all()
    many.cache.snapshot = many.cache.snapshot.without_bodies(many.cache.snapshot.bodies)
    with pytest.raises(ClusterUnavailable, match="at most 10 are read at once"):
        await many.get("i-*")


async def test_what_is_stale_is_read_behind_the_answer(made: Made) -> None:
    """Where it stands for few names. What is too old is read first."""
    made.clock.advance(10.1)
    assert (await made.get("a-1,b-1")).freshness is Freshness.STALE
    await settle()
    assert made.reader.asked == [("a-1", "b-1")]
    assert (await made.get("a-1,b-1")).freshness is Freshness.FRESH
    made.clock.advance(100.0)
    assert (await made.get("a-1,b-1")).age_seconds == 0.0
    with pytest.raises(NotWarm):  # what a pattern stands for only a listing tells
        await made.get("b-*")


async def test_a_pass_renews_it(made: Made) -> None:
    """New indices appear, gone ones go, and where only ages changed the body is the same."""
    before = await made.get("a-*")
    made.clock.advance(5.0)
    made.cache.confirm_all(made.clock())
    again = await made.get("a-*")
    assert (again.body is before.body, again.age_seconds) == (True, 0.0)
    made.reader.indices["a-3"] = B_MAPPING
    del made.reader.indices["a-2"]
    made.clock.advance(1.0)
    await made.read_all()
    assert (await made.get("a-*")).indices == ("a-1", "a-3")


async def test_of_many_names_it_is_made_in_a_thread() -> None:
    """Once for all who wait; the hot path leaves it to them."""
    made = Made({f"i-{number:04}": A_MAPPING for number in range(LARGE_INDICES + 1)})
    await made.read_all()
    assert made.cache.ready(Expression("i-*", ALL_VISIBLE)) is None
    first, second = await asyncio.gather(made.get("i-*"), made.get("i-*"))
    assert first.body is second.body
    assert made.cache.ready(Expression("i-*", ALL_VISIBLE)) is not None


def large(mega_bytes: int, field: str) -> bytes:
    return b'{"_meta":{"about":"%b"},"properties":{"%b":{"type":"long"}}}' % (
        b"x" * mega_bytes * 1_000_000,
        field.encode(),
    )


async def test_too_much_is_refused() -> None:
    """What would be too large says how large it is, and what narrows it; derived things are bounded by what they are
    made of.
    """
    shared, other, third = large(7, "a"), large(7, "b"), large(7, "c")
    made = Made({**{f"a-{number}": shared for number in range(5)}, "b-1": other, "c-1": third}, max_bytes=100_000_000)
    await made.read_all()
    assert (await made.get("a-1,b-1")).indices == ("a-1", "b-1")
    with pytest.raises(TooMuch, match="group=mapping"):
        await made.get("a-*")
    assert len((await made.cache.outline(Expression("a-*,b-*", ALL_VISIBLE))).indices) == 6
    with pytest.raises(TooMuch, match="21 MB of different mappings"):
        await made.cache.outline(Expression("*", ALL_VISIBLE))


async def test_any_number_of_expressions_takes_bounded_memory(made: Made) -> None:
    """The texts count as well as what they stand for."""
    for number in range(3_000):
        text = "a-*," + ",".join(["x" * 200 + "*"] * 10) + f",{number}*"
        await made.cache.outline(Expression(text, ALL_VISIBLE))
        await made.cache.resolve(Expression(text, ALL_VISIBLE))
    assert made.cache._outlines.kept_bytes <= MAX_OUTLINE_BYTES
    assert made.cache._resolutions._kept.kept_bytes <= made.cache._resolutions._kept.max_bytes
    assert len(made.cache._outlines._kept) < 3_000
