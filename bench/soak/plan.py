"""Plan what goes wrong in a soak, and when: at random, but always the same for the same seed. There are never two
faults at once.
"""

import enum
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """The kinds of faults."""

    ES_REFUSED = "Elasticsearch refuses connections"
    ES_BLACKHOLED = "Elasticsearch is blackholed"
    ES_SLOW = "Elasticsearch is slow"
    ES_FAILING = "Elasticsearch answers 30 % with 503"
    ES_STOPPED = "Elasticsearch is stopped (SIGSTOP)"
    REDIS_BLACKHOLED = "Redis is blackholed"
    REDIS_REFUSED = "Redis refuses connections"
    REDIS_RESTARTED = "Redis is killed, and started again empty"
    INSTANCE_KILLED = "an instance is killed (SIGKILL), and started again"
    NODE_KILLED = "one of several nodes is killed (SIGKILL), and started again"
    NODE_STOPPED = "one of several nodes is stopped (SIGSTOP)"
    NODE_REFUSED = "one of several nodes refuses connections"

    @property
    def is_of_elasticsearch(self) -> bool:
        """Whether it concerns the cluster as a whole, or a part of it."""
        return self.name.startswith(("ES_", "NODE_"))

    @property
    def is_of_one_node(self) -> bool:
        return self.name.startswith("NODE_")


def kinds_for(*, instances: int, nodes: int) -> tuple[Kind, ...]:
    """Return the kinds of faults that can happen with this number of instances and nodes. The first instance is never
    killed, so that one of them is observed from the start to the end. A single node only fails if there are others.
    """
    left_out = {Kind.INSTANCE_KILLED} if instances < 2 else set()
    return tuple(kind for kind in Kind if kind not in left_out and (nodes > 1 or not kind.is_of_one_node))


@dataclass(frozen=True)
class Fault:
    """A fault. `at`: the seconds from the start of the load; `instance`: the one that is killed."""

    kind: Kind
    at: float
    seconds: float
    instance: int | None = None

    def __str__(self) -> str:
        which = "" if self.instance is None else f": number {self.instance}"
        return f"{self.at:6.1f} s, for {self.seconds:4.1f} s: {self.kind}{which}"


@dataclass(frozen=True)
class Pace:
    """The shortest and longest time of faults, and of the quiet times between them. `calm`: the quiet time before the
    first fault and after the last.
    """

    fault: tuple[float, float]
    quiet: tuple[float, float]
    calm: float


USUAL = Pace(fault=(3.0, 12.0), quiet=(6.0, 20.0), calm=20.0)


def pace_for(seconds: float, kinds: int) -> Pace:
    """Return the usual pace; for a run that is too short for it, a faster one, in which each of `kinds` kinds of faults
    happens about once.
    """
    usual = 2 * USUAL.calm + kinds * (sum(USUAL.fault) + sum(USUAL.quiet)) / 2
    if seconds >= usual:
        return USUAL
    factor = seconds / usual
    return Pace(
        fault=(USUAL.fault[0] * factor, USUAL.fault[1] * factor),
        quiet=(USUAL.quiet[0] * factor, USUAL.quiet[1] * factor),
        calm=USUAL.calm * factor,
    )


def plan(seed: int, seconds: float, pace: Pace, *, instances: int, nodes: int) -> tuple[Fault, ...]:
    """Return the faults for a run of `seconds`: every kind once, in random order, then every kind again, and so on."""
    chance = random.Random(seed)
    faults: list[Fault] = []
    at = pace.calm
    for kind in _in_turn(kinds_for(instances=instances, nodes=nodes), chance):
        lasts = chance.uniform(*pace.fault)
        if at + lasts > seconds - pace.calm:
            return tuple(faults)
        target = chance.randrange(1, instances) if kind is Kind.INSTANCE_KILLED else None
        faults.append(Fault(kind, at, lasts, target))
        at += lasts + chance.uniform(*pace.quiet)
    raise AssertionError("kinds never end")


def _in_turn(kinds: Sequence[Kind], chance: random.Random) -> Iterator[Kind]:
    while True:
        yield from chance.sample(kinds, len(kinds))
