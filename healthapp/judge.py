"""Judges every two seconds how things are for callers, from what this process counted and what the others reported.

Each process judges the sum over all processes, so all come to the same verdict. One of them, the first by name, writes
to the database what must survive restarts.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from esassistant.clock import Clock, Sleep, monotonic, now_utc
from esassistant.deployment import DatabaseWork, ToldReport
from esassistant.elasticsearch.client import ELASTICSEARCH
from esassistant.errors import StoreUnavailable
from esassistant.metrics import Kind, Metric
from esassistant.resource import Handle, Health, ReportHandle
from esassistant.windows import WindowReport
from healthapp.evidence import (
    PING,
    YOUNG_SECONDS,
    Evidence,
    ServedMappings,
    Service,
    Told,
    Unwritable,
    read_told,
    together,
)
from healthapp.findings import MINUTE_SECONDS, OF_CALLS, SAID_ONLY, Trouble, typical_seconds
from healthapp.monitor import HealthMonitor, HealthReport
from healthapp.story import Story
from healthapp.usual import ENOUGH_CALLS, Usual, slow_from
from healthapp.verdict import NOTHING_KNOWN, Effect, judge

logger = logging.getLogger(__name__)

EVERY_SECONDS = 2.0
WRITE_EVERY_SECONDS = 10.0
USUAL_EVERY_SECONDS = 300.0
PING_EVERY_SECONDS = 5.0
"""How often checks are asked for while calls are slow or fail, so that it is soon known whether the cluster is the
cause.
"""
MAX_KINDS = 256
"""The most kinds of calls that are judged, and the most whose usual duration is kept."""


@dataclass(frozen=True, slots=True)
class VerdictReport:
    """The verdict, as it goes to other processes, to the status page and to metrics. `troubles`: 1 for each trouble
    that makes the verdict less than healthy, 0 for all others. `told`: what this process reports about its callers'
    calls.
    """

    level: Health | None
    sentence: str
    since: datetime | None
    effects: tuple[Effect, ...]
    next_step: str | None
    troubles: Mapping[str, int]
    typical_seconds: Mapping[str, float]
    usual_seconds: Mapping[str, float]
    told: Told


@dataclass(frozen=True, slots=True)
class Basis:
    """The numbers behind the verdict: the calls of all `processes` together by kind, the pings, and the usual durations
    in seconds. A usual duration is None if too few minutes are known.
    """

    processes: int = 1
    kinds: Mapping[str, WindowReport] = field(default_factory=dict)
    ping: WindowReport = field(default_factory=WindowReport)
    usual_seconds: Mapping[str, float | None] = field(default_factory=dict)


VERDICT_METRICS = (
    Metric(
        Kind.GAUGE,
        "verdict_trouble",
        "1 for what makes the verdict of the deployment less than healthy.",
        "troubles.*",
        ("trouble",),
    ),
    Metric(
        Kind.GAUGE,
        "verdict_typical_seconds",
        "What most calls of a kind take now, of the whole deployment.",
        "typical_seconds.*",
        ("kind",),
    ),
    Metric(Kind.GAUGE, "verdict_usual_seconds", "What calls of a kind usually take.", "usual_seconds.*", ("kind",)),
)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a judge gets its evidence. None of these functions waits.

    Attributes:
        told: What this process reports.
        others: What the other processes reported.
        mappings: What the mapping cache serves.
        unwritable: Why the store accepts no writes, or None.
    """

    told: Callable[[], Told]
    others: Callable[[], Mapping[str, ToldReport]]
    mappings: Callable[[], ServedMappings]
    unwritable: Callable[[], Unwritable | None]


class Judge:
    """Makes the verdict. One per process, owned by the registry; belongs to its loop. `keep_judging` and `keep_writing`
    are its background tasks.
    """

    def __init__(
        self,
        sources: Sources,
        monitor: HealthMonitor,
        database: DatabaseWork,
        instance: str,
        *,
        clock: Clock = monotonic,
        wall_clock: Callable[[], datetime] = now_utc,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._sources = sources
        self._monitor = monitor
        self._database = database
        self._instance = instance
        self._clock = clock
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._story = Story()
        self._verdict = NOTHING_KNOWN
        self._basis = Basis()
        self._told = Told()
        self._lasting: dict[str, float] = {}
        self._over_at: dict[str, float] = {}
        self._judged_at = clock()
        self._usual: dict[str, Usual] = {}
        self._minute = int(clock() // 60)
        self._asked_at = float("-inf")
        self._is_first = True
        self._differs = False
        self._write_failed = False
        monitor.on_report = self.look

    async def keep_judging(self) -> None:
        """Background task: judge every two seconds."""
        while True:
            self.look()
            await self._sleep(EVERY_SECONDS)

    def look(self) -> None:
        """Judge the present state, publish the verdict, and log what is worth a line."""
        now, at = self._clock(), self._wall_clock()
        own = self._sources.told()
        others = self._read_others()
        summed = together((own, *others))
        lasting = self._still_lasting(now, summed.lasting)
        if int(now // 60) != self._minute:
            self._minute = int(now // 60)
            self._note_minute(summed, at.timestamp())
        evidence = self._evidence(summed, 1 + len(others), at.timestamp())
        self._verdict, self._lasting = judge(evidence, at, lasting)
        ended = dict.fromkeys(lasting.keys() - self._lasting.keys(), now)
        self._over_at = {name: self._over_at[name] for name in evidence.over} | ended
        self._judged_at = now
        self._told = Told(own.kinds, own.ping, own.breakers, self._lasting)
        self._basis = Basis(evidence.processes, evidence.kinds, evidence.ping, evidence.usual)
        self._monitor.note_verdict(self._verdict)
        if (line := self._story.next_line(self._verdict, evidence.kinds, now, at)) is not None:
            logger.log(logging.WARNING if line.is_bad else logging.INFO, "%s", line.text)
        self._ask_for_ping(now)

    def report(self) -> VerdictReport:
        verdict, basis = self._verdict, self._basis
        troubling = {effect.trouble for effect in verdict.effects if effect.level is not Health.HEALTHY}
        typical = {kind: typical_seconds(window) for kind, window in basis.kinds.items()}
        return VerdictReport(
            verdict.level,
            verdict.sentence,
            verdict.since,
            verdict.effects,
            verdict.next_step,
            {trouble.value: int(trouble in troubling) for trouble in Trouble if trouble not in SAID_ONLY},
            {kind: seconds for kind, seconds in typical.items() if seconds is not None and seconds != float("inf")},
            {kind: seconds for kind, seconds in basis.usual_seconds.items() if seconds is not None},
            self._told,
        )

    def effects(self) -> tuple[Effect, ...]:
        """Return the effects of the present verdict."""
        return self._verdict.effects

    def level(self) -> Health | None:
        """Return the level of the present verdict; None if it can't be told yet."""
        return self._verdict.level

    def basis(self) -> Basis:
        return self._basis

    async def keep_writing(self) -> None:
        """Background task: read what was kept at the last run, then keep writing what is new. While the database is
        away, new transitions are not kept for the next run; nothing else suffers.
        """
        await self._restore()
        written_at = self._clock()
        while True:
            await self._sleep(WRITE_EVERY_SECONDS)
            if self._clock() - written_at >= USUAL_EVERY_SECONDS:
                written_at = self._clock()
                await self.write(with_usual=True)
            else:
                await self.write(with_usual=False)

    async def write(self, *, with_usual: bool) -> None:
        """Write the new transitions and the usual durations. Of all processes, only the first by name does this."""
        # imported here, as Django loads models only after the AppConfigs
        from healthapp.records import write_transitions, write_usual

        transitions = self._monitor.unwritten()
        if not self._is_first:
            return
        usual = dict(self._usual) if with_usual else {}

        def work() -> None:
            if transitions:
                write_transitions(transitions, self._instance)
            if usual:
                write_usual(usual)

        if transitions or usual:
            try:
                await self._database.run(work)
            except StoreUnavailable as error:
                if not self._write_failed:
                    logger.warning("changes of health are not kept: %s", error.operator_detail)
                self._write_failed = True
            else:
                self._write_failed = False

    async def _restore(self) -> None:
        from healthapp.records import load_transitions, load_usual  # here, as above

        try:
            transitions = await self._database.run(load_transitions, atomic=False)
            usual = await self._database.run(load_usual, atomic=False)
        except StoreUnavailable as error:
            logger.warning("what is usual for calls is learnt anew: %s", error.operator_detail)
            return
        self._monitor.restore(transitions)
        self._usual = {**usual, **self._usual}

    def _read_others(self) -> list[Told]:
        found = self._sources.others()
        self._is_first = all(self._instance < name for name in found)
        own = self._monitor.last()
        status = None if own is None else _cluster_status(msgspec.to_builtins({"health": {"services": own.services}}))
        self._differs = any(_cluster_status(other.report) not in (None, status) for other in found.values())
        told = ((other.age_seconds, read_told(other.report)) for other in found.values())
        return [one.older_by(age) for age, one in told if one is not None and age <= YOUNG_SECONDS]

    def _still_lasting(self, now: float, told: Mapping[str, float]) -> dict[str, float]:
        """Return for how long each trouble has lasted by now: the longest time that this process or another
        one knows.
        """
        own = {name: seconds + now - self._judged_at for name, seconds in self._lasting.items()}
        return {name: max(own.get(name, 0.0), told.get(name, 0.0)) for name in {**told, **own}}

    def _note_minute(self, summed: Told, now: float) -> None:
        windows = {**summed.kinds, PING: summed.ping or WindowReport()}
        for kind, window in windows.items():
            needed = 1 if kind == PING else ENOUGH_CALLS
            known = self._usual.get(kind)
            if sum(window.minute.values()) < needed or (known is None and len(self._usual) >= MAX_KINDS):
                continue
            usual = known or Usual()
            self._usual[kind] = usual.with_minute(window.minute, now, slow_from(usual.seconds(now)))

    def _evidence(self, summed: Told, processes: int, now: float) -> Evidence:
        over = {name: self._clock() - at for name, at in self._over_at.items()}
        kinds = dict(list(summed.kinds.items())[:MAX_KINDS])
        known = {kind: self._usual.get(kind) for kind in (*kinds, PING)}
        return Evidence(
            processes=processes,
            kinds=kinds,
            ping=summed.ping or WindowReport(),
            breakers=summed.breakers,
            services=_services(self._monitor.last()),
            mappings=self._sources.mappings(),
            unwritable=self._sources.unwritable(),
            usual={kind: None if usual is None else usual.seconds(now) for kind, usual in known.items()},
            changed={
                kind: (datetime.fromtimestamp(usual.changed_at, UTC), usual.changed_from)
                for kind, usual in known.items()
                if usual is not None and usual.changed_at is not None
            },
            over={name: seconds for name, seconds in over.items() if seconds < MINUTE_SECONDS},
        )

    def _ask_for_ping(self, now: float) -> None:
        """Ask for checks soon if calls fail or are slow, or if another process found the cluster in another status than
        this one. So the cause and the end of the trouble are known soon.
        """
        is_wanted = any(effect.trouble in OF_CALLS for effect in self._verdict.effects) or self._differs
        if is_wanted and now - self._asked_at >= PING_EVERY_SECONDS:
            self._asked_at = now
            self._monitor.check_soon()


VERDICT: Handle[Judge] = Handle("verdict")
VERDICT_REPORT: ReportHandle[VerdictReport] = ReportHandle("verdict")
BASIS_REPORT: ReportHandle[Basis] = ReportHandle("verdict_basis")


def _cluster_status(report: Any) -> str | None:
    """Return the status of the cluster in a process's report as JSON, or None if the report has none."""
    for name in ("health", "services", ELASTICSEARCH.name, "status"):
        report = report.get(name) if isinstance(report, Mapping) else None
    return report if isinstance(report, str) else None


def _services(report: HealthReport | None) -> dict[str, Service] | None:
    """Return the results of the checks, each with the time of its last transition."""
    if report is None:
        return None
    since: dict[str, datetime] = {}
    for transition in report.transitions:
        since.setdefault(transition.service, transition.at)
    return {name: Service(service, since.get(name)) for name, service in report.services.items()}
