"""The result of a validation: findings, each about one clause of a search."""

import enum

import msgspec

MAX_FINDINGS = 50
"""How many findings are given at most: a search that is wrong throughout would repeat the same one many times."""
MAX_SUGGESTIONS = 3
MAX_NAME_CHARACTERS = 200
"""How many characters of a caller's names are quoted in texts; longer names are cut."""


class Severity(enum.Enum):
    """How sure a finding is.

    An error is about one clause: the node answers 400 to it, or it matches nothing, and the mapping can't grow so that
    it would. A warning is anything else that is probably not meant.
    """

    ERROR = "error"
    WARNING = "warning"


class Code(enum.Enum):
    """What is wrong. The values are labels of a metric; no others are used there."""

    UNKNOWN_FIELD = "unknown_field"
    OBJECT_AS_FIELD = "object_as_field"
    DISABLED_OBJECT = "disabled_object"
    NOT_SEARCHABLE = "not_searchable"
    NO_DOC_VALUES = "no_doc_values"
    TEXT_NEEDS_KEYWORD = "text_needs_keyword"
    TERM_ON_TEXT = "term_on_text"
    TYPE_MISFIT = "type_misfit"
    FLATTENED_MISUSE = "flattened_misuse"
    NESTED_MISSING = "nested_missing"
    NESTED_WRONG = "nested_wrong"
    NOT_NESTED = "not_nested"
    TYPE_CONFLICT = "type_conflict"
    BAD_VALUE = "bad_value"
    OUT_OF_RANGE = "out_of_range"
    NUMBER_ON_DATE = "number_on_date"
    RANGE_ON_KEYWORD = "range_on_keyword"
    OVER_IGNORE_ABOVE = "over_ignore_above"
    UNKNOWN_VALUE = "unknown_value"
    UNKNOWN_CLAUSE = "unknown_clause"
    UNKNOWN_KEY = "unknown_key"
    WRONG_SHAPE = "wrong_shape"
    EMPTY_CLAUSE = "empty_clause"
    BAD_COMBINATION = "bad_combination"
    BAD_PATH = "bad_path"
    QUERY_STRING_SYNTAX = "query_string_syntax"
    TOO_LARGE = "too_large"


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong in a search.

    Args:
        path: Where it is, as a JSON Pointer into the body.
        code: What is wrong.
        severity: How sure that is.
        field: The field's name as the body has it; None where the finding isn't about a field.
        did_you_mean: What was probably meant, the likeliest first.
        detail: One sentence for people.
    """

    path: str
    code: Code
    severity: Severity
    field: str | None
    did_you_mean: tuple[str, ...]
    detail: str


class AskedValue(msgspec.Struct, frozen=True):
    """A value that a keyword field has to equal.

    Args:
        path: Where the value stands, as a JSON Pointer.
        field: The field's name as the body has it.
        target: The field's own path; if `field` is an alias, that of its target.
        value: The value as the body has it.
        ignores_case: Whether upper and lower case count as the same.
    """

    path: str
    field: str
    target: str
    value: str
    ignores_case: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """The result of a validation.

    Args:
        valid: Whether there is no error among the findings.
        findings: What is wrong.
        not_checked: The paths of parts that the tables don't know.
        used: The mapped fields that the search names.
        asked_values: The values that keyword fields have to equal.
    """

    valid: bool
    findings: tuple[Finding, ...]
    not_checked: tuple[str, ...]
    used: tuple[str, ...] = ()
    asked_values: tuple[AskedValue, ...] = ()


def shortened(name: object) -> str:
    """Return a caller's name or value as a text that is short enough and safe to quote."""
    text = name if isinstance(name, str) else str(name)
    return text if len(text) <= MAX_NAME_CHARACTERS else f"{text[:MAX_NAME_CHARACTERS]}…"


def pointer(path: str, step: str | int) -> str:
    """Return the JSON Pointer one step below `path`."""
    if isinstance(step, int):
        return f"{path}/{step}"
    if "~" in step or "/" in step:
        step = step.replace("~", "~0").replace("/", "~1")
    return f"{path}/{shortened(step)}"
