"""Share field values between the processes of a deployment, in a few values of the store of bounded size. Pure; the
functions are arguments of `SharedValues.change`.

The families are spread over parts. The value `OVERVIEW` has a version of each part, so that a process reads only those
parts that others have replaced.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec

from cacheapp.values.family_values import KEPT_SECONDS, FamilyValues, decoded, encoded
from esassistant.shared_values import MAX_VALUE_BYTES, Values

OVERVIEW = "field-values"
PARTS = 16


class Overview(msgspec.Struct, frozen=True):
    """The version of each part, which counts how often it was replaced; and the moment until which nobody gathers, by
    the clock of the store.
    """

    versions: tuple[int, ...] = (0,) * PARTS
    paused_until_ms: int = 0


_overview = msgspec.json.Decoder(Overview)


def part_of(family: str) -> int:
    """Return the number of the part that a family belongs to."""
    return blake2b(family.encode("utf-8", "replace"), digest_size=1).digest()[0] % PARTS


def name_of(part: int) -> str:
    """Return the name of the shared value in which the families of a part are stored."""
    return f"{OVERVIEW}-{part:02}"


def read_overview(there: Values, now_ms: int) -> tuple[Values, tuple[Overview, int]]:
    """Change nothing; return the overview and the store's time `now_ms`, in milliseconds since 1970."""
    return {}, (_overview_in(there), now_ms)


def read_parts(there: Values, now_ms: int) -> tuple[Values, tuple[Sequence[FamilyValues], int]]:
    """Change nothing; return the families of the parts in `there`, and the store's time `now_ms`."""
    return {}, ([family for raw in there.values() for family in _kept(decoded(raw), now_ms)], now_ms)


def put(there: Values, now_ms: int, values: FamilyValues) -> tuple[Values, tuple[FamilyValues, int]]:
    """Store the values that were gathered now of a family. Return them with the store's time. If they are too large for
    a part, some fields are left out.
    """
    part = part_of(values.family)
    values = msgspec.structs.replace(values, gathered_at_ms=now_ms)
    while len(encoded([values])) > MAX_VALUE_BYTES // 2:
        names = list(values.fields)
        kept = names[: len(names) // 2]
        values = msgspec.structs.replace(
            values,
            fields={name: values.fields[name] for name in kept},
            fields_left_out=values.fields_left_out + len(names) - len(kept),
        )
    others = [one for one in _kept(decoded(there.get(name_of(part), b"")), now_ms) if one.family != values.family]
    others.sort(key=lambda one: one.gathered_at_ms)
    while len(raw := encoded([*others, values])) > MAX_VALUE_BYTES:
        others.pop(0)
    before = _overview_in(there)
    versions = tuple(version + (number == part) for number, version in enumerate(before.versions))
    after = msgspec.structs.replace(before, versions=versions)
    return {name_of(part): raw, OVERVIEW: msgspec.json.encode(after)}, (values, now_ms)


def pause(there: Values, now_ms: int, seconds: float) -> tuple[Values, None]:
    """Make all processes pause for `seconds`."""
    before = _overview_in(there)
    until = max(before.paused_until_ms, now_ms + int(1000 * seconds))
    return {OVERVIEW: msgspec.json.encode(msgspec.structs.replace(before, paused_until_ms=until))}, None


def _overview_in(there: Mapping[str, bytes]) -> Overview:
    try:
        found = _overview.decode(there[OVERVIEW])
    except (KeyError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Overview()  # damaged, or nothing was gathered yet
    return found if len(found.versions) == PARTS else Overview()


def _kept(families: Sequence[FamilyValues], now_ms: int) -> list[FamilyValues]:
    """Return the families that are neither too old nor from the future, which happens if a clock was set back."""
    return [one for one in families if 0 <= now_ms - one.gathered_at_ms <= 1000 * KEPT_SECONDS]
