"""A day of invented traffic of several shapes, judged all the while: no false alarm, and a true one at once."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from esassistant.resource import Health
from esassistant.windows import Got, Window
from healthapp.evidence import PING
from healthapp.findings import Trouble
from healthapp.usual import ENOUGH_CALLS, Usual, slow_from
from healthapp.verdict import judge
from tests.support.verdicts import NOW, SEARCHES, evidence

DAY = 86_400
STEP = 60
HOUR = 3_600
START = NOW.timestamp()


@dataclass(frozen=True)
class Shape:
    """Traffic: calls a second and how long one takes, in seconds, at a second of the day; and the share that fails."""

    rate: Callable[[int], float]
    seconds: Callable[[int, random.Random], float]
    ping: Callable[[int, random.Random], float] = lambda _, chance: chance.lognormvariate(math.log(0.004), 0.8)
    failing: float = 0.0


def office(at: int) -> float:
    """Busy from eight to eighteen o'clock, hardly asked in the night."""
    return 0.4 if 8 * HOUR <= at < 18 * HOUR else 0.02


SHAPES = {
    "office hours": Shape(office, lambda _, chance: chance.lognormvariate(math.log(0.02), 0.7)),
    "hardly ever": Shape(lambda _: 1 / 300, lambda _, chance: chance.uniform(0.01, 1.5)),
    "long tail": Shape(lambda _: 0.3, lambda _, chance: min(20.0, chance.lognormvariate(math.log(0.08), 1.2))),
    "slow by nature": Shape(lambda _: 0.3, lambda _, chance: chance.uniform(1.0, 1.9)),
    "now and then one fails": Shape(lambda _: 0.3, lambda *_: 0.02, failing=0.0005),
    "nightly batch": Shape(lambda at: 1.5 if at < HOUR else 0.2, lambda at, _: 3.0 if at < HOUR / 2 else 0.02),
    "slow pings, quick calls": Shape(lambda _: 0.3, lambda *_: 0.02, lambda _, chance: chance.uniform(0.0, 0.4)),
}


def lived(shape: Shape, day: range) -> set[tuple[Health | None, Trouble]]:
    """What the verdict said of anything in a day."""
    chance = random.Random(7)
    searches, pings, usual, said = Window(), Window(), {SEARCHES: Usual(), PING: Usual()}, set()
    due = 0.0
    for at in day:
        second = at % DAY
        due += shape.rate(second)
        while due >= 1:
            due -= 1
            got = Got.FAILURE if chance.random() < shape.failing else Got.ANSWER
            searches.ended(got, shape.seconds(second, chance), at)
        if at % 30 == 0:
            pings.ended(Got.ANSWER, shape.ping(second, chance), at)
        if at % STEP:
            continue
        now = START + at
        windows = {kind: window.report(at) for kind, window in ((SEARCHES, searches), (PING, pings))}
        known = {kind: one.seconds(now) for kind, one in usual.items()}
        if at % 60 == 0:
            for kind, window in windows.items():
                if window is not None and sum(window.minute.values()) >= (1 if kind == PING else ENOUGH_CALLS):
                    usual[kind] = usual[kind].with_minute(window.minute, now, slow_from(known[kind]))
        kinds = {} if windows[SEARCHES] is None else {SEARCHES: windows[SEARCHES]}
        verdict, _ = judge(evidence(kinds=kinds, ping=windows[PING], usual=known), NOW)
        said |= {(verdict.level, effect.trouble) for effect in verdict.effects}
    return said


@pytest.mark.parametrize("name", SHAPES)
def test_no_false_alarm(name: str) -> None:
    """A whole day of it is healthy; a batch of heavy queries is said, and nothing else is."""
    expected = {(Health.HEALTHY, Trouble.HEAVY_CALLS)} if name == "nightly batch" else set()
    assert lived(SHAPES[name], range(60, DAY + 60)) == expected


def test_a_true_alarm() -> None:
    """The cluster that becomes fifty times slower in the afternoon is told, of the same traffic."""
    slow = 16 * HOUR
    shape = Shape(
        lambda _: 1.0,
        lambda at, _: 1.0 if at >= slow else 0.02,
        lambda at, _: 0.4 if at >= slow else 0.004,
    )
    assert lived(shape, range(8 * HOUR, slow)) == set()
    assert lived(shape, range(8 * HOUR, slow + 120)) == {(Health.DEGRADED, Trouble.CLUSTER_SLOW)}
