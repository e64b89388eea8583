"""The fields of a name are ranked by a question, and without one by what fields are mostly asked for."""

from cacheapp.describe.entries import entries
from cacheapp.describe.fields import MAX_BUDGET_TOKENS, FieldIndex, _wholes
from cacheapp.mapping.fields import Field


def index(*names: str, **types: str) -> FieldIndex:
    """An index over fields that are keywords, or what is said of the last part of their names."""
    found = [Field(name, (types.get(name.rpartition(".")[2], "keyword"),), True, True, 1) for name in sorted(names)]
    return FieldIndex(found, 1)


def first(found: FieldIndex, question: str, limit: int = 3) -> list[str]:
    return [entry.path for entry in found.ranked(question, limit)]


def test_a_question_comes_first() -> None:
    """What has the words of a question comes before what is well known."""
    found = index("host.name", "redis.stats.keys.evicted", "redis.stats.keys.expired", "mysql.stats.x")
    assert first(found, "How many keys did redis evict?")[0] == "redis.stats.keys.evicted"


def test_what_a_question_is_about_by_its_words_alone() -> None:
    """Those that mean the same count, what is well known doesn't; nothing where nothing is near."""
    found = index("host.name", "order.total", "order.id", "zebra", "message")
    assert found.about_question("revenue") == ["order.total"]
    assert found.about_question("order total")[0] == "order.total"
    assert found.about_question("giraffe") == found.about_question("") == []


def test_without_a_question_names_that_are_known_come_first() -> None:
    """The names of many mappings, those at the top, and last words that tell something."""
    found = index("z.y.x.w", "host.name", "zebra", "a.b.c.name")
    assert first(found, "", 4) == ["host.name", "zebra", "a.b.c.name", "z.y.x.w"]


def test_the_time_is_always_there() -> None:
    """Whatever the question: `@timestamp`, or the times nearest to the top."""
    with_timestamp = FieldIndex(
        [Field("@timestamp", ("date",), True, True, 1), Field("colour", ("text",), True, False, 1)], 1
    )
    assert first(with_timestamp, "colour", 1) == ["@timestamp"]
    without = index("colour", "sent.at", "made", "deep.down.below.at", "x.at", "y.at", made="date", at="date")
    assert first(without, "colour", 4) == ["made", "x.at", "y.at", "colour"]


def test_what_tells_something_beside_what_is_asked_for_is_raised() -> None:
    """Who asks for the depth of queues needs the name of the queue, beside it or in the object around."""
    found = index("mq.queue.depth", "mq.queue.name", "mq.queue.zzz", "mq.id", "aa.name", "bb.id")
    ranked = first(found, "depth", 4)
    assert ranked[0] == "mq.queue.depth"
    assert set(ranked[1:3]) == {"mq.queue.name", "mq.id"}


def test_the_limit_is_held() -> None:
    """As many as there are, as many as asked for, or none."""
    found = index("a", "b", "c")
    assert [len(first(found, "a", limit)) for limit in (0, 2, 3, 9)] == [0, 2, 3, 3]
    assert first(index(), "a", 5) == []


def test_objects_are_counted_where_they_differ() -> None:
    """By their first part; where nearly all are in one object, by one part more."""
    flat = index("a.x", "a.y", "b.x", "b.y", "top")
    assert flat.totals == {"a": 2, "b": 2, "": 1}
    deep = index("k.a.x", "k.a.y", "k.b.x", "k.b.y", "k.top", "z")
    assert deep.totals == {"k.a": 2, "k.b": 2, "k": 1, "": 1}
    assert index().totals == {}


def test_a_whole_that_fits_no_budget_isn_t_kept() -> None:
    """More fields than any budget has tokens, or a text that is larger, are written in parts alone."""
    many = [Field(f"a{number}", ("ip",), True, True, 1) for number in range(MAX_BUDGET_TOKENS + 1)]
    assert _wholes(entries(many, 1)) == []
    assert len(index("a").wholes) == 2
    long = [Field(f"{'word' * 200}{number}", ("ip",), True, True, 1) for number in range(500)]
    assert _wholes(entries(long, 1)) == []


def test_its_size_is_estimated() -> None:
    """More fields take more."""
    assert index("a", "b").size_bytes > index("a").size_bytes > 0
