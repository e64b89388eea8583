"""The parts of validation, each alone: dates, query strings, lines, names, bounds."""

import json
import time
from typing import Any

import pytest

from cacheapp.queries import bucket_paths
from cacheapp.queries.dates import is_date
from cacheapp.queries.findings import MAX_FINDINGS, Code, pointer, shortened
from cacheapp.queries.known_fields import KnownField, KnownFields, MappingFields, matches_pattern, runtime_fields
from cacheapp.queries.positions import line_of
from cacheapp.queries.query_strings import Named, parse
from cacheapp.queries.suggestions import Names, nearest
from cacheapp.queries.synonyms import stem
from cacheapp.queries.validation import Prepared, validate
from cacheapp.queries.values import check_bounds, check_term
from tests.support.searches import prepared

HOSTILE_SECONDS = 20


@pytest.mark.parametrize(
    ("text", "form"),
    [
        *[
            (text, None)
            for text in ("2026", "2026-11", "2026-11-01", "2026-11-01T08", "1788000000000", "now", "now-1d/d")
        ],
        *[(text, None) for text in ("2026-11-01T08:15:30.123Z", "2026-11-01T08:15:30+01:00", "2026-11-01||+1M/d")],
        ("01.11.2026 08:15", "dd.MM.yyyy HH:mm"),
        ("20261101", "yyyyMMdd"),
        ("2026-11-01 o'clock", "yyyy-MM-dd 'o''clock'"),
        ("2026", "yyyy-MM-dd||yyyy"),
        ("7/1/26", "d/M/yy"),
        ("2026-11-01", "yyyy-MM-dd['T'HH:mm]"),
        ("anything", "EEE, d MMM yyyy"),
        ("anything", "strict_week_date"),
        ("anything", "yyyy["),
        ("1788000000", "epoch_second"),
    ],
)
def test_dates(text: str, form: str | None) -> None:
    """What Elasticsearch reads as a date of the format passes, and everything where that isn't sure."""
    assert is_date(text, form)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        *[
            (text, None)
            for text in ("yesterday", "2026-11-01 00:00:00", "2026-13-01", "now+2days", "2026||+1x", "01.11.2026")
        ],
        ("2026-11-01", "dd.MM.yyyy HH:mm"),
        ("2026", "yyyy-MM-dd"),
        ("01.11.2026", "epoch_second"),
    ],
)
def test_no_dates(text: str, form: str | None) -> None:
    """Texts of another form are no dates."""
    assert not is_date(text, form)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("plain words", []),
        ("title:lamp", [Named("title", ("lamp",))]),
        ("a\\ b:x", [Named("a b", ("x",))]),
        ('title:"floor lamp"~2^3', [Named("title")]),
        ("title:(a OR b)", [Named("title"), Named("title", ("a",)), Named("title", ("b",))]),
        ("price:>=5", [Named("price", ("5",), bounds=True)]),
        ('at:>"2026"', [Named("at")]),
        ("price:[1 TO *}", [Named("price", ("1", "*"), bounds=True)]),
        ("-title:lam* +x", [Named("title", (), has_pattern=True)]),
        ("_exists_:price AND *:*", [Named("price")]),
        ("host.\\*:a", [Named("host.*", ("a",))]),
        ("path:/a.*b/", [Named("path")]),
        ("na*me:x", []),
        ("a ^ b", []),
    ],
)
def test_query_strings(text: str, named: list[Named]) -> None:
    """The fields that a query string names, with the values that are compared."""
    parsed = parse(text)
    assert parsed.mistake is None
    assert list(parsed.named) == named


@pytest.mark.parametrize("text", ["(a", "a)", 'a "b', "a:", "(a: )", "a:b:c", "a:[1 2]", "a:[1 TO 2", '/aprice:>"x'])
def test_mistakes_in_query_strings(text: str) -> None:
    """What Lucene can't parse is told."""
    assert parse(text).mistake is not None


LINES = b'{\n "query": {\n  "bool": {"filter": [\n   {"a/b": "x\\"]"},\n   {"t": 1.5}\n  ]}},\n "size": true\n}'


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", 1),
        ("/query", 2),
        ("/query/bool/filter/0/a~1b", 4),
        ("/query/bool/filter/1/t", 5),
        ("/size", 7),
        ("/query/bool/nosuch/1", 3),
        ("/size/x", 7),
        ("/nosuch", 1),
    ],
)
def test_lines(path: str, line: int) -> None:
    """A JSON Pointer leads to the line on which its part stands, or as far as it leads."""
    assert line_of(LINES, path) == line


@pytest.mark.parametrize(
    ("pattern", "name", "does"),
    [
        ("a*", "abc", True),
        ("*c", "abc", True),
        ("a*b*c", "axbxc", True),
        ("a*b*c", "axc", False),
        ("abc", "abc", True),
        ("ab*bc", "abc", False),
        ("b*", "abc", False),
        ("*", "", True),
    ],
)
def test_patterns(pattern: str, name: str, *, does: bool) -> None:
    """`*` stands for any characters."""
    assert matches_pattern(pattern, name) is does


def test_names_of_the_language_are_guessed() -> None:
    """Another style, a synonym, near in spelling, in this order; nothing for what is like nothing, or very long."""
    among = ("query_string", "term", "terms", "match")
    assert nearest("queryString", among) == ("query_string",)
    assert nearest("equals", among, {"equals": ("term",)}) == ("term",)
    assert nearest("tremS", among)[0] == "terms"
    assert nearest("zzzzzzz", among) == nearest("x" * 1_000, among) == ()


def names(*paths: str) -> Names:
    return Names(KnownField(path, "keyword", {}) for path in paths)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("totalAmonut", "totalAmount"),
        ("total_amount", "totalAmount"),
        ("customer.city", "customer.address.city"),
        ("Grosse", "Größe"),
        ("motor7.vendor", "motor07.vendor"),
        ("descr", "description"),
        ("comments.author", "comment.writer"),
    ],
)
def test_fields_are_guessed(given: str, meant: str) -> None:
    """Misspelt, in another style, without a part, with other digits, in short, in other words."""
    among = names(
        *("totalAmount", "customer.address.city", "customer.address.zip", "Größe", "motor07.vendor", "motor17.vendor"),
        *("description", "comment.writer", "comment.at"),
    )
    assert among.like(given, lambda _: 1.0)[0] == meant
    assert among.like("x" * 1_000, lambda _: 1.0) == ()
    assert meant not in among.like(given, lambda field: float(field.path != meant))


def test_stems() -> None:
    """Words with their endings are one; short ones stay."""
    assert {stem(word) for word in ("rating", "ratings", "rated", "rates")} == {"rat"}
    assert stem("as") == "as"


def test_paths_of_buckets() -> None:
    """A path is followed through names, keys, numbers, and as generously as Elasticsearch does."""
    beside: dict[str, Any] = {
        "d": {"date_histogram": {}, "meta": {}, "aggs": {"b": {"stats": {}}, "p": {"percentiles": {}}}},
        "t": {"terms": {}, "aggregations": {"f": {"filter": {}}}},
    }
    for right in ("d>b.avg", "d.b", "d>_count", "t['a']>f>_count", "d>p.95", "t._bucket_count", "d>b", "d>p[95.0]"):
        assert bucket_paths.wrong_step(right, beside) is None
    assert bucket_paths.wrong_step("d>b.average", beside) == ("b.average", "d")
    assert bucket_paths.below(5) == {}
    assert bucket_paths.kind_of(5) is None


def test_suggested_paths() -> None:
    """Only whole paths that exist are suggested: never to who asks, nor through what has no buckets."""
    beside: dict[str, Any] = {
        "m": {"avg_bucket": {}},
        "day": {"date_histogram": {}, "aggs": {"b": {"sum": {}}, "c": {"cumulative_sum": {}}, "t": {"top_hits": {}}}},
        "s": {"terms": {}, "aggs": {"st": {"stats": {}}}},
        "unknown": {"new_one": {}},
    }
    assert bucket_paths.suggested("days>b", beside, "m")[0] == "day>b"
    assert bucket_paths.suggested("day>rev", beside, "m")[0] in ("day>b", "day>c")
    assert bucket_paths.suggested("s>st.average", beside, "m")[0] == "s>st.avg"
    assert bucket_paths.suggested("day/b", beside, "m")[0] == "day>b"
    assert bucket_paths.suggested("s['web']>sd.max", beside, "m")[0] == "s['web']>st.max"
    assert bucket_paths.suggested("x" * 1_000, beside, "m") == ()
    for wrong in ("days>b", "day>rev", "m>b", "rev", "m", "dai", "s>st>x", "unknown>b"):
        for one in bucket_paths.suggested(wrong, beside, "m"):
            assert bucket_paths.wrong_step(one, beside) is None
            assert one.partition(">")[0] in ("day", "s")
            assert ">" in one
    inside = beside["day"]["aggs"]
    assert bucket_paths.suggested("cc", {**inside, "d": {"derivative": {}}}, "d")[0] == "c"
    assert bucket_paths.suggested("bb", inside, None)[0] == "b"
    assert bucket_paths.suggested("count", {"m": {"derivative": {}}}, "m") == ("_count",)


def test_what_mappings_say() -> None:
    """Copies of nested objects, aliases of aliases, passthrough names, sub-fields that types add, growth."""
    fields = MappingFields(
        {
            "properties": {
                "deep": {
                    "type": "nested",
                    "include_in_parent": True,
                    "properties": {
                        "in": {"type": "nested", "include_in_parent": True, "properties": {"a": {"type": "ip"}}}
                    },
                },
                "one": {"type": "alias", "path": "two"},
                "two": {"type": "alias", "path": "real"},
                "lost": {"type": "alias", "path": "nowhere"},
                "real": {"type": "keyword"},
                "dims": {"type": "passthrough", "priority": 1, "properties": {"rack": {"type": "keyword"}}},
                "typed": {"type": "search_as_you_type"},
                "flat.name": {"type": "keyword"},
                "fixed": {"dynamic": "strict", "properties": {"below": {"properties": {}}}},
                "features": {"type": "rank_features"},
            },
            "runtime": {"looked": {"type": "lookup"}},
        }
    )
    inner = fields.fields["deep.in.a"]
    assert [fields.is_visible(inner, nested) for nested in ("deep.in", "deep", None, "other")] == [
        True,
        True,
        True,
        False,
    ]
    assert (fields.fields["one"].type, fields.fields["one"].target) == ("keyword", "real")
    assert fields.fields["lost"].type == "alias"
    assert fields.fields["rack"].target == "dims.rack"
    assert fields.get("typed._index_prefix") is not None
    assert fields.get("features.any") is not None
    assert fields.get("flat") is not None
    assert fields.get("typed.nosuch") is None
    assert (fields.can_grow_at("a.b"), fields.can_grow_at("fixed.below.c")) == (True, False)
    assert not fields.fields["looked"].is_searchable
    assert not fields.fields["looked"].has_doc_values
    assert runtime_fields([]) == {}


def test_types_that_differ() -> None:
    """Over several indices: a field that is missing in some is no finding, unless they refuse the search; types that
    differ are a warning that says in how many.
    """
    several = prepared(
        {"properties": {"a": {"type": "long"}, "only": {"type": "keyword"}}},
        {"properties": {"a": {"type": "keyword"}}},
    )
    assert validate(several, {"query": {"term": {"only": "x"}}}).findings == ()
    for body in (
        {"sort": ["only"]},
        {"sort": ["a"]},
        {"query": {"range": {"a": {"gte": "1"}}}},
        {"aggs": {"x": {"avg": {"field": "a"}}}},
    ):
        (finding,) = validate(several, body).findings
        assert finding.severity.value == "warning"
    assert "keyword in 1 of 2 indices" in finding.detail
    assert finding.code is Code.TYPE_CONFLICT


def test_values_where_types_differ() -> None:
    """What is wrong with a value is said with the number of indices where it is so."""
    several = prepared(
        {"properties": {"a": {"type": "long"}, "b": {"type": "boolean"}, "d": {"type": "date"}, "n": {"type": "long"}}},
        {
            "properties": {
                "a": {"type": "keyword"},
                "b": {"type": "text"},
                "d": {"type": "date", "format": "yyyy"},
                "n": {"type": "long"},
            }
        },
    )
    for field, value, said in (
        ("a", "delivered", "'delivered' is no number, and the field is long in 1 of 2 indices."),
        ("b", "perhaps", "'perhaps' is no boolean: use true or false. The field is boolean in 1 of 2 indices."),
        ("d", "2026-01-01", "'2026-01-01' is no date of the format yyyy. So it is in 1 of 2 indices."),
        ("n", "many", "'many' is no number, and the field is long."),
    ):
        (finding,) = validate(several, {"query": {"term": {field: value}}}).findings
        assert (finding.code, finding.detail) == (Code.BAD_VALUE, said)
        assert finding.severity.value == ("error" if field == "n" else "warning")


@pytest.mark.parametrize(
    ("kind", "value", "code"),
    [
        ("long", True, Code.BAD_VALUE),
        ("long", 2**80, Code.OUT_OF_RANGE),
        ("unsigned_long", -1, Code.OUT_OF_RANGE),
        ("half_float", 1e6, Code.OUT_OF_RANGE),
        ("byte", 128, Code.OUT_OF_RANGE),
        ("long", "5.0", None),
        ("long", "1e400", None),
        ("double", "NaN", None),
        ("date", True, Code.BAD_VALUE),
        ("date", 5, None),
        ("ip", 5, Code.BAD_VALUE),
        ("ip", "10.0.0.0/8", None),
        ("ip", "10.0.0.0/999", Code.BAD_VALUE),
        ("ip_range", "10.0.0.0/8", Code.BAD_VALUE),
        ("boolean", "", None),
        ("integer_range", "x", Code.BAD_VALUE),
        ("date_range", "x", Code.BAD_VALUE),
        ("keyword", {"a": 1}, None),
        ("geo_point", "x", None),
        ("text", 5, None),
    ],
)
def test_values(kind: str, value: object, code: Code | None) -> None:
    """A value that can't be of the type, or that no document can have."""
    complaint = check_term(KnownField("a", kind, {}), value)
    assert (complaint.code if complaint else None) is code


def test_bounds() -> None:
    """Each type's bounds are its own; what is no plain value is left alone."""
    for kind, bound in (("ip", "x"), ("long", "x"), ("boolean", "x"), ("date_range", "x")):
        assert check_bounds(KnownField("a", kind, {}), {"gte": bound}, None) is not None
    right: list[tuple[str, Any]] = [("ip", "::1"), ("long", []), ("keyword", "x"), ("date", 1788000000000)]
    for kind, bound in right:
        assert check_bounds(KnownField("a", kind, {}), {"gte": bound}, None) is None
    assert check_term(KnownField("a", "keyword", {"ignore_above": "x"}), "long") is None
    assert check_term(KnownField("a", "text", {"analyzer": "mine"}), "A b") is None


def test_texts_are_bounded() -> None:
    """Callers' names are cut, and steps of a pointer escaped."""
    assert len(shortened("x" * 9_999)) == 201
    assert pointer("/a", "b/c~d") == "/a/b~1c~0d"
    assert pointer("/a", 3) == "/a/3"


def nested_bodies(depth: int) -> dict[str, Any]:
    query: dict[str, Any] = {"term": {"nosuch": 1}}
    for _ in range(depth):
        query = {"bool": {"filter": [query]}}
    return {"query": query}


def test_hostile_bodies_end() -> None:
    """Deep, wide, and full of names that are like none: it ends, with a bounded answer, and what wasn't looked at is
    named.
    """
    mapping = {"properties": {f"field_{number}_of_many": {"type": "keyword"} for number in range(2_000)}}
    fields = prepared(mapping)
    started_at = time.thread_time()
    deep = validate(fields, nested_bodies(200))
    wide = validate(
        fields, {"query": {"bool": {"should": [{"term": {f"fild_{n}_of_mayn": 1}} for n in range(30_000)]}}}
    )
    stars = validate(fields, {"query": {"multi_match": {"query": "a", "fields": [f"{n}*" * 50 for n in range(500)]}}})
    dots = validate(fields, {"query": {"bool": {"should": [{"term": {f"{'a.' * 30_000}{n}": 1}} for n in range(50)]}}})
    words = validate(fields, {"query": {"query_string": {"query": "x:" * 20_000 + "(" * 20_000}}})
    assert deep.not_checked
    assert len(wide.findings) == MAX_FINDINGS
    assert wide.not_checked
    assert len(stars.findings) <= MAX_FINDINGS
    assert words is not None
    assert len(dots.findings) == MAX_FINDINGS
    assert time.thread_time() - started_at < HOSTILE_SECONDS


DATES_AND_MORE = {
    "properties": {
        "at": {"type": "date"},
        "free": {"type": "flattened"},
        "many": {"type": "long"},
        "where": {"type": "ip"},
        "text": {"type": "text"},
    }
}


def hostile_texts() -> dict[str, dict[str, Any]]:
    """Bodies with texts that take quadratic or exponential time where two neighbours of a pattern match the same."""

    def between(form: str, text: str) -> dict[str, Any]:
        return {"query": {"range": {"at": {"gte": text, "format": form}}}}

    def to_bucket(path: str) -> dict[str, Any]:
        return {"aggs": {"a": {"terms": {"field": "many"}}, "b": {"avg_bucket": {"buckets_path": path}}}}

    return {
        "parts of a date": between("dM" * 30, "1" * 90 + "x"),
        "parts that may be missing": between("[d-]" * 30, "1-" * 15 + "x"),
        "brackets within brackets": between("[" * 20_000 + "d" + "]" * 20_000, "x"),
        "a long format": between("MM-" * 20_000, "x"),
        "digits": {"query": {"term": {"many": "1" * 60_000 + "x"}}},
        "hexadecimal digits": {"query": {"term": {"many": "0x" + "a" * 60_000 + "\n"}}},
        "signs of sub-fields": {"query": {"term": {"#" * 60_000 + ".": 1}}},
        "keys of buckets": to_bucket("[" * 60_000 + "."),
        "keys with dots": to_bucket("[." * 30_000),
    }


@pytest.mark.parametrize("kind", hostile_texts())
def test_hostile_texts_end(kind: str) -> None:
    """However a text is made, looking at it takes time in proportion to its length."""
    fields, body = prepared(DATES_AND_MORE), hostile_texts()[kind]
    started_at = time.thread_time()
    assert len(validate(fields, body).findings) <= 2
    assert time.thread_time() - started_at < 2


@pytest.mark.parametrize("levels", [450, 2_000])
def test_what_is_nested_deeply(levels: int) -> None:
    """Whatever can be nested is read to a bounded depth, in which a parser may go further than we."""
    aggs: dict[str, Any] = {"last": {"terms": {"field": "many", "order": {"nosuch": "asc"}}}}
    sort: dict[str, Any] = {"path": "nosuch"}
    source: Any = "nosuch"
    for number in range(levels):
        aggs = {f"a{number}": {"terms": {"field": "many", "order": {"nosuch": "asc"}}, "aggs": aggs}}
        sort = {"path": "nosuch", "nested": sort}
        source = {"includes": source}
    body = {"aggs": aggs, "sort": [{"many": {"nested": sort}}], "_source": source}
    assert validate(prepared(DATES_AND_MORE), body).not_checked


@pytest.mark.parametrize(
    "value", ["10.0.0.0/²", "10.0.0.0/٣", "10.0.0.0/" + "9" * 9_999, "0x", "²", "१", "1e999", "nan"]
)
def test_strange_values(value: str) -> None:
    """What Python takes for digits, and Elasticsearch doesn't, is no error of ours."""
    for field in ("where", "many", "at", "text"):
        assert len(validate(prepared(DATES_AND_MORE), {"query": {"term": {field: value}}}).findings) <= 1


@pytest.mark.parametrize(
    ("step", "key"),
    [("days", ""), ("days[a]", "[a]"), ("d[a][b]", "[b]"), ("d[[b]", "[[b]"), ("d]", ""), ("[]", "[]"), ("d[a]x", "")],
)
def test_the_key_of_a_bucket(step: str, key: str) -> None:
    """It begins with the first bracket after all other keys, and ends the step."""
    wrong = bucket_paths.wrong_step(
        f"{step}>x", {step.removesuffix(key): {"terms": {"field": "a"}, "aggs": {"x": {"avg": {}}}}}
    )
    assert wrong is None


@pytest.mark.parametrize(
    "body", [None, 5, "x", [], {"query": 5}, {"aggs": {"a": {"terms": 5}}}, {"sort": None}, {"knn": 5}]
)
def test_strange_bodies(body: object) -> None:
    """Whatever the body is, there is an answer."""
    assert validate(prepared({}), body).valid is (body == {"sort": None} and False)


def test_without_mappings() -> None:
    """A name without any index has no unknown fields."""
    assert validate(Prepared(KnownFields([])), {"query": {"term": {"a": 1}}}).findings == ()
    assert json.dumps({}) == "{}"
