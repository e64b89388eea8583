"""What callers get: rows of all processes, those that failed most first."""

from esassistant.windows import Got as Answer
from healthapp.callers import Got, by_endpoint, by_pool, searches, together
from healthapp.judge import Basis
from tests.support.verdicts import window

QUICK = window(*((i, 0.01, Answer.ANSWER) for i in range(20)))
FAILING = window(*((i, 0.5, Answer.FAILURE) for i in range(3)), (5, 0.01, Answer.ANSWER))
PARTS = window((1, 2.0, Answer.PART), (2, 0.1, Answer.REFUSAL))
BASIS = Basis(
    2,
    {
        "pool default search": FAILING,
        "pool logs search": PARTS,
        "pool default other": QUICK,
        "route /api/mappings/{name}": QUICK,
        "route /api/mappings/{name}/fields": QUICK,
        "route /api/indices/{name}/search": FAILING,
        "route /api/fields": QUICK,
    },
    usual_seconds={"pool logs search": 0.1, "route /api/fields": None, "pool default other": 0.02},
)


def brief(row: Got) -> tuple[str, int, int, int, int]:
    return row.name, row.calls, row.bad, row.refused, row.parts


def test_all_requests() -> None:
    """Routes alone: a search that passes through a pool is counted once."""
    found = together(BASIS)
    assert brief(found) == ("all requests", 64, 3, 0, 0)
    assert found.bad_percent == 100 * 3 / 64
    assert found.slowest_seconds == 0.5
    assert found.median_seconds is not None
    assert found.most_seconds is not None


def test_searches() -> None:
    """Of all pools; what is usual is not told of several kinds together."""
    found = searches(BASIS)
    assert brief(found) == ("searches", 6, 4, 1, 1)
    assert found.usual_seconds is None
    assert searches(Basis(1, {"pool logs search": PARTS}, usual_seconds={"pool logs search": 0.1})).usual_seconds == 0.1


def test_by_endpoint() -> None:
    """Sorts of requests as people call them, the troubled ones first, then the busiest."""
    assert list(map(brief, by_endpoint(BASIS))) == [
        ("searches", 4, 3, 0, 0),
        ("mappings", 40, 0, 0, 0),
        ("/api/fields", 20, 0, 0, 0),
    ]


def test_by_pool() -> None:
    """Each kind of calls to Elasticsearch with what it usually takes."""
    assert [(*brief(row), row.usual_seconds) for row in by_pool(BASIS)] == [
        ("default: searches", 4, 3, 0, 0, None),
        ("logs: searches", 2, 1, 1, 1, 0.1),
        ("default: other calls", 20, 0, 0, 0, 0.02),
    ]


def test_nobody() -> None:
    """Without calls there are no rows, and no share."""
    assert (by_endpoint(Basis()), by_pool(Basis())) == ([], [])
    assert (together(Basis()).bad_percent, searches(Basis()).median_seconds) == (None, None)
