"""Validations: nothing is asked, little is kept, and what callers get wrong is counted."""

import json
from dataclasses import replace
from unittest.mock import Mock

import msgspec
import pytest

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.errors import BadSearch, IllegalName, MappingNotFound, NotWarm
from cacheapp.queries.findings import Code, Finding, Severity
from cacheapp.queries.validation import validate
from cacheapp.state.expressions import Expression
from cacheapp.state.visible import ALL_VISIBLE, Visible
from cacheapp.validation import (
    MAX_BODY_BYTES,
    MAX_FAMILIES,
    MAX_HEADER_CHARACTERS,
    MAX_KEPT_VERDICTS,
    OTHER_FAMILIES,
    SMALL_BODY_BYTES,
    Validate,
    Validations,
    findings_header,
    refusal,
    told,
    with_findings,
)
from esassistant.elasticsearch.search_head import LARGEST_DECODED_BYTES
from esassistant.errors import ClusterUnavailable
from esassistant.http.answer import Answer
from tests.support.fakes import A_MAPPING, B_MAPPING, FakeClock, FakeReader, cache_config, spawn

RIGHT = b'{"query":{"term":{"a":1}}}'
WRONG = b'{"query":{"term":{"aa":1}}}'
ERROR = Finding("/query/term/aa", Code.UNKNOWN_FIELD, Severity.ERROR, "aa", ("a",), "No field is named [aa].")
WARNING = Finding("", Code.TYPE_CONFLICT, Severity.WARNING, "ä", (), "It differs.")
NOTHING = b'{"took":1,"hits":{"total":{"value":0,"relation":"eq"},"hits":[]}}'


async def made(
    names: int = 2, max_kept_fields: int = 10_000
) -> tuple[Validations, FakeReader, MappingCache, FakeClock]:
    """Validations over a cluster in memory, each of whose names was read."""
    mappings = {f"{'ab'[number % 2]}-{number}": (A_MAPPING, B_MAPPING)[number % 2] for number in range(names)}
    reader, clock = FakeReader(mappings), FakeClock()
    reader.cluster_aliases["both"] = tuple(mappings)
    cache = MappingCache(reader, cache_config(), spawn, clock=clock)
    for name in (*mappings, "both"):
        await cache.get(name)
    cache.warm = True
    cache.confirm_all(clock())
    return Validations(cache, spawn, clock=clock, max_kept_fields=max_kept_fields), reader, cache, clock


async def test_nothing_is_asked() -> None:
    """A validation makes no call, however old the mappings are, and says how old."""
    validations, reader, _, clock = await made()
    before = reader.requests_total
    clock.now += 1_000_000
    found = await validations.validate("both", RIGHT, ALL_VISIBLE)
    assert found.valid
    assert found.age_seconds == pytest.approx(1_000_000)
    assert reader.requests_total == before


async def test_what_can_not_be_validated() -> None:
    """Illegal and unknown names, bodies that are no JSON or too large, mappings that aren't in memory."""
    validations, _, cache, _ = await made()
    for name, body, error in (
        ("A B", RIGHT, IllegalName),
        ("absent", RIGHT, MappingNotFound),
        ("both", b"{", BadSearch),
        ("both", b" " * (MAX_BODY_BYTES + 1), BadSearch),
    ):
        with pytest.raises(error):
            await validations.validate(name, body, ALL_VISIBLE)
        assert await validations.findings(name, body, Validate.REFUSE, ALL_VISIBLE) == ()
    cache.snapshot = cache.snapshot.without_bodies(cache.snapshot.bodies)
    with pytest.raises(NotWarm, match="GET them once"):
        await validations.validate("both", RIGHT, ALL_VISIBLE)
    cache.warm = False
    with pytest.raises(NotWarm, match="first pass"):
        await validations.validate("absent", RIGHT, ALL_VISIBLE)


async def test_what_is_not_in_memory() -> None:
    """It is called absent only by a listing, whose age is told, as long as that may be answered; never if it was listed
    but could not be read.
    """
    validations, _, cache, clock = await made()
    cache.snapshot = replace(cache.snapshot, listed=frozenset({"unread"}), listed_at=clock())
    with pytest.raises(NotWarm, match="could not be read yet"):
        await validations.validate("unread", RIGHT, ALL_VISIBLE)
    some = Visible(("a-*",))
    for foreign in ("unread", "b-1", "nothing"):
        with pytest.raises(MappingNotFound, match=f"named '{foreign}'") as told:
            await validations.validate(Expression(f"a-0,{foreign}", some), RIGHT, some)
        assert told.value.members == {"age_seconds": 0.0}
    limit = cache_config().ttl + cache_config().max_stale
    for age in (0.5, limit):
        clock.now = cache.snapshot.listed_at + age
        for wanted in ("absent", Expression("absent,a-*", ALL_VISIBLE), Expression("absent-*", ALL_VISIBLE)):
            with pytest.raises(MappingNotFound) as raised:
                await validations.validate(wanted, RIGHT, ALL_VISIBLE)
            assert raised.value.members == {"age_seconds": age}
            assert raised.value.meaning(["a-0"]).members == {"age_seconds": age, "did_you_mean": ["a-0"]}
    clock.now += 1
    with pytest.raises(ClusterUnavailable, match="Whether 'absent' exists is not known"):
        await validations.validate("absent", RIGHT, ALL_VISIBLE)


async def test_large_bodies_are_looked_at_in_a_thread() -> None:
    """The answer is the same."""
    validations, _, _, _ = await made()
    small, large = (
        await validations.validate("both", WRONG, ALL_VISIBLE),
        await validations.validate("both", WRONG + b" " * SMALL_BODY_BYTES, ALL_VISIBLE),
    )
    assert small.findings == large.findings != ()


async def test_a_verdict_is_kept_until_the_mappings_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same search isn't looked at again, but counted; one of other mappings is; the last few are kept."""
    validations, reader, cache, _ = await made()
    looked = Mock(wraps=validate)
    monkeypatch.setattr("cacheapp.validation.validate", looked)
    for _ in range(3):
        assert len((await validations.validate("a-0", WRONG, ALL_VISIBLE)).findings) == 1
    assert (looked.call_count, validations.report().wrong_total) == (1, 3)
    reader.indices["a-0"] = b'{"properties":{"aa":{"type":"long"}}}'
    await cache.reread("a-0")
    assert (await validations.validate("a-0", WRONG, ALL_VISIBLE)).findings == ()
    for number in range(MAX_KEPT_VERDICTS):
        await validations.validate("a-0", WRONG + b" " * number, ALL_VISIBLE)
    assert looked.call_count == 1 + MAX_KEPT_VERDICTS
    for number in (MAX_KEPT_VERDICTS - 1, MAX_KEPT_VERDICTS):  # the last one that is kept, and one that never was
        await validations.validate("a-0", WRONG + b" " * number, ALL_VISIBLE)
    assert looked.call_count == 2 + MAX_KEPT_VERDICTS
    await validations.validate("a-0", WRONG, ALL_VISIBLE)  # the oldest made room for it
    assert looked.call_count == 3 + MAX_KEPT_VERDICTS


async def test_what_is_kept_is_bounded() -> None:
    """Of many names those that were asked for last are kept, and what they share once; at least one is."""
    validations, _, cache, _ = await made(6, max_kept_fields=3)
    for name in (*cache.snapshot.indices, "both", "both"):
        assert (await validations.validate(name, b"{}", ALL_VISIBLE)).valid
    assert 0 < validations.report().kept_fields <= 3


async def test_counts() -> None:
    """Searches, wrong ones, each code once a search, and families, of which the later are counted together."""
    validations, _, _, _ = await made(2 * MAX_FAMILIES + 4)
    assert validations.report().validated_total == 0
    await validations.validate("a-0", RIGHT, ALL_VISIBLE)
    await validations.validate(
        "a-0", b'{"query":{"bool":{"filter":[{"term":{"aa":1}},{"term":{"bb":1}}]}}}', ALL_VISIBLE
    )
    await validations.validate("both", WRONG, ALL_VISIBLE)
    report = validations.report()
    assert (report.validated_total, report.wrong_total) == (3, 2)
    assert report.codes["unknown_field"] == 2
    assert set(report.codes) == {code.value for code in Code}
    assert report.families == {"both": 2}


async def test_families_are_bounded() -> None:
    """After the first names all others are counted under one."""
    reader = FakeReader({f"x{'y' * number}": A_MAPPING for number in range(MAX_FAMILIES + 3)})
    cache = MappingCache(reader, cache_config(), spawn)
    validations = Validations(cache, spawn)
    for name in list(reader.indices):
        await cache.get(name)
        await validations.validate(name, WRONG, ALL_VISIBLE)
    families = validations.report().families
    assert len(families) == MAX_FAMILIES + 1
    assert families[OTHER_FAMILIES] == 3


def test_the_header_is_bounded() -> None:
    """It is JSON in ASCII, says how many findings there are, and has as many as fit."""
    told = json.loads(findings_header((ERROR, WARNING)))
    assert (told["total"], told["findings"][1]["field"]) == (2, "ä")
    many = findings_header((ERROR,) * 500)
    assert many.isascii()
    assert len(many) <= MAX_HEADER_CHARACTERS
    assert json.loads(many)["total"] == 500
    huge = msgspec.structs.replace(ERROR, path="/" + "x" * 5_000)
    assert json.loads(findings_header((huge,))) == {"total": 1, "findings": []}


def test_answers_without_hits_say_why() -> None:
    """Only an answer that has nothing gets a member, and nothing else in it changes."""
    told = with_findings(NOTHING, (ERROR,))
    assert told.startswith(NOTHING[:-1])
    assert json.loads(told)["_esassistant"]["findings"][0]["field"] == "aa"
    some = NOTHING.replace(b'"value":0', b'"value":1')
    assert with_findings(some, (ERROR,)) == some
    assert with_findings(NOTHING, ()) == NOTHING
    uncounted = b'{"hits":{"hits":[{}]}}'
    for other in (uncounted, b'{"took":1}', b"[]", b"{"):
        assert with_findings(other, (ERROR,)) == other
    assert b"_esassistant" in with_findings(b'{"hits":{"hits":[]}}', (ERROR,))


def test_large_answers_are_not_decoded() -> None:
    """One with hits tells it at its beginning; one of a megabyte has hits or buckets. Decoding 60 MB would hold the
    loop for a tenth of a second.
    """
    head = b'{"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},'
    hits = b'"hits":{"total":{"value":%d,"relation":"eq"},"max_score":1,"hits":[%s]}}'
    broken = head + hits % (1, b"this is no JSON")
    assert with_findings(broken, (ERROR,)) is broken
    large = head + b'"aggregations":"' + b"x" * LARGEST_DECODED_BYTES + b'",' + hits % (0, b"")
    assert with_findings(large, (ERROR,)) is large
    nothing = head + hits % (0, b"")
    assert b"_esassistant" in with_findings(nothing, (ERROR,))


def test_refusals() -> None:
    """Only errors refuse; the first is told, and how many there are."""
    assert refusal((WARNING,)) is None
    one, two = refusal((WARNING, ERROR)), refusal((ERROR, ERROR))
    assert one is not None
    assert one.detail == "/query/term/aa: No field is named [aa]. Did you mean 'a'?"
    assert two is not None
    assert "2 errors" in two.detail
    assert one.type_uri == "/problems/search-has-errors"
    assert one.members == {"findings": (WARNING, ERROR)}


async def test_what_happens_to_wrong_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """`off` isn't validated, `warn` has findings, `refuse` an error; a fault of validation itself stops no search."""
    validations, _, _, _ = await made()
    assert await validations.findings("both", WRONG, Validate.OFF, ALL_VISIBLE) == ()
    assert validations.report().validated_total == 0
    # Under a mapping that can grow an unknown field is a warning.
    assert len(await validations.findings("both", WRONG, Validate.REFUSE, ALL_VISIBLE)) == 1
    with pytest.raises(BadSearch, match="There is no query"):
        await validations.findings("both", b'{"query":{"trem":{}}}', Validate.REFUSE, ALL_VISIBLE)
    monkeypatch.setattr("cacheapp.validation.validate", None)
    assert await validations.findings("both", WRONG + b" ", Validate.WARN, ALL_VISIBLE) == ()


def test_answers_are_told() -> None:
    """Without findings an answer is the very same; with some it has the header."""
    answer = Answer(NOTHING, "application/json")
    assert told(answer, ()) is answer
    assert dict(told(answer, (ERROR,)).head)[b"x-search-findings"].startswith(b'{"total":1')


async def test_lists_and_patterns_are_validated() -> None:
    """Against all that they stand for; a name that isn't there is named, and what matches nothing is said."""
    validations, reader, _, _ = await made(names=6)
    before = reader.requests_total
    assert (
        await validations.validate(Expression("a-*,b-1", ALL_VISIBLE), b'{"query":{"term":{"b":1}}}', ALL_VISIBLE)
    ).valid
    wrong = await validations.validate(Expression("a-*,b-*", ALL_VISIBLE), b'{"query":{"term":{"bb":1}}}', ALL_VISIBLE)
    assert [finding.code for finding in wrong.findings] == [Code.UNKNOWN_FIELD]
    for text, said in (("a-*,gone", "'gone'"), ("none-*", "matches"), ("-a-1,a-*", "comes after a pattern")):
        with pytest.raises((MappingNotFound, IllegalName), match=said):
            await validations.validate(Expression(text, ALL_VISIBLE), RIGHT, ALL_VISIBLE)
    assert reader.requests_total == before


async def test_a_wrong_search_of_several_counts_for_each_family() -> None:
    """Of few families; of many it counts among the others, so that nobody can fill the counts with one search."""
    validations, reader, cache, _ = await made(names=2)  # whose family is the alias over both
    for family in "cdefg":
        reader.indices[f"{family}-1"] = A_MAPPING
        await cache.get(f"{family}-1")
    await validations.validate(Expression("a-0,b-1", ALL_VISIBLE), WRONG, ALL_VISIBLE)
    await validations.validate(Expression("a*,b*,c*,d*,e*,f*,g*", ALL_VISIBLE), WRONG, ALL_VISIBLE)
    report = validations.report()
    assert (report.wrong_total, report.families) == (2, {"both": 1, OTHER_FAMILIES: 1})
