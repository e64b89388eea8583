"""The soak's judge of answers: what may have been true, and what of an answer is wrong."""

import json
import math
from email.message import Message
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.soak.checks import Checks, Promise
from bench.soak.followers import missing_or_twice, untrue_ends
from bench.soak.http import Reply
from bench.soak.tally import Tally
from bench.soak.truth import (
    MILLISECOND,
    Alias,
    Index,
    State,
    Truth,
    Window,
    window_of,
    window_of_absence,
    wrong_absence,
    wrong_fields,
    wrong_listing,
    wrong_mappings,
)
from bench.soak.writer import LARGE, STEADY, STEADY_ALIASES, VALUES, VALUES_FIELD, index_state, rendered
from cacheapp.state.snapshot import mapping_hash
from tests.support.fakes import FakeClock

ONE, TWO = Index("1", frozenset({"a"})), Index("2", frozenset({"a", "b"}))
PROMISE = Promise(ttl=10.0, max_stale=20.0, negative_ttl=2.0, fetch_timeout=3.0)
MAPPING = b'{"properties":{"a":{"type":"ip"}}}'


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(0.0)


@pytest.fixture
def truth(clock: FakeClock) -> Truth:
    return Truth(clock)


def change(truth: Truth, clock: FakeClock, sent_at: float, acknowledged_at: float, **states: State) -> None:
    clock.now = sent_at
    with truth.changing(states):
        clock.now = acknowledged_at


# What may have been true


def test_both_may_be_true_while_a_change_is_under_way(truth: Truth, clock: FakeClock) -> None:
    """From when a change is sent, what is after it may be true; until it is acknowledged, what was before."""
    change(truth, clock, 10.0, 11.0, x=ONE)
    change(truth, clock, 20.0, 22.0, x=TWO)
    assert truth.possible("x", 0.0, 9.9) == [None]
    assert truth.possible("x", 10.5, 10.6) == [None, ONE]
    assert truth.possible("x", 11.1, 19.9) == [ONE]
    assert truth.possible("x", 21.0, 21.0) == [ONE, TWO]
    assert truth.possible("x", 22.1, math.inf) == [TWO]
    assert truth.possible("x", 5.0, 25.0) == [None, ONE, TWO]
    assert truth.possible("never", 0.0, 25.0) == [None]
    assert (truth.now("x"), truth.now("never"), truth.names()) == (TWO, None, ("x",))
    assert (truth.over_since("x", ONE), truth.over_since("x", TWO)) == (22.0, math.inf)


def test_a_change_that_failed_may_have_happened(truth: Truth, clock: FakeClock) -> None:
    """Without an acknowledgement, what was before stays possible; the next change that is acknowledged ends both."""
    change(truth, clock, 1.0, 2.0, x=ONE)
    with pytest.raises(TimeoutError), truth.changing({"x": None}):
        raise TimeoutError
    assert truth.possible("x", 100.0, 100.0) == [ONE, None]
    change(truth, clock, 200.0, 201.0, x=TWO)
    assert truth.possible("x", 202.0, 202.0) == [TWO]


def test_the_window_is_that_of_the_age(truth: Truth, clock: FakeClock) -> None:
    """What was over before `sent - Age - 1` is wrong, however little; what was not, is not."""
    change(truth, clock, 10.0, 11.0, x=ONE)
    change(truth, clock, 20.0, 22.0, x=TWO)
    assert wrong_mappings(truth, "x", {"x": "1"}, window_of(26.0, 26.5, age=3)) is None
    assert wrong_mappings(truth, "x", {"x": "1"}, window_of(26.1, 26.5, age=3)) is not None
    assert wrong_mappings(truth, "x", {"x": "2"}, window_of(26.1, 26.5, age=3)) is None
    assert wrong_mappings(truth, "x", {"x": "2"}, window_of(18.0, 19.9, age=3)) is not None, "of the future"


@given(
    pauses=st.lists(st.floats(0.001, 5.0), min_size=3, max_size=30),
    when=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 20.0), st.floats(0.0, 3.0), st.floats(0.0, 1.0)),
    position=st.floats(0.0, 1.0),
)
def test_an_honest_service_is_never_wrong(
    pauses: list[float], when: tuple[float, float, float, float], position: float
) -> None:
    """Whenever changes happen between being sent and acknowledged, and however long questions and answers take: what
    the cluster said at some moment after the question, answered with the age of the question, is right; and what it had
    surely stopped to say before that age is caught.
    """
    clock = FakeClock(0.0)
    truth = Truth(clock)
    happened: list[tuple[float, int]] = []
    at = 0.0
    for number in range(0, len(pauses) - 2, 3):
        sent_at, happens_at = at + pauses[number], at + pauses[number] + pauses[number + 1]
        at = happens_at + pauses[number + 2]
        change(truth, clock, sent_at, at, x=Index(str(number)))
        happened.append((happens_at, number))
    asked_after, answered_after, took, rest = when
    first, last = happened[0][0], at
    read_at = first + position * (last - first)
    said = str([number for happens_at, number in happened if happens_at <= read_at][-1])
    asked_at, answered_at = read_at - asked_after, read_at + answered_after
    age = math.floor(answered_at - asked_at)
    window = window_of(answered_at - took, answered_at + rest, age)
    assert wrong_mappings(truth, "x", {"x": said}, window) is None
    over_at = truth.over_since("x", Index(said))
    if over_at < answered_at - took - 2.0:
        younger = math.floor(answered_at - took - 1.1 - over_at)
        assert wrong_mappings(truth, "x", {"x": said}, window_of(answered_at - took, answered_at, younger)) is not None


def test_an_alias_in_parts(truth: Truth, clock: FakeClock) -> None:
    """The indices of an alias were its indices at some moment of the window, and each mapping was true at some
    moment.
    """
    change(truth, clock, 1.0, 1.0, a=ONE, b=TWO, all=Alias(frozenset({"a"})))
    change(truth, clock, 10.0, 10.0, all=Alias(frozenset({"a", "b"})))
    change(truth, clock, 20.0, 20.0, a=TWO)
    change(truth, clock, 30.0, 30.0, b=None, all=Alias(frozenset({"a"})))
    around = Window(19.0, 21.0)
    assert wrong_mappings(truth, "all", {"a": "1", "b": "2"}, around) is None
    assert wrong_mappings(truth, "all", {"a": "2", "b": "2"}, around) is None
    assert "no alias of a" in str(wrong_mappings(truth, "all", {"a": "2"}, around))
    assert "no index a" in str(wrong_mappings(truth, "all", {"a": "1", "b": "2"}, Window(21.0, 22.0)))
    assert "no index b" in str(wrong_mappings(truth, "all", {"a": "2", "b": "1"}, around))
    assert wrong_mappings(truth, "all", {"a": "2"}, Window(40.0, 41.0)) is None
    assert wrong_mappings(truth, "all", {"all": "2"}, around) is not None, "it is no index"
    assert wrong_mappings(truth, "a", {"b": "2"}, around) is not None, "it is no alias"


def test_absence(truth: Truth, clock: FakeClock) -> None:
    """A 404 is wrong when the name was surely there since before the absence can have been read and remembered."""
    change(truth, clock, 10.0, 11.0, x=ONE)

    def wrong(sent_at: float, received_at: float, negative_ttl: float = 2.0) -> str | None:
        window = window_of_absence(sent_at, received_at, negative_ttl=negative_ttl, fetch_timeout=3.0)
        return wrong_absence(truth, "x", window)

    assert wrong(16.0, 16.1) is None
    assert wrong(16.1, 16.2) is not None
    assert wrong(15.1, 15.2, negative_ttl=0.0) is not None
    assert wrong(15.0, 15.2, negative_ttl=0.0) is None, "a failed flight is remembered for a second"
    change(truth, clock, 20.0, 21.0, x=None)
    assert wrong(16.1, 20.5) is None
    assert wrong_absence(truth, "never", Window(0.0, 1.0)) is None


def test_fields_and_listings(truth: Truth, clock: FakeClock) -> None:
    """What is derived is that of a state of the window, of an alias that of one state of each of its indices; a line of
    the list has an age to the millisecond.
    """
    other = Index("3", frozenset({"c"}))
    change(truth, clock, 1.0, 1.0, a=ONE, b=other, all=Alias(frozenset({"a", "b"})))
    change(truth, clock, 10.0, 10.0, a=TWO)
    assert wrong_fields(truth, "a", {"a", "b"}, Window(11.0, 12.0)) is None
    assert wrong_fields(truth, "a", {"a"}, Window(11.0, 12.0)) is not None
    assert wrong_fields(truth, "a", {"a"}, Window(9.0, 12.0)) is None
    assert wrong_fields(truth, "all", {"a", "c"}, Window(9.0, 12.0)) is None
    assert wrong_fields(truth, "all", {"a", "c"}, Window(11.0, 12.0)) is not None
    assert wrong_fields(truth, "never", set(), Window(11.0, 12.0)) is not None
    assert wrong_listing(truth, "a", "1", ["a"], window_of(11.0, 11.1, 1.0, MILLISECOND)) is None
    assert wrong_listing(truth, "a", "1", ["a"], window_of(11.1, 11.2, 1.0, MILLISECOND)) is not None
    assert wrong_listing(truth, "all", None, ["a", "b"], Window(11.0, 12.0)) is None
    assert wrong_listing(truth, "all", None, ["a"], Window(11.0, 12.0)) is not None


# Answers


class Checked:
    """Checks answers for `x`, an index with `MAPPING` since second 100."""

    def __init__(self, truth: Truth, clock: FakeClock) -> None:
        self.tally = Tally()
        self.is_disturbed = False
        change(truth, clock, 100.0, 100.0, x=index_state(json.loads(MAPPING)))
        self.checks = Checks(truth, PROMISE, self.tally, is_disturbed=lambda _: self.is_disturbed)

    def __call__(
        self,
        asked: str,
        status: int,
        body: bytes = b"{}",
        name: str = "x",
        *,
        sent_at: float = 200.0,
        field: str = "",
        **headers: str,
    ) -> list[str]:
        """What is found wrong with an answer: kinds of violations."""
        told = Message()
        for header, value in {"age": "1", "etag": '"e"', "x-cache-state": "fresh", "x-cache-source": "memory"}.items():
            told[header] = headers.get(header.replace("-", "_"), value)
        if "retry_after" in headers:
            told["retry-after"] = headers["retry_after"]
        self.tally.violations.clear()
        self.tally.wrong.total = 0
        reply = Reply(status, told, body, sent_at, sent_at + 0.1)
        self.checks.check(asked, name, reply, "instance 0", field=field)
        return [*self.tally.violations, *(["wrong"] * self.tally.wrong.total)]


@pytest.fixture
def checked(truth: Truth, clock: FakeClock) -> Checked:
    return Checked(truth, clock)


def test_mappings_are_compared(checked: Checked) -> None:
    """A right mapping passes; another one, one from before its time, or one under another index's name is wrong."""
    right = b'{"x":{"mappings":%b}}' % MAPPING
    assert checked("mapping", 200, right) == []
    assert checked("refresh of one", 200, right) == []
    assert checked("mapping", 200, right.replace(b'"ip"', b'"long"'), etag='"other"') == ["wrong"]
    assert checked("mapping", 200, right, sent_at=99.0) == ["wrong"]
    assert checked("mapping", 200, right, name="y") == ["wrong"]
    assert checked("mapping", 200, b"<html>", etag='"other"') == ["not what was asked for"]
    assert checked.tally.checked.total() == 5


def test_unchanged_means_the_body_of_that_etag(checked: Checked) -> None:
    """A 304 is compared as the body that came with that ETag before; and one ETag never stands for two bodies."""
    right = b'{"x":{"mappings":%b}}' % MAPPING
    assert checked("mapping", 304) == ["not what was asked for"], "there was none before"
    checked("mapping", 200, right)
    assert checked("mapping", 304) == []
    assert checked("mapping", 304, sent_at=99.0) == ["wrong"]
    assert "one ETag, two bodies" in checked("mapping", 200, b'{"x":{"mappings":{}}}')


def test_what_is_derived_is_compared(checked: Checked) -> None:
    """Fields and schema are those of the mapping; what Elasticsearch adds to all documents is left out."""
    assert checked("fields", 200, b'{"total":1,"fields":[{"name":"a"}]}') == []
    assert checked("fields", 200, b'{"total":1,"fields":[{"name":"b"}]}') == ["wrong"]
    assert checked("schema", 200, b'{"properties":{"a":{},"_doc_count":{}}}') == []
    assert checked("schema", 200, b'{"properties":{}}') == ["wrong"]


def test_validations_are_compared(checked: Checked) -> None:
    """A field is unknown where no index of that time had it, and known where all had."""
    found = b'{"findings":[{"code":"unknown_field","field":"a"}],"age_seconds":1.5}'
    other = b'{"findings":[{"code":"unknown_field","field":"b"}],"age_seconds":1.5}'
    none = b'{"findings":[],"age_seconds":1.5}'
    assert checked("validate", 200, none, field="a") == []
    assert checked("validate", 200, found, field="a") == ["wrong"]
    assert checked("validate", 200, other, field="b") == []
    assert checked("validate", 200, none, field="b") == ["wrong"]
    assert checked("validate", 200, none, field="a", sent_at=99.0) == ["wrong"], "before its time"
    assert checked("validate", 404, field="a") == ["wrong"]
    for age, wrong in ((0, ["wrong"]), (10_000, [])):
        assert checked("validate", 404, b'{"age_seconds":%d}' % age, field="a") == wrong, "it is as old as it says"
    not_kept, away = (b'{"type":"/problems/%b"}' % kind for kind in (b"no-mappings-yet", b"elasticsearch-unavailable"))
    assert checked("validate", 503, not_kept, retry_after="1") == []
    assert checked("validate", 503, not_kept) == ["503 without Retry-After"]
    assert checked("validate", 503, away, retry_after="1") == ["unexpected status"]


def test_values_are_those_of_documents(checked: Checked) -> None:
    """Of the one field that has some, and of no name whose family isn't gathered."""

    def told(field: str, *values: str) -> bytes:
        listed = {"values": [{"value": value} for value in values]}
        return json.dumps({"fields": [{"name": field, "values": listed}, {"name": "text_0", "values": None}]}).encode()

    assert checked("values", 200, told(VALUES_FIELD, *VALUES), STEADY[0]) == []
    assert checked("values", 200, told(VALUES_FIELD, "black"), STEADY[0]) == ["wrong"]
    assert checked("values", 200, told("ip_0", VALUES[0]), STEADY[0]) == ["wrong"]
    assert checked("values", 200, told(VALUES_FIELD, VALUES[0])) == ["wrong"], "not gathered"
    assert checked("values", 200, b'{"fields":[{"name":"a","values":null}]}') == []


def test_a_token_sees_its_names_alone(checked: Checked) -> None:
    """Others are absent whatever there is and however the cluster is; nothing is said without a token."""
    checked.is_disturbed = True
    assert checked("out of scope", 404) == []
    assert checked("out of scope", 503, retry_after="1") == ["unexpected status"]
    assert checked("stranger", 401) == []
    assert checked("stranger", 200) == ["unexpected status"]
    names = [{"name": name} for name in STEADY]
    assert checked("scoped names", 200, json.dumps({"names": names}).encode()) == []
    assert checked("scoped names", 200, json.dumps({"names": [*names, {"name": "x"}]}).encode()) == ["wrong"]
    assert checked("scoped names", 200, json.dumps({"names": names[1:]}).encode()) == ["wrong"]


def test_a_description_names_fields(checked: Checked) -> None:
    assert checked("describe", 200, VALUES_FIELD.encode()) == []
    assert checked("describe", 200, b"nothing") == ["a description without its fields"]


def test_statuses(checked: Checked) -> None:
    """Each kind of request has its statuses; 503 is for when the cluster isn't well, or says that it is red."""
    assert checked("hostile", 400) == []
    assert checked("hostile", 404) == ["unexpected status"]
    assert checked("absent", 404, name="never") == []
    assert checked("absent", 404) == ["wrong"]
    assert checked("stats", 500) == ["unexpected status"]
    assert checked("mapping", 503, retry_after="1") == ["unexpected status"]
    checked.is_disturbed = True
    assert checked("mapping", 503, retry_after="1") == []
    assert checked("mapping", 503) == ["503 without Retry-After"]
    assert checked("indices", 503) == ["unexpected status"]
    checked.is_disturbed = False
    red = {"services": {"elasticsearch": {"facts": {"status": "red"}}}}
    assert checked("health", 503, json.dumps(red).encode()) == []
    assert checked("health", 503, b'{"services": {"elasticsearch": {"facts": {}}}}') == ["unexpected status"]


@pytest.mark.parametrize(
    ("state", "age", "fits"),
    [
        *(("fresh", 10, True), ("fresh", 11, False)),
        *(("stale", 8, False), ("stale", 9, True), ("stale", 30, True), ("stale", 31, False)),
    ],
)
def test_age_and_state_fit(checked: Checked, state: str, age: int, *, fits: bool) -> None:
    """Fresh is up to the TTL, stale beyond it and up to the hard limit."""
    found = checked("mapping", 200, b'{"x":{"mappings":%b}}' % MAPPING, age=str(age), x_cache_state=state)
    assert found == ([] if fits else ["state and age don't fit"])


def test_the_list_has_what_is_always_there(checked: Checked, truth: Truth, clock: FakeClock) -> None:
    """Every name that is never deleted is listed, and each line is true at its age."""
    always = {name: index_state({"properties": {name: {"type": "ip"}}}) for name in (*STEADY, *LARGE)}
    aliases = {name: Alias(frozenset(indices)) for name, indices in STEADY_ALIASES.items()}
    change(truth, clock, 100.0, 100.0, **always, **aliases)
    lines: list[dict[str, Any]] = [
        {"name": name, "mapping_hash": index.mapping, "indices": [name], "age_seconds": 1.5}
        for name, index in always.items()
    ]
    lines += [
        {"name": name, "mapping_hash": None, "indices": sorted(alias.indices), "age_seconds": 1.5}
        for name, alias in aliases.items()
    ]
    assert checked("indices", 200, json.dumps({"names": lines}).encode()) == []
    assert checked("indices", 200, json.dumps({"names": lines[1:]}).encode()) == ["wrong"]
    lines[0]["mapping_hash"] = "other"
    assert checked("indices", 200, json.dumps({"names": lines}).encode()) == ["wrong"]


# The change feed


def changes(*told: tuple[int, str, str]) -> list[dict[str, Any]]:
    return [{"id": number, "index": index or None, "kind": kind} for number, index, kind in told]


def test_a_feed_has_each_change_once() -> None:
    """What is lacking, and what there is beyond, is said."""
    told = changes((1, "x", "created"), (3, "x", "changed"))
    assert missing_or_twice(told, told) is None
    assert missing_or_twice([], []) is None
    assert "without [3]" in str(missing_or_twice(told[:1], told))
    assert "beyond [3]" in str(missing_or_twice(told, told[:1]))
    assert missing_or_twice([*told, told[1]], told) is not None, "twice"


def test_a_feed_ends_with_the_truth(truth: Truth, clock: FakeClock) -> None:
    """The last change of an index that is there is none that removed it; after a gap nothing is known."""
    change(truth, clock, 1.0, 2.0, x=ONE, y=Alias(frozenset({"x"})))
    ends = changes((1, "x", "created"), (2, "y", "created"), (3, "y", "deleted"))
    assert untrue_ends(ends, ("x", "y", "z"), truth) == []
    assert untrue_ends([*ends, *changes((4, "y", "created"))], ("x", "y"), truth) == [
        "y: last created, and it is not there"
    ]
    deleted = [*ends, *changes((4, "x", "deleted"))]
    assert untrue_ends(deleted, ("x", "y"), truth) == ["x: last deleted, and it is there"]
    assert untrue_ends([*deleted, *changes((5, "", "gap"))], ("x", "y"), truth) == []


def test_rendered_as_elasticsearch_does() -> None:
    """Compact, `dynamic` and `_meta` before the fields, which are sorted: so a mapping is known by its hash."""
    mapping = {"properties": {"b": {"type": "ip"}, "a": {"type": "long"}}, "_meta": {"n": 1}, "dynamic": "strict"}
    body = b'{"dynamic":"strict","_meta":{"n":1},"properties":{"a":{"type":"long"},"b":{"type":"ip"}}}'
    assert rendered(mapping) == body
    assert index_state(mapping) == Index(mapping_hash(body))
