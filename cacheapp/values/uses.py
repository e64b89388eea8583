"""Use counts: how often searches and validations name which fields, by family, for the ranking of descriptions.

The counts decay, so that recent uses count more. They are bounded everywhere: the number of families, the number of
fields of each, and what one process can add to a field, so that one caller can't outweigh all others.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping

import msgspec

from cacheapp.state.clusters import ClusterId
from esassistant.shared_values import MAX_VALUE_BYTES, Values

SHARED = "field-uses"
"""The name of the store's value in which processes share them."""
HALF_LIFE_SECONDS = 7 * 86_400.0
KEPT_SECONDS = 30 * 86_400.0
LEAST_USES = 0.05
MAX_FAMILIES = 100
MAX_FIELDS = 40
"""How many fields of each family are kept: the most used ones."""
MAX_ADDED = 10.0
"""The most that a field gains in one exchange by one process, however often it was used."""
MAX_USES = 1_000.0
"""The highest count of a field."""
MAX_NAME_CHARACTERS = 200


class FamilyUses(msgspec.Struct, frozen=True):
    """How much the fields of a family were used, as of the moment `at_ms` by the clock of the store."""

    at_ms: int
    fields: Mapping[str, float]


class Uses(msgspec.Struct, frozen=True):
    """All use counts of one cluster, by family."""

    cluster: ClusterId = ClusterId("", "")
    families: Mapping[str, FamilyUses] = {}


NO_USES = Uses()
_decoder = msgspec.json.Decoder(Uses)


def added(
    there: Values, now_ms: int, cluster: ClusterId, counts: Mapping[str, Mapping[str, int]]
) -> tuple[Values, Uses]:
    """Add the counts of a process, by family and field, to the shared ones in `there`. Return what is to be stored
    (nothing if `counts` is empty), and all counts. For `SharedValues.change`; `now_ms` is the time of the store.
    """
    before = _uses_in(there, cluster)
    families = {
        family: decayed for family, uses in before.families.items() if (decayed := _decayed(uses, now_ms)).fields
    }
    for family, fields in counts.items():
        sums = Counter(families[family].fields if family in families else {})
        for field, number in fields.items():
            if len(field) <= MAX_NAME_CHARACTERS:
                sums[field] = min(MAX_USES, sums[field] + min(number, MAX_ADDED))  # type: ignore[assignment]
        families[family] = FamilyUses(now_ms, dict(sums.most_common(MAX_FIELDS)))
    kept = sorted(families, key=lambda family: (-sum(families[family].fields.values()), family))[:MAX_FAMILIES]
    while True:
        after = Uses(cluster, {family: families[family] for family in kept})
        raw = msgspec.json.encode(after)
        if len(raw) <= MAX_VALUE_BYTES or not kept:
            break
        kept = kept[: len(kept) // 2]
    return ({SHARED: raw} if counts else {}), after


def shares_of(uses: FamilyUses | None) -> dict[str, float]:
    """Return how much each field was used, from 0 to 1.

    The scale is logarithmic: `MAX_USES` uses give 1, and a tenth of them about 0.67.
    """
    if uses is None:
        return {}
    return {field: math.log1p(number) / math.log1p(MAX_USES) for field, number in uses.fields.items()}


def _decayed(uses: FamilyUses, now_ms: int) -> FamilyUses:
    passed_seconds = max(0, now_ms - uses.at_ms) / 1000
    factor = 0.5 ** (passed_seconds / HALF_LIFE_SECONDS)
    left = {field: round(number * factor, 3) for field, number in uses.fields.items()}
    return FamilyUses(now_ms, {field: number for field, number in left.items() if number >= LEAST_USES})


def _uses_in(there: Values, cluster: ClusterId) -> Uses:
    try:
        found = _decoder.decode(there[SHARED])
    except (KeyError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return NO_USES  # damaged, or nothing was counted yet
    if not found.cluster.is_same_as(cluster):
        return NO_USES
    sane = {
        family: uses
        for family, uses in found.families.items()
        if all(0 <= number <= MAX_USES for number in uses.fields.values())
    }
    return Uses(found.cluster, sane)


class PendingUses:
    """The uses that a process has counted since the last exchange. Counting is cheap, because it happens in each
    search.
    """

    def __init__(self, max_kept: int) -> None:
        self._max_kept = max_kept
        self._counts: dict[tuple[str, Collection[str]], int] = {}
        self.counted_total = 0
        self.uncounted_total = 0

    def note(self, name: str, fields: tuple[str, ...]) -> None:
        """Count one search of `name` that uses these fields."""
        counts, key = self._counts, (name, fields)
        number = counts.get(key)
        if number is None:
            if len(counts) >= self._max_kept:
                self.uncounted_total += 1
                return
            number = 0
        counts[key] = number + 1
        self.counted_total += 1

    def take(self) -> dict[tuple[str, Collection[str]], int]:
        """Return how many searches there were, by the name and the fields that they used, and start again
        from nothing.
        """
        taken, self._counts = self._counts, {}
        return taken
