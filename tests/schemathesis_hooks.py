"""What schemathesis has to know beyond the document. It loads this module itself, see tests/schemathesis.toml."""

import base64
from typing import Any

import schemathesis
from hypothesis import strategies as st

NAMES_REFUSED = ("An index name is in lower case.", "An index name has at most 255 bytes.")
"""Refusals of names that the schema of names permits: it can neither count bytes nor know which aliases exist."""


@schemathesis.hook
def before_load_schema(_: object, raw_schema: dict[str, Any]) -> None:
    """Permit no member that isn't described. The document as served leaves that open: later versions may have more.

    Lists of names are samples: strings of 8 kB made of their regular expression take minutes, and that it is the rule
    is tested in tests/unit/dev/test_openapi.py.
    """
    schemas = closed(raw_schema["components"]["schemas"])
    raw_schema["components"]["schemas"] = schemas | {"Names": {"type": "string", "format": "names"}}


@schemathesis.hook
def filter_failure(_: object, failure: object, case: Any, response: Any) -> bool:
    """Leave out what is no failure."""
    is_refusal = type(failure).__name__ == "RejectedPositiveData"
    return not (is_refusal and response.json()["detail"] in NAMES_REFUSED)


def closed(schema: Any) -> Any:
    """A schema whose objects have no members but those that are described, unless it says otherwise."""
    if isinstance(schema, list):
        return [closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {name: closed(inner) for name, inner in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        shut.setdefault("additionalProperties", False)
    return shut


def cursor_of(name: str) -> str:
    """A cursor as /api/indices gives it; a rank before the name makes it one of fields."""
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


NAMES = st.text(st.characters(codec="utf-8"), max_size=8)
schemathesis.openapi.format("cursor", NAMES.map(cursor_of))
schemathesis.openapi.format("field-cursor", st.builds("{}{}".format, st.sampled_from("012"), NAMES).map(cursor_of))
schemathesis.openapi.format("names", st.sampled_from(("orders", "*", "logs-*,-logs-2", "orders,logs", "logs-1,o*")))
