"""Validation holds its goals on searches that were labelled on a real node."""

from typing import Any

import pytest

from cacheapp.queries.findings import Finding, Severity
from tests.support.searches import labelled, verdict_of

WRONG = [label for label in labelled("wrong.jsonl") if label["decidable"] != "no"]
RIGHT = labelled("right.jsonl") + labelled("unverified.jsonl")
REPAIRED = [label for label in labelled("wrong.jsonl") if label["right_body"] is not None]
CAUGHT = 0.95
FIRST_RIGHT = 0.85
SYNONYMS_RIGHT = 0.5
MOST_WARNINGS = 0.02


def steps(path: str) -> list[str]:
    return [step for step in path.split("/") if step]


def is_in_place(finding: Finding, label: dict[str, Any]) -> bool:
    """Whether a finding names the labelled field, or stands at most two steps above the labelled path."""
    if label["field"] is not None and finding.field == label["field"]:
        return True
    told, meant = steps(finding.path), steps(label["path"])
    shared = min(len(told), len(meant))
    return bool(told) and told[:shared] == meant[:shared] and len(told) >= len(meant) - 2


def hits(guess: str, *, only_first: bool = True) -> list[bool]:
    """Of the wrong names that are so far from the right ones: whether the first suggestion is right."""
    found = []
    for label in WRONG:
        if label["right_field"] is None or label["guess"] != guess:
            continue
        good = {label["right_field"], *label["also_right"]}
        meant = [one.did_you_mean for one in verdict_of(label).findings if is_in_place(one, label)]
        found.append(any(set(names[:1] if only_first else names) & good for names in meant))
    return found


def test_wrong_searches_are_caught() -> None:
    """At least 95 % of the wrong searches have a finding where the mistake is."""
    caught = [any(is_in_place(one, label) for one in verdict_of(label).findings) for label in WRONG]
    missed = [label["id"] for label, found in zip(WRONG, caught, strict=True) if not found]
    assert sum(caught) >= CAUGHT * len(WRONG), missed


@pytest.mark.parametrize("guess", ["spelling", "case_or_separator", "path", "prefix"])
def test_first_suggestions_are_right(guess: str) -> None:
    """A name that is misspelt, in another style, or without a part of its path, is put right by the first
    suggestion.
    """
    found = hits(guess)
    assert sum(found) >= FIRST_RIGHT * len(found)


def test_synonyms_are_found() -> None:
    """Of names that mean the same in other words, half are put right by the first suggestion."""
    found = hits("synonym")
    assert sum(found) >= SYNONYMS_RIGHT * len(found)


@pytest.mark.parametrize(("labels", "key"), [(RIGHT, "body"), (REPAIRED, "right_body")], ids=["right", "repaired"])
def test_right_searches_are_left_alone(labels: list[dict[str, Any]], key: str) -> None:
    """No error is said of a right search, and at most 2 % have a warning."""
    verdicts = {label["id"]: verdict_of(label, key) for label in labels}
    wrong = [name for name, one in verdicts.items() if not one.valid]
    warned = [name for name, one in verdicts.items() if one.findings]
    assert wrong == []
    assert len(warned) <= MOST_WARNINGS * len(verdicts), warned


def test_errors_are_what_they_say() -> None:
    """Where an error is said of a search, the node refused it, failed on shards, or found nothing by it; clauses that
    find nothing may stand beside others that do.
    """
    wrong = []
    for label in WRONG:
        errors = [one for one in verdict_of(label).findings if one.severity is Severity.ERROR]
        node = label["node"]
        finds_nothing = not node.get("hits") or node.get("aggs_empty") or node.get("failed_shards")
        if errors and not (node["status"] == 400 or finds_nothing or label["severity"] == "error"):
            wrong.append(label["id"])
    assert wrong == []
