"""Find the known value that was probably meant by one that no document has. Pure.

It returns something only where it is sure: all values of the field are known, and the given value differs from one of
them only in its case or by a typing error.
"""

import re
from collections.abc import Iterable, Mapping

from rapidfuzz.distance import DamerauLevenshtein

from cacheapp.queries.findings import AskedValue, Code, Finding, Severity, shortened
from cacheapp.values.family_values import FieldValues
from cacheapp.values.known import KnownOfName
from esassistant.units import as_duration

SHORTEST, SHORT, LONG = 3, 4, 8
"""Lengths in characters. Nothing is suggested for values shorter than `SHORTEST`. Values shorter than `SHORT` are often
codes that differ by one letter on purpose (`AUS`, `AUT`), so only swapped, missing or extra letters count as typing
errors. From `LONG` on, two errors are allowed.
"""
_DIGITS = re.compile(r"[0-9]+")
_SEPARATORS = re.compile(r"[\s_-]+")


def near_value(value: str, known: Iterable[str]) -> str | None:
    """Return the known value that was probably meant by `value`; None if there is none, or if there are several.

    1. The one that differs only in case, blanks, dashes and underscores.
    2. Otherwise the one with a similar spelling and the same digits. (`eu-1` is never suggested for `eu-2`, nor `AUS`
       for `AUT`.)
    """
    among = list(known)
    plain = _plain(value)
    same = [one for one in among if _plain(one) == plain]
    if same or len(value) < SHORTEST:
        return same[0] if len(same) == 1 else None
    digits = _DIGITS.findall(value)
    near = [one for one in among if _DIGITS.findall(one) == digits and _is_near(_plain(one), plain)]
    return near[0] if len(near) == 1 else None


def _is_near(known: str, plain: str) -> bool:
    """Return whether the two differ by a typing error only."""
    length = min(len(known), len(plain))
    if length < SHORTEST or DamerauLevenshtein.distance(known, plain) > (1 if length < LONG else 2):
        return False
    return length >= SHORT or (
        known.isalpha()
        and plain.isalpha()
        and known[0] == plain[0]
        and (len(known) != len(plain) or sorted(known) == sorted(plain))
    )


def value_findings(asked: Iterable[AskedValue], known: KnownOfName) -> list[Finding]:
    """Return a warning for each value that no document has, if another one was probably meant.

    There is no warning if not all values of the field are known, or if the search also asks for the value that was
    meant.
    """
    asked = tuple(asked)
    if not known.is_whole:
        return []
    also = {(one.target, one.value) for one in asked}
    found = []
    for one in asked:
        values = _all_values(known.fields, one.target)
        if not values or one.value in values or (one.ignores_case and one.value.lower() in map(str.lower, values)):
            continue
        meant = near_value(one.value, values)
        if meant is not None and (one.target, meant) not in also:
            found.append(_finding(one, meant, known))
    return found


def _all_values(fields: Mapping[str, FieldValues], name: str) -> list[str]:
    """Return all values of a keyword field; nothing if some of them aren't known."""
    values = fields.get(name)
    if values is None or values.more or values.type != "keyword":
        return []
    return [one.value for one in values.values if isinstance(one.value, str)]


def _finding(asked: AskedValue, meant: str, known: KnownOfName) -> Finding:
    detail = (
        f"None of the {known.sample_documents:,} documents of {known.family} had the value {shortened(asked.value)!r} "
        f"{as_duration(known.age_seconds)} ago."
    )
    name = shortened(asked.field)
    return Finding(asked.path, Code.UNKNOWN_VALUE, Severity.WARNING, name, (meant,), detail)


def _plain(value: str) -> str:
    return _SEPARATORS.sub("", value).lower()
