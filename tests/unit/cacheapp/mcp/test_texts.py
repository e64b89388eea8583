"""What tools answer: within the budget whatever there is, with what was cut and what to do next."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.cache.cluster_fields import ClusterField, TypeTotal
from cacheapp.describe.tokens import count_tokens
from cacheapp.mcp.texts import cluster_away, field_line, findings_text, hits_text, name_missing, within
from cacheapp.queries.findings import Code, Finding, Severity

LONG = "a long text, " * 400


def finding(severity: Severity = Severity.ERROR, field: str | None = "chanel") -> Finding:
    return Finding("/query/term/chanel", Code.UNKNOWN_FIELD, severity, field, ("channel",), "No field has that name.")


def answered(*sources: Any, total: int | None = None, index: str = "orders", **more: Any) -> bytes:
    hits = [
        {"_index": index, "_id": str(number), "_score": None, "_source": source}
        for number, source in enumerate(sources)
    ]
    count = {"total": {"value": len(hits) if total is None else total, "relation": "eq"}}
    return json.dumps({"took": 3, "timed_out": False, "hits": {**count, "hits": hits}, **more}).encode()


def said_of(answer: bytes, budget: int, *warnings: Finding) -> str:
    """What is said of a search of one index."""
    return hits_text(answer, budget, "orders", 1, warnings)


@pytest.mark.parametrize(
    ("budget", "beyond", "expected"),
    [(100, 0, "a\nb\nc"), (100, 4, "a\nb\nc\n# 4 more things"), (1, 0, "# 3 more things"), (1, 4, "# 7 more things")],
)
def test_lines_within_a_budget(budget: int, beyond: int, expected: str) -> None:
    """What doesn't fit is counted."""
    assert within(["a", "b", "c"], budget, "things", beyond=beyond) == expected


def test_some_lines_fit() -> None:
    """As many as leave room for their count."""
    text = within(["one two three"] * 50, 60, "things")
    assert count_tokens(text) <= 60
    assert text.startswith("one two three\none")
    assert text.rpartition("\n")[2] == f"# {50 - text.count('one')} more things"


@pytest.mark.parametrize(("near", "said"), [(("orders",), " Did you mean orders?\n"), ((), "\n")])
def test_a_name_that_is_missing(near: tuple[str, ...], said: str) -> None:
    """What was probably meant, if anything, and the next step."""
    assert name_missing("There is none.", near).startswith(f"There is none.{said}Next: find_indices")


@pytest.mark.parametrize(
    ("found", "head", "next_step"),
    [
        ([], "Valid: nothing wrong found.", "Next: search."),
        ([finding()], "Not valid: 1 error.", "Next: mend"),
        ([finding(Severity.WARNING), finding(), finding()], "Not valid: 2 errors, 1 warning.", "Next: mend"),
        ([finding(Severity.WARNING)], "Valid, with 1 warning.", "Next: search."),
    ],
)
def test_findings(found: list[Finding], head: str, next_step: str) -> None:
    """A verdict, each finding as it is, errors first, and the next step."""
    first, *lines, last = findings_text(found, (), 1000).split("\n")
    assert (first, last.startswith(next_step)) == (head, True)
    severities = [json.loads(line)["severity"] for line in lines]
    assert severities == sorted(severities)
    if lines:
        assert json.loads(lines[0])["did_you_mean"] == ["channel"]


def test_what_is_not_checked() -> None:
    """Is said; what a finding has none of isn't."""
    text = findings_text([finding(field=None)], ("/query/script",), 1000)
    assert "not checked: /query/script" in text
    assert '"field"' not in text


def test_many_findings_fit() -> None:
    """Those that don't are counted."""
    text = findings_text([finding()] * 50, (), 300)
    assert count_tokens(text) <= 300
    assert " more findings\n" in text


def test_the_cluster_is_away() -> None:
    """Since when, where that is known; and what works."""
    at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert "since 05:06:07 UTC" in cluster_away("Away.", at)
    assert "since" not in cluster_away("Away.", None)
    assert "from memory" in cluster_away("Away.", None)


def test_hits() -> None:
    """A head, then a hit a line, without what says nothing."""
    head, *lines = said_of(answered({"a": 1}, {"a": 2}, total=57), 1000).split("\n")
    assert head == "57 hits in orders, took 3 ms."
    assert [json.loads(line) for line in lines] == [
        {"_id": "0", "_source": {"a": 1}},
        {"_id": "1", "_source": {"a": 2}},
    ]


def test_what_the_head_says() -> None:
    """More than counted, parts that are missing, hits that nobody counted."""
    partial = answered({}, timed_out=True, _shards={"total": 5, "failed": 2})
    assert "PARTIAL: timed out, 2 of 5 shards failed." in said_of(partial, 1000)
    found = json.loads(answered({}))
    found["hits"]["total"] = {"value": 10_000, "relation": "gte"}
    assert said_of(json.dumps(found).encode(), 1000).startswith("10,000+ hits in orders")
    del found["hits"]["total"]
    assert said_of(json.dumps(found).encode(), 1000).startswith("1 hits given in orders")


def test_nothing_is_found() -> None:
    """What to do next is said, with what may be wrong; not where only a number was asked for."""
    text = said_of(answered(), 1000, finding(Severity.WARNING))
    assert text.startswith("0 hits in orders, took 3 ms.\n# warning: {")
    assert "Next: describe" in text
    assert "Next" not in said_of(answered(total=5), 1000)


def test_hits_of_several_indices() -> None:
    """The names as they were asked for, with how many indices they stand for; each hit says which one it is of, though
    all that are shown are of one.
    """
    found = answered({}, {}, total=12, index="web-6")
    head, *lines = hits_text(found, 1000, "logs-web", 6).split("\n")
    assert head == "12 hits in logs-web (6 indices), took 3 ms."
    assert [json.loads(line)["_index"] for line in lines] == ["web-6", "web-6"]


def test_hits_of_what_memory_does_not_know() -> None:
    """Each says its index where it isn't known how many there are, or where there are more than memory knew."""
    head, line = hits_text(answered({}, index="web-6"), 1000, "logs-web", None).split("\n")
    assert (head, json.loads(line)["_index"]) == ("1 hit in logs-web, took 3 ms.", "web-6")
    found = json.loads(answered({}, {}))
    found["hits"]["hits"][1]["_index"] = "others"
    head, *lines = said_of(json.dumps(found).encode(), 1000).split("\n")
    assert (head, len(lines)) == ("2 hits in orders, took 3 ms.", 2)
    assert [json.loads(line)["_index"] for line in lines] == ["orders", "others"]


def test_long_names_are_cut() -> None:
    """Hits need the room."""
    head = hits_text(answered(), 1000, ",".join(["a-long-name"] * 500), 500).split("\n")[0]
    assert head.endswith("… (500 indices), took 3 ms.")
    assert len(head) < 160


def test_long_hits_are_cut() -> None:
    """Long texts first, so that some hits fit; what was cut is said, in place and at the end."""
    text = said_of(answered(*({"text": LONG, "tags": list(range(300))} for _ in range(10))), 1000)
    assert count_tokens(text) <= 1000
    assert "characters)" in text
    assert '"… (+270 more)"' in text
    assert text.count("\n{") >= 3
    assert "# cut: texts to 400 characters" in text
    assert " of 10 hits not shown" in text
    assert "_source" in text.rpartition("\n")[2]


def test_one_hit_at_least() -> None:
    """Of one that is too large for any budget, the beginning."""
    text = said_of(answered({f"field_{number}": {"x": LONG} for number in range(50)}), 150)
    assert count_tokens(text) <= 150
    assert '{"_id":"0"' in text
    assert "(cut)" in text


def test_aggregations() -> None:
    """They come first, whole if they fit; else with fewer buckets; else their beginning."""
    buckets = [{"key": f"key-{number}", "doc_count": number} for number in range(500)]
    found = answered({"a": 1}, aggregations={"c": {"buckets": buckets[:2]}})
    assert (
        said_of(found, 1000).split("\n")[1]
        == 'aggregations: {"c":{"buckets":' + json.dumps(buckets[:2], separators=(",", ":")) + "}}"
    )
    cut = said_of(answered({"a": 1}, aggregations={"c": {"buckets": buckets}}), 1000)
    assert count_tokens(cut) <= 1000
    assert "more)" in cut
    assert "# cut: lists of buckets to 10." in cut
    assert '{"_id":"0"' in cut
    names = {f"aggregation_{number}": {"value": number} for number in range(500)}
    only = said_of(answered(total=3, aggregations=names), 300)
    assert count_tokens(only) <= 300
    assert "# cut: the aggregations." in only


def test_large_answers_are_cut_quickly() -> None:
    """What can't fit isn't counted: long keys, which aren't cut, and many buckets."""
    key = answered({"k" * 3_000_000: 1})
    buckets = answered(aggregations={"c": {"buckets": [{"key": "k" * 300, "doc_count": 1}] * 10_000}})
    started_at = time.thread_time()
    assert all(count_tokens(said_of(one, 1000)) <= 1000 for one in (key, buckets))
    assert time.thread_time() - started_at < 0.4


def test_deep_values_end() -> None:
    """However deep they are."""
    deep: Any = "x"
    for _ in range(200):
        deep = {"a": [deep]}
    text = said_of(answered(deep), 1000)
    assert count_tokens(text) <= 1000


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=300),
            lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=8),
            max_leaves=30,
        ),
        max_size=12,
    ),
    st.integers(100, 2000),
)
def test_never_more_than_the_budget(sources: list[Any], budget: int) -> None:
    """Whatever is in the documents."""
    assert count_tokens(said_of(answered(*sources), budget)) <= budget


@pytest.mark.parametrize(
    ("field", "line"),
    [
        (ClusterField("a.b", ("ip",), 3, ("logs", "web"), 2), "a.b: ip — logs, web"),
        (ClusterField("a b", ("ip",), 9, ("1", "2", "3", "4", "5"), 12), '"a b": ip — 1, 2, 3, 4 and 8 more'),
        (
            ClusterField("a", ("ip", "long"), 3, ("logs",), 1, (TypeTotal("ip", 2), TypeTotal("long", 1))),
            "a: conflict: ip in 2, long in 1 indices — logs",
        ),
    ],
)
def test_fields(field: ClusterField, line: str) -> None:
    """A type, or how many indices have which; some families, and how many more."""
    assert field_line(field) == line
