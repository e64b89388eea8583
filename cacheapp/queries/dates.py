"""Tell whether Elasticsearch could read a text as a date, by the field's format, date math included.

Where a format is too intricate to be sure, every text passes.
"""

import re
from functools import lru_cache

from cacheapp.mapping.date_formats import DEFAULT_FORMAT, MAX_FORMAT_CHARACTERS

MAX_WAYS = 400
"""In how many ways a text may be divided among the parts of a format. Formats with more, such as `dMdMdMdMdMdM`, aren't
described, because trying all ways would take for ever.
"""

_MATH = re.compile(r"([+-]\d*[yMwdhHms]|/[yMwdhHms])*")
_ZONE = r"(?:Z|[+-]\d{2}(?::?\d{2}(?::?\d{2})?)?|\[?[A-Za-z_]+/[A-Za-z_/]+\]?|UTC|GMT)?"
_TIME = rf"(?:T(?:\d{{2}}(?::\d{{2}}(?::\d{{2}}(?:[.,]\d{{1,9}})?)?)?)?{_ZONE})?"
_LENIENT_TIME = rf"(?:T(?:\d{{1,2}}(?::\d{{1,2}}(?::\d{{1,2}}(?:[.,]\d{{1,9}})?)?)?)?{_ZONE})?"
_EPOCH = r"[+-]?\d+(?:\.\d*)?"
_MONTH, _DAY, _HOUR, _MINUTE = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12]\\d|3[01])", "(?:[01]\\d|2[0-4])", "[0-5]\\d"
_LOOSE_MONTH, _LOOSE_DAY, _LOOSE_HOUR = "(?:0?[1-9]|1[0-2])", "(?:0?[1-9]|[12]\\d|3[01])", "(?:[01]?\\d|2[0-4])"
_LOOSE_MINUTE = "[0-5]?\\d"
_YEAR = r"[+-]?\d{4,9}"

_NAMED = {
    "epoch_millis": _EPOCH,
    "epoch_second": _EPOCH,
    "strict_date_optional_time": rf"{_YEAR}(?:-{_MONTH}(?:-{_DAY}{_TIME})?)?",
    "strict_date_optional_time_nanos": rf"{_YEAR}(?:-{_MONTH}(?:-{_DAY}{_TIME})?)?",
    "date_optional_time": rf"[+-]?\d{{1,9}}(?:-{_LOOSE_MONTH}(?:-{_LOOSE_DAY}{_LENIENT_TIME})?)?",
    "strict_date": rf"{_YEAR}-{_MONTH}-{_DAY}",
    "date": rf"[+-]?\d{{1,9}}-{_LOOSE_MONTH}-{_LOOSE_DAY}",
    "basic_date": rf"\d{{4}}{_MONTH}{_DAY}",
    "strict_year_month_day": rf"{_YEAR}-{_MONTH}-{_DAY}",
    "strict_year_month": rf"{_YEAR}-{_MONTH}",
    "strict_year": _YEAR,
    "year": r"[+-]?\d{1,9}",
    "strict_date_hour_minute_second": rf"{_YEAR}-{_MONTH}-{_DAY}T{_HOUR}:{_MINUTE}:{_MINUTE}",
    "date_hour_minute_second": rf"[+-]?\d{{1,9}}-{_LOOSE_MONTH}-{_LOOSE_DAY}T\d{{1,2}}:\d{{1,2}}:\d{{1,2}}",
}
_LETTERS = {
    **dict.fromkeys(("yyyy", "uuuu", "YYYY"), _YEAR),
    **dict.fromkeys(("yy", "uu"), r"\d{2}"),
    "MM": _MONTH,
    "M": _LOOSE_MONTH,
    "dd": _DAY,
    "d": _LOOSE_DAY,
    "HH": _HOUR,
    "H": _LOOSE_HOUR,
    **dict.fromkeys(("mm", "ss"), _MINUTE),
    **dict.fromkeys(("m", "s"), _LOOSE_MINUTE),
    **{"S" * length: rf"\d{{{length}}}" for length in range(1, 10)},
}
_PART = re.compile(
    r"'(?P<quoted>(?:[^']|'')*)'|(?P<letters>([A-Za-z])\3*)|(?P<open>\[)|(?P<close>\])|(?P<literal>.)", re.DOTALL
)
_TIMELESS = re.compile(r"[a-z0-9_]{5,}")


def is_date(text: str, date_format: str | None) -> bool:
    """Return whether a text can be a date of this format, or date math that starts with one; True where that isn't
    sure.
    """
    if text.startswith("now"):
        return _MATH.fullmatch(text[3:]) is not None
    date, has_math, math = text.partition("||")
    if has_math and _MATH.fullmatch(math) is None:
        return False
    given = date_format or DEFAULT_FORMAT
    pattern = _pattern(given) if len(given) <= MAX_FORMAT_CHARACTERS else None
    return pattern is None or pattern.fullmatch(date) is not None


@lru_cache(maxsize=512)
def _pattern(date_format: str) -> re.Pattern[str] | None:
    """Return a pattern that matches all texts of the format; None where that isn't sure."""
    formats = [one.removeprefix("8") for one in date_format.split("||")]
    shapes = [_shape(one) for one in formats]
    if any(shape is None for shape in shapes) or sum(map(_ways, formats)) > MAX_WAYS:
        return None
    try:
        return re.compile("|".join(f"(?:{shape})" for shape in shapes))
    except re.error:
        return None


def _shape(one: str) -> str | None:
    if one in _NAMED:
        return _NAMED[one]
    if _TIMELESS.fullmatch(one) and not re.search(r"(.)\1", one):
        return None  # a name that we don't describe
    shape = ""
    parts = list(_PART.finditer(one))
    for place, part in enumerate(parts):
        found = _shape_of(part, is_adjacent=_is_letters(parts, place - 1) or _is_letters(parts, place + 1))
        if found is None:
            return None
        shape += found
    return shape


def _ways(one: str) -> int:
    """Return an upper bound for the number of ways in which a text can be divided among the parts of a format."""
    if one in _NAMED:
        return 1
    ways = 1
    for part in _PART.finditer(one):
        letters = part["letters"] or ""
        if part["open"] or len(letters) == 1:
            ways *= 2  # it is there or not; it has one digit or two
        elif _LETTERS.get(letters) == _YEAR:
            ways *= 6  # it has four to nine digits
    return ways


def _is_letters(parts: list[re.Match[str]], place: int) -> bool:
    return 0 <= place < len(parts) and parts[place].lastgroup in ("letters",)


def _shape_of(part: re.Match[str], *, is_adjacent: bool) -> str | None:
    if part["open"]:
        return "(?:"
    if part["close"]:
        return ")?"
    if (letters := part["letters"]) is not None:
        if is_adjacent and letters in ("yyyy", "uuuu"):
            return r"\d{4}"
        return _LETTERS.get(letters)
    if part["quoted"] is not None:
        return re.escape(part["quoted"].replace("''", "'") or "'")
    return re.escape(part["literal"])
