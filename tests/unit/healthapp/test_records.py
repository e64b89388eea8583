"""What health keeps in the database: bounded, and read back as it was; what can't be read is left out."""

from datetime import timedelta

import pytest
from django.db import connection

from esassistant.resource import Health
from healthapp.models import HealthTransition, KeptUsual
from healthapp.monitor import KEPT_TRANSITIONS, Transition
from healthapp.records import load_transitions, load_usual, write_transitions, write_usual
from healthapp.usual import Usual
from tests.support.verdicts import NOW

pytestmark = pytest.mark.django_db


def transition(number: int, reason: str | None = "why") -> Transition:
    return Transition(NOW + timedelta(seconds=number), "s", None, Health.DEGRADED, reason)


def test_transitions() -> None:
    """They come back newest first, on the clock of the process that reads them."""
    write_transitions([transition(0), transition(1, None)], "a:1")
    found = load_transitions()
    assert found == [
        Transition(NOW + timedelta(seconds=1), "s", None, Health.DEGRADED, None),
        Transition(NOW, "s", None, Health.DEGRADED, "why"),
    ]
    assert str(HealthTransition.objects.first()) == "2026-11-29 10:40:00 s degraded"


def test_they_are_bounded() -> None:
    """Old rows go, and no more are shown than a process keeps; rows that somebody edited are left out."""
    write_transitions([transition(number) for number in range(KEPT_TRANSITIONS + 20)], "a:1", kept=KEPT_TRANSITIONS + 5)
    assert HealthTransition.objects.count() == KEPT_TRANSITIONS + 5
    assert len(load_transitions()) == KEPT_TRANSITIONS
    HealthTransition.objects.update(after="nonsense", before="nonsense")
    assert load_transitions() == []


@pytest.mark.parametrize("date", ["nonsense", 7, b"x"])
def test_an_edited_date(date: str | int | bytes) -> None:
    """A date that is none takes no process down: what was kept is as if it weren't there."""
    write_transitions([transition(0)], "a:1")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE healthapp_healthtransition SET at = %s", [date])
    assert load_transitions() == []


def test_usual() -> None:
    """It is replaced as a whole, and a row that can't be read is as if it weren't there."""
    write_usual({"a": Usual({1: {2: 3}}), "b": Usual()})
    write_usual({"a": Usual({1: {2: 4}})})
    KeptUsual.objects.create(kind="c", usual="{]")
    assert load_usual() == {"a": Usual({1: {2: 4}})}
    assert str(KeptUsual(kind="a")) == "a"
