"""The demand model of a process: it notes who asks for what, exchanges that through the store, and chooses what to
gather.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b

from cacheapp.demand.askers import ASKER, Asker
from cacheapp.demand.demand import Asks, Demand
from cacheapp.demand.exchange import SHARED, Exchanged, Seen, exchanged
from cacheapp.demand.first_reads import first_indices
from cacheapp.demand.policy import WARM_SECONDS, Known, Why, choose
from cacheapp.demand.reasons import reason
from cacheapp.demand.state import KEPT_SECONDS, DemandState
from cacheapp.demand.warmed import SHADOW, Fate
from cacheapp.reports import DemandReport, ShadowReport, WarmedFamily
from cacheapp.state.clusters import ClusterId
from cacheapp.state.family_names import FamilyNames, NamedFamily
from cacheapp.state.readings import Listing
from cacheapp.state.snapshot import Snapshot
from esassistant.advice import percent
from esassistant.clock import Clock, monotonic
from esassistant.config.model import Predict
from esassistant.errors import StoreUnavailable
from esassistant.resource import Handle
from esassistant.shared_values import SharedValues

logger = logging.getLogger(__name__)

MAX_PENDING = 1_000
"""How many different names (for each kind of caller) are counted between two exchanges."""
SHOWN_FAMILIES = 20
FIRST_READ_SECONDS = 2.0
"""How long the first pass waits for what the store knows. After that it reads mappings in any order."""


class DemandLearner:
    """The demand model of a process. One per process, owned by the registry; used only on its event loop.

    A background task calls `exchange`.
    """

    def __init__(
        self,
        store: SharedValues,
        snapshot: Callable[[], Snapshot],
        cluster: Callable[[], ClusterId],
        mode: Predict,
        *,
        ages: Callable[[], Mapping[str, float]],
        is_gathered: Callable[[NamedFamily], bool],
        clock: Clock = monotonic,
        max_pending: int = MAX_PENDING,
    ) -> None:
        """Make it.

        Args:
            ages: Returns the ages in seconds of the families' values, for families that have some.
            is_gathered: Returns whether values of a family are gathered.
        """
        self._store, self._snapshot, self._cluster, self.mode = store, snapshot, cluster, mode
        self._ages, self._is_gathered = ages, is_gathered
        self._clock, self._max_pending = clock, max_pending
        self._families = FamilyNames()
        self._pending: dict[tuple[str, Asker], list[float]] = {}
        self._uncounted_total = 0
        self._demand = Demand(DemandState())
        self._exchanged_at: float | None = None
        self._store_now = 0.0
        self._fates: Counter[Fate] = Counter()
        self._examples_total = 0
        self._refused: str | None = None

    def note(self, name: str) -> None:
        """Count that a name is asked for. Takes about a microsecond, because every request does it."""
        now, key = self._clock(), (name, ASKER.get())
        pending = self._pending.get(key)
        if pending is not None:
            pending[1] = now
            pending[2] += 1
        elif len(self._pending) < self._max_pending:
            self._pending[key] = [now, now, 1]
        else:
            self._uncounted_total += 1

    async def exchange(self) -> None:
        """Share what was counted since the last exchange, and take over all that is shared.

        Raise `StoreUnavailable` if the store fails. In that case, and if this call is cancelled, what was counted is
        kept for the next exchange.
        """
        snapshot, now = self._snapshot(), self._clock()
        taken, self._pending = self._pending, {}
        seen = Seen(
            self._cluster(),
            self.mode,
            tuple(self._asks(taken, snapshot, now)),
            self._mappings(snapshot),
            self._ages(),
            self._gathered_families(taken, snapshot),
        )
        try:
            found = await self._store.change((SHARED,), partial(exchanged, seen=seen), KEPT_SECONDS)
        except (StoreUnavailable, asyncio.CancelledError):
            for key, pending in self._pending.items():  # these were noted meanwhile, after what was taken
                before = taken.get(key)
                taken[key] = pending if before is None else [before[0], pending[1], before[2] + pending[2]]
            self._pending = dict(list(taken.items())[: self._max_pending])
            raise
        self._take_over(found)

    def choose(self, ages: Mapping[str, float], *, room_for_new: bool) -> Mapping[str, Why]:
        """Return the families whose values are to be gathered and why, in the order in which to gather them.

        `ages`: the ages of the values that are known, and of families that were left out. Families are named as by
        `FamilyNames`.
        """
        now, store_now = self._clock(), self._now()
        waiting = self._waiting(now)
        families = self._demand.state.families

        def known(name: str) -> Known:
            family, asked = families.get(name), waiting.get(name)
            age = ages.get(name)
            if family is None:
                named = self._families.of_family(name, self._snapshot())
                return Known(asked or 0.0, age, _calls(named))
            since = store_now - family.asked_at
            is_cold = age is None or age >= WARM_SECONDS
            chance = self._demand.chance(name, store_now) if is_cold and self.mode is Predict.MODEL else None
            return Known(since if asked is None else min(asked, since), age, family.calls, chance)

        return choose(self.mode, {**families, **waiting}, known, room_for_new=room_for_new)

    async def first_indices(self, listing: Listing) -> list[str]:
        """Return the indices that a process without any mappings reads first: those of names that were asked for since
        the start, then those of families by how likely they are to be asked for. Empty while the model is off: any
        order will do.
        """
        if self.mode is Predict.OFF:
            return []
        asked = [name for name, _ in reversed(self._pending)]
        if self._exchanged_at is None:
            try:
                async with asyncio.timeout(FIRST_READ_SECONDS):
                    await self.exchange()
            except (StoreUnavailable, TimeoutError):
                logger.debug("mappings are read without knowing what was asked for before")
        return first_indices([*asked, *self.ranked()], listing)

    def ranked(self) -> list[str]:
        """Return the known families, the likeliest first: by the model's chance, or, with the rule, by the latest
        ask.
        """
        families, now = self._demand.state.families, self._now()
        if self.mode is Predict.MODEL:
            return sorted(families, key=lambda name: (-self._demand.chance(name, now), name))
        return sorted(families, key=lambda name: (-families[name].asked_at, name))

    def report(self) -> DemandReport:
        state = self._demand.state
        return DemandReport(
            mode=self.mode.value,
            families=len(state.families),
            learning_seconds=round(self._now() - state.began_at, 3) if state.began_at else None,
            examples_total=self._examples_total,
            examples_ever=state.examples,
            asked_percent=percent(state.asked, state.examples),
            skill_percent=_skill(state),
            uncounted_total=self._uncounted_total,
            fates={fate.value: self._fates[fate] for fate in Fate},
            shadow={mode.value: _shadow(state, place) for place, mode in enumerate(SHADOW)},
            warmed=tuple(self._warmed()),
            refused_state=self._refused,
        )

    def _take_over(self, found: Exchanged) -> None:
        self._demand = Demand(found.state)
        self._store_now, self._exchanged_at = found.now, self._clock()
        self._fates.update(found.fates)
        self._examples_total += found.examples
        if found.refused is not None:
            self._refused = found.refused
            logger.info("the demand model begins anew, as what it had learnt can't be used: %s", found.refused)

    def _now(self) -> float:
        """Return the clock of the store, as far as it is known."""
        return self._store_now + (0.0 if self._exchanged_at is None else self._clock() - self._exchanged_at)

    def _asks(self, taken: Mapping[tuple[str, Asker], list[float]], snapshot: Snapshot, now: float) -> list[Asks]:
        """Return what was counted, by family, with ages instead of times."""
        found: dict[str, Asks] = {}
        for (name, asker), (first, last, count) in taken.items():
            family = self._families.find(name, snapshot)
            if family is None or family.name.startswith("."):
                continue
            before = found.get(family.name, Asks(family.name, 0.0, now, 0, calls=_calls(family)))
            found[family.name] = Asks(
                family.name,
                max(before.first_at, now - first),
                min(before.last_at, now - last),
                before.count + int(count),
                before.persons + (int(count) if asker is Asker.PERSON else 0),
                before.agents + (int(count) if asker is Asker.AGENT else 0),
                _calls(family),
            )
        return list(found.values())

    def _mappings(self, snapshot: Snapshot) -> dict[str, str]:
        """Return a hash of the mappings of each known family."""
        found = {}
        for name in self._demand.state.families:
            family = self._families.of_family(name, snapshot)
            if family is not None:
                hashes = sorted(
                    {snapshot.indices[one].mapping_hash for one in family.indices if one in snapshot.indices}
                )
                found[name] = blake2b("".join(hashes).encode(), digest_size=6).hexdigest()
        return found

    def _gathered_families(self, taken: Mapping[tuple[str, Asker], list[float]], snapshot: Snapshot) -> frozenset[str]:
        """Return the families whose values are gathered, among those that are known or were asked for."""
        of_names = (self._families.find(name, snapshot) for name, _ in taken)
        of_families = (self._families.of_family(name, snapshot) for name in self._demand.state.families)
        return frozenset(
            family.name for family in (*of_names, *of_families) if family is not None and self._is_gathered(family)
        )

    def _waiting(self, now: float) -> dict[str, float]:
        """Return the families that were asked for since the last exchange, and how many seconds ago."""
        found: dict[str, float] = {}
        snapshot = self._snapshot()
        for (name, _), (_, last, _) in self._pending.items():
            family = self._families.find(name, snapshot)
            if family is not None:
                found[family.name] = min(found.get(family.name, now - last), now - last)
        return found

    def _warmed(self) -> list[WarmedFamily]:
        """Return the families whose values are gathered, those that were asked for last first."""
        state, now = self._demand.state, self._now()
        gathered = [(family.asked_at, name) for name, family in state.families.items() if family.values is not None]
        rows = []
        for _, name in sorted(gathered, reverse=True)[:SHOWN_FAMILIES]:
            family = state.families[name]
            values = family.values
            assert values is not None  # only such families are in `gathered`
            rows.append(
                WarmedFamily(
                    family=name,
                    chance_percent=round(100 * self._demand.chance(name, now), 1),
                    is_warm=now < values.gathered_at + WARM_SECONDS,
                    useful_total=values.useful,
                    in_vain_total=values.in_vain,
                    late_total=values.late,
                    missed_total=values.missed,
                    reason=reason(self._demand, name, now, self.mode),
                )
            )
        return rows


DEMAND: Handle[DemandLearner] = Handle("demand")


def _calls(family: NamedFamily | None) -> int:
    """Return how many calls it takes to gather the values of a family: two for an alias, because its filter is read
    first.
    """
    return 2 if family is not None and family.is_alias else 1


def _skill(state: DemandState) -> float | None:
    """Return by how many percent the model's squared error is smaller than that of always expecting the usual rate;
    None if it is too early to say.
    """
    if not state.base_error:
        return None
    return round(100 * (1 - state.squared_error / state.base_error), 1)


def _shadow(state: DemandState, place: int) -> ShadowReport:
    tally = state.shadow[place]
    return ShadowReport(tally.calls, tally.asks, tally.warm, percent(tally.warm, tally.asks))
