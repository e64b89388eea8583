"""The labelled searches, and the mappings that they are labelled for."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from cacheapp.queries.findings import Verdict
from cacheapp.queries.validation import Prepared, validate

DATA = Path(__file__).resolve().parent.parent / "unit" / "cacheapp" / "queries" / "data"


def labelled(name: str) -> list[dict[str, Any]]:
    """The lines of one file of labelled searches."""
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def prepared(*mappings: dict[str, Any]) -> Prepared:
    """Indices with these mappings, ready to validate against."""
    return Prepared.of({f"index-{number}": json.dumps(one).encode() for number, one in enumerate(mappings)})


@cache
def prepared_names() -> dict[str, Prepared]:
    """All names of the labelled searches."""
    resolved = json.loads((DATA / "resolved.json").read_text(encoding="utf-8"))
    return {
        name: Prepared.of({index: json.dumps(one["mappings"]).encode() for index, one in members.items()})
        for name, members in resolved.items()
    }


def verdict_of(label: dict[str, Any], key: str = "body") -> Verdict:
    """What a validation says of a labelled search."""
    return validate(prepared_names()[label["index"]], label[key])
