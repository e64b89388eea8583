"""What processes tell each other for the verdict, and the sum of it."""

import msgspec
import pytest

from esassistant.windows import Got, WindowReport
from healthapp.evidence import OpenBreaker, Told, callers_of, kinds_of, read_told, together
from tests.support.verdicts import SEARCHES, window

FAILING = window((1, 0.1, Got.FAILURE))


def test_it_survives_the_way_by_json() -> None:
    """What one process tells is read by another as it was."""
    told = Told(
        {SEARCHES: FAILING}, FAILING, {"default": OpenBreaker("a probe failed", 3.0)}, {"calls-fail searches": 9.0}
    )
    report = msgspec.json.decode(msgspec.json.encode({"verdict": {"told": told}}))
    assert read_told(report) == told


@pytest.mark.parametrize("report", [{}, {"verdict": None}, {"verdict": {}}, {"verdict": {"told": {"kinds": 7}}}])
def test_what_is_not_understood_is_as_if_untold(report: dict[str, object]) -> None:
    """A process of another version tells nothing, and breaks nothing."""
    assert read_told(report) is None


def test_kinds() -> None:
    """Pools and routes are kinds of calls; probes and the health address are not: their 503 is an answer."""
    kinds = kinds_of({"/a": FAILING, "/readyz": FAILING, "/api/health": FAILING}, {"default": {"search": FAILING}})
    assert list(kinds) == [SEARCHES, "route /a"]


def test_the_sum() -> None:
    """Windows add up; of breakers and troubles the one that lasts the longest counts."""
    one = Told({SEARCHES: FAILING}, FAILING, {"a": OpenBreaker("x", 3.0), "b": OpenBreaker("y", 1.0)}, {"t": 5.0})
    two = Told({SEARCHES: FAILING, "route /a": FAILING}, None, {"a": OpenBreaker("z", 9.0)}, {"t": 2.0, "u": 1.0})
    summed = together((one, two.older_by(1.0)))
    assert {kind: window.bad for kind, window in summed.kinds.items()} == {SEARCHES: 2, "route /a": 1}
    assert summed.ping == FAILING
    assert summed.breakers == {"a": OpenBreaker("z", 10.0), "b": OpenBreaker("y", 1.0)}
    assert summed.lasting == {"t": 5.0, "u": 2.0}
    assert together(()) == Told({}, WindowReport())


@pytest.mark.parametrize(
    ("kind", "callers"),
    [
        (SEARCHES, "searches"),
        ("pool logs other", "other calls to Elasticsearch"),
        ("route /api/indices/{name}/search", "searches"),
        ("route /api/mappings/{name}/fields", "mappings"),
        ("route /orders", "requests to /orders"),
    ],
)
def test_callers_have_names(kind: str, callers: str) -> None:
    """A kind of call is named as people speak of it."""
    assert callers_of(kind) == callers
