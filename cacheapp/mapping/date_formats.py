"""Tell which JSON values can be dates of a mapping's `format`. The shape is checked, not the calendar: the 30th of
February passes.

A format is one or several of Elasticsearch's format names or Java patterns, separated by `||`. Where the texts of a
format are too intricate to describe, any text passes.
"""

import re

DEFAULT_FORMAT = "strict_date_optional_time||epoch_millis"
MAX_FORMAT_CHARACTERS = 200
MAX_OPTIONAL = 5
"""Longer formats, and those with more optional parts, aren't described. Whoever makes an index chooses them, and their
patterns could take those for ever who check documents by our schemas.
"""

_EPOCH = r"-?[0-9]+(\.[0-9]*)?"
_STRICT_OPTIONAL = r"-?[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T.*)?)?)?"
_OPTIONAL = r"[+-]?[0-9]+(-[0-9]+(-[0-9]+(T.*)?)?)?"

_NAMED = {
    "epoch_millis": _EPOCH,
    "epoch_second": _EPOCH,
    "strict_date_optional_time": _STRICT_OPTIONAL,
    "strict_date_optional_time_nanos": _STRICT_OPTIONAL,
    "date_optional_time": _OPTIONAL,
    "strict_date": "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "date": "[+-]?[0-9]+-[0-9]+-[0-9]+",
    "basic_date": "[0-9]{8}",
}

# The format names whose texts can be those of a number.
_NUMBERS = re.compile(
    r"epoch_(millis|second)|(strict_)?(week)?year|(strict_)?hour|basic(_ordinal)?_date"
    r"|(strict_)?date_optional_time(_nanos)?|iso8601"
)
_NAME = re.compile(r"date|time|year|weekyear|hour|iso8601|[a-z0-9]+(_[a-z0-9]+)+")
_TOKEN = re.compile(
    r"(?P<number>([yuYDdHhKkmsSnN]|(?<![ML])[ML]{1,2}(?![ML]))+)"
    r"|(?P<literal>[-/:., _]|'[A-Za-z]+')|(?P<open>\[)|(?P<close>\])|(?P<rest>[A-Za-z]+$)"
)
"""The parts of a Java pattern whose texts have a simple shape. Names, such as those of months or zones, are only
described at the end of a pattern.
"""


def text_pattern(date_format: str) -> str | None:
    """Return a regular expression that every text of the format matches; None where it would be too intricate."""
    if _is_intricate(date_format):
        return None
    shapes = [_shape(one) for one in date_format.split("||")]
    described = [shape for shape in dict.fromkeys(shapes) if shape is not None]
    return f"^({'|'.join(described)})$" if len(described) == len(set(shapes)) else None


def takes_numbers(date_format: str) -> bool:
    """Return whether JSON numbers can be dates of the format. Elasticsearch parses their text: 2024 is a `yyyy`."""
    return _is_intricate(date_format) or any(_takes_numbers(one) for one in date_format.split("||"))


def _is_intricate(date_format: str) -> bool:
    return len(date_format) > MAX_FORMAT_CHARACTERS or date_format.count("[") > MAX_OPTIONAL


def _takes_numbers(one: str) -> bool:
    if _NAME.fullmatch(one):
        return _NUMBERS.fullmatch(one) is not None
    required = re.sub(r"\[[^]]*\]", "", one)
    # A number can have a minus sign at its beginning only.
    return not re.search(r"(?<=.)-|[/:, _']", required)


def _shape(one: str) -> str | None:
    if one in _NAMED or _NAME.fullmatch(one):
        return _NAMED.get(one)
    shape = ""
    place = 0
    while place < len(one):
        token = _TOKEN.match(one, place)
        if token is None:
            return None
        shape += _shape_of(token)
        place = token.end()
    try:
        re.compile(shape)
    except re.error:
        return None  # brackets that don't match
    return shape


def _shape_of(token: re.Match[str]) -> str:
    match token.lastgroup:
        case "number":
            return "[+-]?[0-9]{1,30}"
        case "open":
            return "("
        case "close":
            return ")?"
        case "rest":
            return ".*"
        case _:
            return token.group().strip("'").replace(".", r"\.")
