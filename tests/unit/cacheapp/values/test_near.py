"""Which known value was probably meant, and when nothing is said."""

import pytest

from cacheapp.queries.findings import AskedValue, Code, Severity
from cacheapp.values.family_values import FieldValues, ValueCount
from cacheapp.values.known import KnownOfName
from cacheapp.values.near import near_value, value_findings

STATES = ("Delivered", "Shipped", "in_transit", "eu-1", "open")


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        *(("delivered", "Delivered"), ("DELIVERED", "Delivered"), ("Deliverd", "Delivered"), ("shiped", "Shipped")),
        *(("in transit", "in_transit"), ("In-Transit", "in_transit"), ("EU-1", "eu-1"), ("Opem", "open")),
    ],
)
def test_what_was_meant(value: str, meant: str) -> None:
    """Another case, another style, a slip of the pen."""
    assert near_value(value, STATES) == meant


@pytest.mark.parametrize("value", ["returned", "eu-2", "oven", "pen", "", "Shipment", "de-1", "transit"])
def test_nothing_near(value: str) -> None:
    """Other words, other numbers, short ones."""
    assert (near_value(value, STATES) or "open") == "open"
    assert near_value("eu-2", STATES) is near_value("pen", STATES) is near_value("Shipment", STATES) is None


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        *(("wbe", "web"), ("webb", "web"), ("wweb", "web"), ("ap", None), ("apps", "app"), ("appp", "app")),
        *(("wen", None), ("eb", None), ("AUT", None), ("v2a", None), ("ebw", None), ("b2bb", None), ("us", None)),
    ],
)
def test_short_values(value: str, meant: str | None) -> None:
    """Letters that are swapped, missing or too many are a slip; another letter may make another code."""
    assert near_value(value, ("web", "app", "phone", "AUS", "v1a", "b2b", "u")) == meant


def test_of_two_that_are_as_near_none_is_named() -> None:
    """Which was meant can't be told."""
    assert near_value("status1x", ("status1a", "status1b")) is None
    assert near_value("OPEN", ("open", "Open")) is None


def known(values: FieldValues, *, is_whole: bool = True) -> KnownOfName:
    return KnownOfName("orders", 60.0, 1_204, is_whole, {"status": values}, 0)


ALL = FieldValues("keyword", 0, tuple(ValueCount(state, 1) for state in STATES))


def asked(*values: str, ignores_case: bool = False) -> list[AskedValue]:
    return [AskedValue(f"/query/{value}", "state", "status", value, ignores_case) for value in values]


def test_a_warning_with_what_was_meant() -> None:
    """Never an error; it says of how many documents, and how old that is."""
    [finding] = value_findings(asked("delivered", "Shipped"), known(ALL))
    assert (finding.code, finding.severity) == (Code.UNKNOWN_VALUE, Severity.WARNING)
    assert (finding.path, finding.field, finding.did_you_mean) == ("/query/delivered", "state", ("Delivered",))
    assert finding.detail == "None of the 1,204 documents of orders had the value 'delivered' 1 min ago."


def test_false_alarms_are_worse_than_misses() -> None:
    """Nothing is said of a sample, of a field with more values, of another type, where case doesn't matter, or where
    what was meant is asked for too.
    """
    wrong = asked("delivered")
    more = FieldValues("keyword", 0, ALL.values, more=True)
    constant = FieldValues("constant_keyword", 0, ALL.values)
    assert value_findings(wrong, known(ALL, is_whole=False)) == []
    assert value_findings(wrong, known(more)) == value_findings(wrong, known(constant)) == []
    assert value_findings(asked("delivered", ignores_case=True), known(ALL)) == []
    assert value_findings(asked("delivered", "Delivered"), known(ALL)) == []
    assert value_findings(asked("returned"), known(ALL)) == []
    assert value_findings([AskedValue("", "x", "absent", "open")], known(ALL)) == []
