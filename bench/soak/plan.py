"""What goes wrong in a soak, and when: random, but the same for the same seed. Never two things at once."""

import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """What goes wrong."""

    ES_REFUSED = "Elasticsearch refuses connections"
    ES_BLACKHOLED = "Elasticsearch is blackholed"
    ES_SLOW = "Elasticsearch is slow"
    ES_FAILING = "Elasticsearch answers 30 % with 503"
    ES_STOPPED = "Elasticsearch is stopped (SIGSTOP)"
    REDIS_BLACKHOLED = "Redis is blackholed"
    REDIS_REFUSED = "Redis refuses connections"
    REDIS_RESTARTED = "Redis is killed, and started again empty"
    INSTANCE_KILLED = "an instance is killed (SIGKILL), and started again"

    @property
    def is_of_elasticsearch(self) -> bool:
        return self.name.startswith("ES_")


@dataclass(frozen=True)
class Fault:
    """Begins so long after the start of the load. `instance`: which one is killed."""

    kind: Kind
    at: float
    seconds: float
    instance: int | None = None

    def __str__(self) -> str:
        which = "" if self.instance is None else f": number {self.instance}"
        return f"{self.at:6.1f} s, for {self.seconds:4.1f} s: {self.kind}{which}"


@dataclass(frozen=True)
class Pace:
    """How long faults and the quiet times between them are: at least, at most. `calm`: before the first and after the
    last.
    """

    fault: tuple[float, float]
    quiet: tuple[float, float]
    calm: float


USUAL = Pace(fault=(3.0, 12.0), quiet=(6.0, 20.0), calm=20.0)


def pace_for(seconds: float) -> Pace:
    """The usual one; in a run too short for it, one in which every kind of fault comes once."""
    kinds = len(Kind)
    usual = 2 * USUAL.calm + kinds * (sum(USUAL.fault) + sum(USUAL.quiet)) / 2
    if seconds >= usual:
        return USUAL
    factor = seconds / usual
    return Pace(
        fault=(USUAL.fault[0] * factor, USUAL.fault[1] * factor),
        quiet=(USUAL.quiet[0] * factor, USUAL.quiet[1] * factor),
        calm=USUAL.calm * factor,
    )


def plan(seed: int, seconds: float, pace: Pace, instances: int) -> tuple[Fault, ...]:
    """Faults for a run of `seconds`: every kind once, in random order, then every kind again, and so on. The first
    instance is never killed, so that one is seen from the start to the end.
    """
    chance = random.Random(seed)
    faults: list[Fault] = []
    at = pace.calm
    for kind in _kinds(chance):
        lasts = chance.uniform(*pace.fault)
        if at + lasts > seconds - pace.calm:
            return tuple(faults)
        target = chance.randrange(1, instances) if kind is Kind.INSTANCE_KILLED and instances > 1 else None
        if kind is not Kind.INSTANCE_KILLED or target is not None:
            faults.append(Fault(kind, at, lasts, target))
            at += lasts + chance.uniform(*pace.quiet)
    raise AssertionError("kinds never end")


def _kinds(chance: random.Random) -> Iterator[Kind]:
    while True:
        yield from chance.sample(list(Kind), len(Kind))
