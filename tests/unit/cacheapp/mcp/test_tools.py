"""Tools over a cluster in memory: what each says, within its budget and scope, and how each mistake is told."""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cacheapp.cache.cluster_fields import ClusterFields
from cacheapp.cache.derived import MappingViews
from cacheapp.cache.descriptions import Descriptions
from cacheapp.cache.field_search import MAX_NEAR, MAX_SOME
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.describe.tokens import count_tokens
from cacheapp.mcp.tools import MAX_ANSWER_BYTES, MAX_FIELDS, Outcome, Tools, tools_for
from cacheapp.validation import Validate, Validations
from cacheapp.values.family_values import FamilyValues, FieldValues, ValueCount
from cacheapp.values.known import KnownValues
from esassistant.config.tokens import Right
from esassistant.errors import ClusterUnavailable
from esassistant.http.answer import Answer
from esassistant.http.callers import ANYBODY, API_CALLER, Caller, CallerKind
from tests.support.fakes import FakeClock, FakeReader, cache_config, spawn

ORDERS = b'{"dynamic":"strict","properties":{"channel":{"type":"keyword"},"country":{"type":"keyword"}}}'
PAYROLL = b'{"properties":{"salary":{"type":"long"},"channel":{"type":"text"}}}'
SHOP = Caller(CallerKind.TOKEN, frozenset({Right.READ, Right.SEARCH}), ("shop-*",), token="agents")
WRONG = {"query": {"term": {"chanel": "web"}}}
RIGHT = {"query": {"term": {"channel": "web"}}}
AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


class Searched:
    """In the place of searches: answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, Validate, tuple[str, ...]]] = []
        self.answers: bytes | Exception = json.dumps(
            {"took": 3, "hits": {"total": {"value": 0, "relation": "eq"}, "hits": []}}
        ).encode()

    async def answer(self, name: str, raw: bytes, validate: Validate, *, visible: Any) -> Answer:
        self.asked.append((name, json.loads(raw), validate, visible.patterns))
        if isinstance(self.answers, Exception):
            raise self.answers
        return Answer(self.answers, "application/json")


class Office:
    """Tools over a shop's indices and others' secrets, all of them read."""

    def __init__(self, more: Mapping[str, bytes] | None = None) -> None:
        self.names = {"shop-orders-1": ORDERS, "shop-orders-2": ORDERS, "secret-payroll": PAYROLL, **(more or {})}
        self.clock = FakeClock()
        reader = FakeReader(self.names)
        reader.cluster_aliases["shop-all"] = ("shop-orders-1", "shop-orders-2")
        self.cache = MappingCache(reader, cache_config(), spawn, clock=self.clock)
        views = MappingViews(self.cache, spawn)
        self.searched = Searched()
        self.values = KnownValues(clock=self.clock)
        self.away_since: datetime | None = None
        self.tools = Tools(
            self.cache,
            ClusterFields(self.cache, views),
            Descriptions(self.cache, views, spawn, values=self.values),
            Validations(self.cache, spawn, values=self.values, clock=self.clock),
            self.searched,  # type: ignore[arg-type]
            lambda: self.away_since,
        )

    async def read(self) -> None:
        for name in (*self.names, "shop-all"):
            await self.cache.get(name)
        self.cache.snapshot = replace(self.cache.snapshot, listed_at=self.clock())
        self.cache.warm = True

    async def call(self, name: str, caller: Caller = API_CALLER, **arguments: Any) -> Outcome:
        return await self.tools.call(name, arguments, caller)


@pytest.fixture
async def office() -> Office:
    office = Office()
    await office.read()
    return office


async def test_find_indices(office: Office) -> None:
    """Families, best first, and the next step; that nothing matches is said."""
    found = await office.call("find_indices", question="salary")
    assert found.text.split("\n")[1].startswith("secret-payroll")
    assert found.text.endswith("Next: describe a name with your question.")
    assert (await office.call("find_indices", question="zebra")).text.startswith("None of the families")
    assert not (await office.call("find_indices")).text.startswith("None")
    assert count_tokens((await office.call("find_indices", question="zebra", tokens=100)).text) <= 100


async def test_nothing_exists(office: Office) -> None:
    """For a scope that covers nothing."""
    nobody = replace(SHOP, patterns=("other-*",))
    assert (await office.call("find_indices", nobody)).text == "There are no indices that you may see."
    assert (await office.call("find_fields", nobody, words="channel")).is_error


async def test_describe(office: Office) -> None:
    """The fields of a pattern; of what is stale, how old it is; of a name that isn't there, those like it."""
    found = await office.call("describe", names="shop-*", question="country")
    assert found.text.startswith("shop-*: 2 indices, 2 fields")
    office.clock.now += cache_config().ttl + 10
    assert "\n# as it was " in (await office.call("describe", names="shop-all")).text
    missing = await office.call("describe", names="shop-order")
    assert missing.is_error
    assert "Did you mean shop-" in missing.text


async def test_find_fields(office: Office) -> None:
    """Where a field is, with its conflicts; some of the words; or what is near by meaning."""
    found = await office.call("find_fields", words="channel")
    assert found.text == "channel: conflict: keyword in 2, text in 1 indices — secret-payroll, shop-all"
    some = await office.call("find_fields", words="salary zebra")
    assert some.text == "No field has all of these words; these have some:\nsalary: long — secret-payroll"
    near = await office.call("find_fields", words="nation")
    assert near.text == (
        "No field has these words in its path, or none of that type. Near by meaning:\ncountry: keyword — shop-all"
    )
    assert not near.is_error


async def test_some_of_the_words() -> None:
    """Those with most of the words come first, also of words that many fields have; then those with a rare word. Stop
    words don't count, and few fields are returned.
    """
    numbers = {f"payment_{number:03}": {"type": "long"} for number in range(2 * MAX_FIELDS)}
    numbers |= {f"request_{number:03}": {"type": "long"} for number in range(2 * MAX_FIELDS)}
    properties = {**numbers, "took_ms": {"type": "long"}, "zone_payment_request": {"type": "long"}}
    office = Office({"sales": json.dumps({"properties": properties}).encode()})
    await office.read()
    head, first, *_ = (await office.call("find_fields", words="how long a request took")).text.split("\n")
    assert head == "No field has all of these words; these have some:"
    assert first == "took_ms: long — sales"
    _, first, *others = (await office.call("find_fields", words="the payment request")).text.split("\n")
    assert first == "zone_payment_request: long — sales"
    assert len(others) == MAX_SOME - 1


@pytest.mark.parametrize("type_", ["", "keyword"])
async def test_near_fields(type_: str) -> None:
    """The nearest by meaning, few of them, of the type that is wanted, multi-fields among them; not all there are."""
    properties: dict[str, Any] = {f"thing_{number}": {"type": "keyword"} for number in range(50)}
    properties |= {f"amount_{number}": {"type": "double"} for number in range(20)}
    properties["price"] = {"type": "text", "fields": {"raw": {"type": "keyword"}}}
    office = Office({"sales": json.dumps({"properties": properties}).encode()})
    await office.read()
    head, *lines = (await office.call("find_fields", words="revenue", type=type_)).text.split("\n")
    assert head == "No field has these words in its path, or none of that type. Near by meaning:"
    assert all(line.endswith(" — sales") for line in lines)
    paths = [line.split(":")[0] for line in lines]
    if type_:
        assert paths == ["price.raw"]
    else:
        assert len(paths) == MAX_NEAR
        assert all(path.startswith(("amount_", "price")) for path in paths)


async def test_nothing_is_near(office: Office) -> None:
    """It is said, with what to do next; also where only fields of another type are near."""
    nothing = await office.call("find_fields", words="zebra", names="shop-all")
    assert nothing.text == (
        "No field has these words in its path, and none is near by meaning.\n"
        "Next: try other words, or find_indices with your question, then describe a name."
    )
    other = await office.call("find_fields", words="nation", type="geo_point")
    assert other.text.startswith("No field of type geo_point has these words")
    assert "Next: leave out the type" in other.text
    assert not other.is_error


async def test_many_fields() -> None:
    """Those beyond the most that are shown are counted."""
    names = {f"wide_{number}": {"type": "keyword"} for number in range(MAX_FIELDS + 5)}
    office = Office({"wide": json.dumps({"properties": names}).encode()})
    await office.read()
    text = (await office.call("find_fields", words="wide", tokens=8000)).text
    assert (text.count("\nwide_"), text.endswith("\n# 5 more fields")) == (MAX_FIELDS - 1, True)


async def test_validate_search(office: Office) -> None:
    """Findings as they are."""
    found = await office.call("validate_search", names="shop-all", search=WRONG)
    assert (found.is_error, '"did_you_mean":["channel"]' in found.text) == (False, True)


async def test_search(office: Office) -> None:
    """What has an error isn't searched; what hasn't is, with the caller's scope and without a second validation."""
    refused = await office.call("search", SHOP, names="shop-all", search=WRONG)
    assert refused.is_error
    assert refused.text.startswith("Not searched. Not valid: 1 error.")
    assert office.searched.asked == []
    made = await office.call("search", SHOP, names="shop-all", search=RIGHT)
    assert made.text.startswith("0 hits in shop-all (2 indices), took 3 ms.")
    assert office.searched.asked == [("shop-all", RIGHT, Validate.OFF, ("shop-*",))]
    hits = [{"_index": "shop-orders-1", "_id": "1", "_source": {"note": "x" * 50_000}}]
    office.searched.answers = json.dumps({"took": 1, "hits": {"hits": hits}}).encode()
    large = await office.call("search", names="shop-all", search=RIGHT, tokens=300)
    assert count_tokens(large.text) <= 300
    office.searched.answers = b"{" + b" " * MAX_ANSWER_BYTES + b"}"
    huge = await office.call("search", names="shop-all", search=RIGHT)
    assert (huge.is_error, "_source" in huge.text) == (True, True)


async def test_a_search_before_all_is_known(office: Office) -> None:
    """What can't be validated from memory is searched all the same: the cluster knows more."""
    unknown = await office.call("search", names="brand-new", search=RIGHT)
    assert unknown.text.startswith("0 hits in brand-new, took")
    assert [name for name, *_ in office.searched.asked] == ["brand-new"]
    office.cache.warm = False
    await office.call("search", names="brand-new", search=RIGHT)
    assert len(office.searched.asked) == 2


async def test_the_cluster_is_away(office: Office) -> None:
    """A search says since when, if anybody knows; before the first pass all is only late."""
    office.searched.answers = ClusterUnavailable("Elasticsearch can't be asked.")
    away = await office.call("search", names="shop-all", search=RIGHT)
    assert (away.is_error, "since" in away.text, "from memory" in away.text) == (True, False, True)
    office.away_since = AT
    assert "since 05:06:07 UTC" in (await office.call("search", names="shop-all", search=RIGHT)).text
    office.cache.warm = False
    for late in (
        await office.call("find_indices"),
        await office.call("find_fields", words="channel"),
        await office.call("validate_search", names="shop-none", search=RIGHT),
    ):
        assert late.is_error
        assert late.text.endswith("Next: ask again in a few seconds.")


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("drop", {}, "There is no tool 'drop': use find_indices, describe, find_fields, validate_search, search."),
        ("describe", {}, "It takes names, question (optional), tokens (optional)."),
        ("describe", {"names": 3}, "Expected `str`, got `int` - at `$.names`"),
        ("find_indices", {"tokens": 1}, "Expected `int` >= 100"),
        ("search", {"names": "a", "search": {"size": 101}}, "at most 100"),
        ("describe", {"names": "A B"}, "blanks"),
    ],
)
async def test_mistakes(office: Office, name: str, arguments: dict[str, Any], says: str) -> None:
    """Each is an outcome that says what to send instead."""
    outcome = await office.call(name, **arguments)
    assert outcome.is_error
    assert says in outcome.text


async def test_rights(office: Office) -> None:
    """A tool is offered to who has its right, and refused to others."""
    assert [tool.name for tool in tools_for(API_CALLER)][-1] == "search"
    assert [tool.name for tool in tools_for(ANYBODY)] == ["find_indices", "describe", "find_fields", "validate_search"]
    refused = await office.call("search", ANYBODY, names="shop-all", search=RIGHT)
    assert refused == Outcome('This token may not use search: it lacks "search". The operator can grant it.', True)


async def test_a_scope(office: Office) -> None:
    """Nothing of what it doesn't cover: names, numbers, suggestions, conflicts."""
    calls: list[tuple[str, dict[str, Any]]] = [
        ("find_indices", {"question": "salary payroll"}),
        ("describe", {"names": "*"}),
        ("describe", {"names": "secret-pay"}),
        ("find_fields", {"words": "channel"}),
        ("find_fields", {"words": "salary"}),
        ("validate_search", {"names": "*", "search": {"query": {"term": {"salary": 1}}}}),
        ("search", {"names": "*", "search": {"query": {"term": {"salary": 1}}}}),
    ]
    for name, arguments in calls:
        text = (await office.call(name, SHOP, **arguments)).text
        assert "payroll" not in text
        assert "conflict" not in text
        assert '["salary"' not in text
    unknown = (await office.call("describe", SHOP, names="secret-payroll")).text
    assert unknown == (await office.call("describe", SHOP, names="secret-nothing")).text.replace("nothing", "payroll")
    assert "conflict" in (await office.call("find_fields", words="channel")).text


async def test_values_beyond_a_scope(office: Office) -> None:
    """What a family's fields hold is for who sees the family: of indices beyond it nothing is told."""
    channel = FieldValues("keyword", 0, (ValueCount("web", 3), ValueCount("hidden", 1)))
    indices = ("shop-orders-1", "shop-orders-2")
    office.values.keep([FamilyValues("shop-all", 0, indices, 2, 4, True, {"channel": channel})], 0)
    narrow = Caller(CallerKind.TOKEN, frozenset({Right.READ, Right.SEARCH}), ("shop-orders-1",), token="narrow")
    search = {"query": {"term": {"channel": "hiddem"}}}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("describe", {"names": "shop-orders-1"}),
        ("validate_search", {"names": "shop-orders-1", "search": search}),
        ("search", {"names": "shop-orders-1", "search": search}),
    ]
    for name, arguments in calls:
        assert "hidden" in (await office.call(name, SHOP, **arguments)).text
        told = (await office.call(name, narrow, **arguments)).text
        assert "hidden" not in told
        assert "shop-all" not in told


async def test_time_and_faults(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """A call that takes too long says so; a bug is logged, and the agent is told no more than that."""
    office.searched.answers = TimeoutError()
    assert "took longer than 30 s" in (await office.call("search", names="shop-all", search=RIGHT)).text
    office.searched.answers = ValueError("bug")
    with caplog.at_level(logging.ERROR):
        outcome = await office.call("search", names="shop-all", search=RIGHT)
    assert outcome == Outcome("search failed by a fault of this service, which its log has.", True)
    assert [record.getMessage() for record in caplog.records] == ["the tool search failed"]
