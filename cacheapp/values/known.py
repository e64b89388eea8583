"""The field values that this process knows, and the part of them that callers see."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cacheapp.state.families import INDICES
from cacheapp.state.family_names import FamilyNames, NamedFamily
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import Visible
from cacheapp.values.family_values import KEPT_SECONDS, LEFT_OUT, FamilyValues, FieldValues, encoded
from esassistant.clock import Clock, monotonic
from esassistant.resource import Handle

MAX_KEPT_BYTES = 4_194_304
"""The most bytes of all families together, as JSON; in memory they take several times as much."""


@dataclass(frozen=True, slots=True)
class KnownOfName:
    """The values of the fields of some names. They are those of the names' whole family.

    Args:
        family: The name of the family.
        age_seconds: How long ago the values were gathered.
        sample_documents: How many documents were looked at.
        is_whole: Whether these were all documents of the family.
        fields: What each field holds, by the field's name.
        fields_left_out: How many fields had no room in the search.
    """

    family: str
    age_seconds: float
    sample_documents: int
    is_whole: bool
    fields: Mapping[str, FieldValues]
    fields_left_out: int


@dataclass(frozen=True, slots=True)
class _Kept:
    values: FamilyValues
    gathered_at: float
    size_bytes: int


class KnownValues:
    """Keeps field values, within bounds: if there are too many, the oldest are forgotten. One per process; belongs to
    its loop.
    """

    def __init__(self, *, clock: Clock = monotonic, max_kept_bytes: int = MAX_KEPT_BYTES) -> None:
        self._clock = clock
        self._max_kept_bytes = max_kept_bytes
        self._kept: dict[str, _Kept] = {}
        self.families = FamilyNames()

    def keep(self, families: Iterable[FamilyValues], now_ms: int) -> None:
        """Keep what was gathered. `now_ms`: the present time, by the same clock as `gathered_at_ms`."""
        now = self._clock()
        for values in families:
            gathered_at = now - max(0, now_ms - values.gathered_at_ms) / 1000
            before = self._kept.get(values.family)
            if before is None or before.gathered_at <= gathered_at:
                self._kept[values.family] = _Kept(values, gathered_at, len(encoded([values])))
        self._drop(now)

    def ages(self) -> dict[str, float]:
        """Return the age in seconds of what is known of each family, by name; families that were left out are
        included.
        """
        now = self._clock()
        self._drop(now)
        return {family: now - kept.gathered_at for family, kept in self._kept.items()}

    def gathered_ages(self) -> dict[str, float]:
        """Return the age in seconds of the values of each family, by name; without families that were left out."""
        ages = self.ages()
        return {family: ages[family] for family, kept in self._kept.items() if kept.values.left_out is None}

    def is_left_out(self, family: str) -> bool:
        """Return whether a family could not be gathered at the last try."""
        kept = self._kept.get(family)
        return kept is not None and kept.values.left_out is not None

    def of(self, names: Sequence[str], snapshot: Snapshot, visible: Visible) -> KnownOfName | None:
        """Return what is known of the fields of some names. Return None in these cases:

        1. The names belong to several families, or nothing is known of their family, or its values aren't gathered.
        2. The caller may not see all that was looked at: an alias or data stream is visible by its name; otherwise each
           index that was looked at has to be visible.
        """
        if not self._kept or (family := self.families.find_one(names, snapshot)) is None:
            return None
        kept = self._kept.get(family.name)
        if kept is None or kept.values.left_out is not None or not _is_visible(family, kept.values, visible):
            return None
        values, age_seconds = kept.values, self._clock() - kept.gathered_at
        if age_seconds > KEPT_SECONDS:
            return None
        return KnownOfName(
            family.name,
            round(age_seconds, 3),
            values.sample_documents,
            values.is_whole,
            values.fields,
            values.fields_left_out,
        )

    @property
    def kept_bytes(self) -> int:
        return sum(kept.size_bytes for kept in self._kept.values())

    def counts(self) -> tuple[int, int, dict[str, int]]:
        """Return how many families have values, how many fields these have, and for each reason how many families have
        none.
        """
        left_out = dict.fromkeys(LEFT_OUT, 0)
        families = fields = 0
        for kept in self._kept.values():
            if (why := kept.values.left_out) is not None:
                left_out[why] = left_out.get(why, 0) + 1
            else:
                families += 1
                fields += len(kept.values.fields)
        return families, fields, left_out

    def _drop(self, now: float) -> None:
        for family in [name for name, kept in self._kept.items() if now - kept.gathered_at > KEPT_SECONDS]:
            del self._kept[family]
        excess = self.kept_bytes - self._max_kept_bytes
        for family in sorted(self._kept, key=lambda name: self._kept[name].gathered_at):
            if excess <= 0:
                break
            excess -= self._kept.pop(family).size_bytes


KNOWN_VALUES: Handle[KnownValues] = Handle("known_values")


def _is_visible(family: NamedFamily, values: FamilyValues, visible: Visible) -> bool:
    if visible.everything:
        return True
    if family.kind != INDICES:
        return visible.covers(family.name)
    return all(map(visible.covers, values.indices))
