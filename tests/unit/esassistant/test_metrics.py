"""Places in a report become samples: which, with which labels, and that a wrong declaration is refused."""

import pytest

from esassistant.metrics import Kind, Metric, samples

REPORT: dict[str, object] = {
    "warm": True,
    "zero": 0,
    "unknown": None,
    "answers": {"hits_total": 7},
    "routes": {
        "/a": {"statuses": {"2xx": 3, "5xx": 1}},
        "/b": {"statuses": {}},
        "/c": {"statuses": None},
        "/d": None,
    },
}


def found(path: str, *labels: str, report: object = REPORT) -> dict[tuple[str, ...], object]:
    metric = Metric(Kind.GAUGE, "some", "Some.", path, labels)
    return dict(samples(metric, report))


@pytest.mark.parametrize(("path", "value"), [("warm", True), ("zero", 0), ("answers.hits_total", 7)])
def test_a_path(path: str, value: object) -> None:
    """Names separated by dots lead to one sample without labels; 0 and False are values like any other."""
    assert found(path) == {(): value}


def test_stars() -> None:
    """Each star stands for all keys at its place, which become the values of the labels, outermost first."""
    assert found("routes.*.statuses.*", "route", "status") == {("/a", "2xx"): 3, ("/a", "5xx"): 1}


def test_the_whole_report() -> None:
    """A star alone goes over a report that is itself by name, as that of the pools is."""
    assert found("*.in_use", "pool", report={"cache": {"in_use": 1}, "watch": {"in_use": 0}}) == {
        ("cache",): 1,
        ("watch",): 0,
    }


@pytest.mark.parametrize("path", ["unknown", "unknown.deeper", "absent", "answers.absent", "zero.deeper"])
def test_what_is_not_known_has_no_sample(path: str) -> None:
    """Null, missing, or below something that has no parts: no sample, where a 0 would claim to know."""
    assert found(path) == {}


def test_no_report_has_no_samples() -> None:
    """What isn't open, or has nothing to tell yet, reports None."""
    assert found("anything", report=None) == {}
    assert found("*", "label", report=None) == {}


def test_structures_are_values_too() -> None:
    """The value at a path may be a whole structure: a histogram's totals."""
    totals = {"sum_seconds": 0.5, "buckets": {"+Inf": 1}}
    assert found("durations", report={"durations": totals}) == {(): totals}


@pytest.mark.parametrize(("path", "labels"), [("a.*", ()), ("a", ("label",)), ("*.*", ("one",)), ("a*", ("label",))])
def test_one_label_for_each_star(path: str, labels: tuple[str, ...]) -> None:
    """A declaration with more stars than labels, or fewer, is refused with its name and path."""
    with pytest.raises(ValueError, match=r"metric some needs one label for each \* in "):
        Metric(Kind.COUNTER, "some", "Some.", path, labels)


def test_states_are_for_states() -> None:
    """The kind STATE says which states there are; no other kind may."""
    assert Metric(Kind.STATE, "some", "Some.", "state", states=("on", "off")).states == ("on", "off")
    with pytest.raises(ValueError, match="metric some: states are for the kind STATE alone"):
        Metric(Kind.STATE, "some", "Some.", "state")
    with pytest.raises(ValueError, match="metric some: states are for the kind STATE alone"):
        Metric(Kind.GAUGE, "some", "Some.", "state", states=("on",))
