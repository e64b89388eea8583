"""The labelled searches, and the mappings that the labels are about."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from cacheapp.queries.findings import Verdict
from cacheapp.queries.validation import Prepared, validate

DATA = Path(__file__).resolve().parent.parent / "unit" / "cacheapp" / "queries" / "data"


def labelled(name: str) -> list[dict[str, Any]]:
    """Return the lines of one file of labelled searches."""
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def prepared(*mappings: dict[str, Any]) -> Prepared:
    """Return indices with these mappings, ready to validate against."""
    return Prepared.of({f"index-{number}": json.dumps(one).encode() for number, one in enumerate(mappings)})


@cache
def prepared_names() -> dict[str, Prepared]:
    """Return all names of the labelled searches, ready to validate against."""
    resolved = json.loads((DATA / "resolved.json").read_text(encoding="utf-8"))
    return {
        name: Prepared.of({index: json.dumps(one["mappings"]).encode() for index, one in members.items()})
        for name, members in resolved.items()
    }


def verdict_of(label: dict[str, Any], key: str = "body") -> Verdict:
    """Return the verdict of a validation about a labelled search."""
    return validate(prepared_names()[label["index"]], label[key])
