"""Tell what is wrong with a value for a field: the type can't have it, it can never match, or it means something else
than it seems to.

Elasticsearch reads more texts as numbers, addresses and dates than one would think. A value is reported only if it is
surely wrong.
"""

import ipaddress
import re
from typing import Any

import msgspec

from cacheapp.queries.dates import is_date
from cacheapp.queries.findings import Code, shortened
from cacheapp.queries.known_fields import KnownField
from cacheapp.queries.places import DATES, DECIMALS, NUMBER_RANGES, NUMBERS, TEXTS, WHOLE_NUMBERS

_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?[fFdD]?\s*|NaN|[+-]?Infinity|[+-]?0[xX][\da-fA-F.].*")
"""No two neighbours in it match the same characters, because callers choose the texts, of up to 64 kB."""
_WHOLE_BITS = {"long": 63, "integer": 31, "short": 15, "byte": 7, "token_count": 31}
_LARGEST = {"half_float": 65520.0, "float": 3.4028235677973366e38}
SUSPICIOUS_MILLIS = (1_900, 100_000_000_000)
"""A JSON number for a date means milliseconds. A number in this range would be a moment of the first three years after
1970, which is rarely meant; it is probably in seconds, or a year, or a date such as 20261231.
"""
_LOWERING = frozenset(
    {
        *("standard", "simple", "stop", "pattern", "arabic", "armenian", "basque", "bengali", "brazilian", "bulgarian"),
        *("catalan", "cjk", "czech", "danish", "dutch", "english", "estonian", "finnish", "french", "galician"),
        *("german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "latvian", "lithuanian"),
        *("norwegian", "persian", "portuguese", "romanian", "russian", "serbian", "sorani", "spanish", "swedish"),
        *("thai", "turkish"),
    }
)
"""Elasticsearch's own analyzers whose tokens are single words in lower case."""
_SPLITS = re.compile(r"[\s/@\-]")


class Complaint(msgspec.Struct, frozen=True):
    """What is wrong with a value. `is_refused`: the node answers 400."""

    code: Code
    detail: str
    is_refused: bool = False


def check_term(field: KnownField, value: Any, *, case_insensitive: bool = False) -> Complaint | None:
    """Check a value that the field has to equal."""
    if isinstance(value, dict | list) or value is None:
        return None
    if field.type in DATES:
        return check_date(field.definition.get("format"), value)
    if field.type in NUMBERS:
        return _number(field.type, value) or _never_equal(field.type, value)
    if field.type in TEXTS:
        return _token(field, value, case_insensitive=case_insensitive)
    if field.type == "keyword":
        return _over_ignore_above(field, value)
    return _of_simple_type(field, value)


def check_analyzed(field: KnownField, value: Any) -> Complaint | None:
    """Check the value of a match query, which is analyzed for texts, and taken as a term for other types."""
    if field.type in TEXTS or isinstance(value, dict | list) or value is None:
        return None
    return check_term(field, value)


def check_bounds(field: KnownField, bounds: dict[str, Any], date_format: str | None) -> tuple[str, Complaint] | None:
    """Check the bounds of a range query.

    Args:
        field: The field that is compared.
        bounds: The bounds by their names, such as `gte`.
        date_format: The format that the query gives for dates; None: the field's own.

    Returns:
        The name of the first wrong bound, and what is wrong with it; None if all are right.
    """
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    # If one of the bounds is a number, Elasticsearch reads both as milliseconds since 1970.
    has_number = any(_is_number(bound) for bound in given.values())
    for name, bound in given.items():
        if (complaint := _bound(field, bound, date_format, has_number=has_number)) is not None:
            return name, complaint
    return None


def check_date(date_format: Any, value: Any) -> Complaint | None:
    """Check one date against a format. A JSON number means milliseconds, whatever the format."""
    given = date_format if isinstance(date_format, str) else None
    if isinstance(value, bool):
        return Complaint(Code.BAD_VALUE, f"{value} is no date.", is_refused=True)
    if isinstance(value, int | float):
        low, high = SUSPICIOUS_MILLIS
        if low <= abs(value) < high:
            return Complaint(
                Code.NUMBER_ON_DATE,
                f"A JSON number on a date means milliseconds since 1970, whatever the field's format: {value} is in the"
                " early 1970s. Write the date as a text.",
            )
        return None
    if isinstance(value, str) and not is_date(value, given):
        expected = given or "strict_date_optional_time||epoch_millis"
        return Complaint(
            Code.BAD_VALUE, f"{shortened(value)!r} is no date of the format {shortened(expected)}.", is_refused=True
        )
    return None


def _bound(field: KnownField, bound: Any, date_format: str | None, *, has_number: bool) -> Complaint | None:
    kind = field.type
    if isinstance(bound, dict | list):
        return None
    if kind in DATES or kind == "date_range":
        own = field.definition.get("format")
        if date_format is None and has_number and kind in DATES:
            if isinstance(bound, str):
                return check_date("epoch_millis", bound)
            return check_date(own, bound)
        if date_format is not None and _is_number(bound):
            return None if is_date(str(bound), date_format) else check_date(date_format, str(bound))
        return check_date(date_format or own, bound)
    if kind in NUMBERS or kind in NUMBER_RANGES:
        return _number(kind, bound)
    if kind == "keyword" and _is_number(bound):
        return Complaint(
            Code.RANGE_ON_KEYWORD,
            f"The field is a keyword: ranges compare texts letter by letter, so that '9' is greater than '10'; {bound}"
            " is a number.",
        )
    if kind in ("ip", "ip_range"):
        return None if _is_address(bound) else _no_address(bound)
    return _of_simple_type(field, bound)


def _of_simple_type(field: KnownField, value: Any) -> Complaint | None:
    kind = field.type
    if kind == "boolean" and not (isinstance(value, bool) or value in ("true", "false", "")):
        return Complaint(Code.BAD_VALUE, f"{_quoted(value)} is no boolean: use true or false.", is_refused=True)
    if kind == "ip":
        return None if _is_address(value, or_network=True) else _no_address(value)
    if kind == "ip_range":
        return None if _is_address(value) else _no_address(value)
    if kind in NUMBER_RANGES:
        return _number(kind, value)
    if kind == "date_range":
        return check_date(field.definition.get("format"), value)
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _quoted(value: Any) -> str:
    return repr(shortened(value)) if isinstance(value, str) else shortened(value)


def _number(kind: str, value: Any) -> Complaint | None:
    if isinstance(value, bool) or (isinstance(value, str) and _NUMBER.fullmatch(value) is None):
        return Complaint(Code.BAD_VALUE, f"{_quoted(value)} is no number, and the field is {kind}.", is_refused=True)
    return None


def _never_equal(kind: str, value: Any) -> Complaint | None:
    """Report a number that the type can't hold, so that no document can have it."""
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if kind in DECIMALS:
        is_within = (
            number != number
            or abs(number) < _LARGEST.get(kind, float("inf"))
            or number in (float("inf"), float("-inf"))
        )
        return None if is_within else Complaint(Code.OUT_OF_RANGE, f"No {kind} is as large as {value}.")
    if kind not in WHOLE_NUMBERS or number != number or number in (float("inf"), float("-inf")):
        return None
    if number != int(number):
        return Complaint(Code.OUT_OF_RANGE, f"The field is {kind}: it holds no {value}.")
    bits = _WHOLE_BITS.get(kind, 64)
    lowest = 0 if kind == "unsigned_long" else -(2**bits)
    if not lowest <= int(number) <= 2**bits:  # one beyond, because floats can't tell the two apart
        return Complaint(Code.OUT_OF_RANGE, f"{value} is beyond what a {kind} holds.")
    if bits < 50 and int(number) == 2**bits:
        return Complaint(Code.OUT_OF_RANGE, f"{value} is beyond what a {kind} holds.")
    return None


def _token(field: KnownField, value: Any, *, case_insensitive: bool) -> Complaint | None:
    """Report a value that can't be a token of an analyzed text."""
    analyzer = field.definition.get("analyzer", "standard")
    if not isinstance(value, str) or analyzer not in _LOWERING:
        return None
    text = value.strip("*?")
    if _SPLITS.search(text):
        why = "a text is kept word by word"
    elif text != text.lower() and not case_insensitive:
        why = "the words of a text are kept in lower case"
    else:
        return None
    return Complaint(
        Code.TERM_ON_TEXT,
        f"The field is {field.type}, and {why}: {shortened(value)!r} is compared as it is, and matches none.",
    )


def _over_ignore_above(field: KnownField, value: Any) -> Complaint | None:
    limit = field.definition.get("ignore_above")
    try:
        longest = int(limit) if limit is not None else None
    except (TypeError, ValueError):
        return None
    if longest is None or not isinstance(value, str) or len(value) <= longest:
        return None
    return Complaint(
        Code.OVER_IGNORE_ABOVE, f"The field's ignore_above is {longest}: longer values aren't indexed, as this one."
    )


def _is_address(value: Any, *, or_network: bool = False) -> bool:
    if not isinstance(value, str):
        return False
    address, has_prefix, prefix = value.partition("/")
    if has_prefix and not (or_network and prefix.isascii() and prefix.isdigit() and int(prefix[:4]) <= 128):
        return False
    try:
        ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return True


def _no_address(value: Any) -> Complaint:
    return Complaint(Code.BAD_VALUE, f"{_quoted(value)} is no IP address.", is_refused=True)


def looks_analyzed_away(field: KnownField, value: str) -> bool:
    """Return whether a prefix or pattern can't match any token of the text."""
    return field.type in TEXTS and _token(field, value, case_insensitive=False) is not None
