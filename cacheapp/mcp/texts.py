"""The answers of tools as texts within a budget of tokens, with what to do next. Pure."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from cacheapp.cache.cluster_fields import ClusterField
from cacheapp.describe.entries import written
from cacheapp.describe.tokens import BYTES_PER_TOKEN, count_tokens
from cacheapp.queries.findings import Finding, Severity

SHOWN_FAMILIES: Final = 4
CUTS: Final[Sequence[tuple[int, int]]] = ((2_000, 200), (400, 30), (100, 12))
"""To what hits are cut: characters of a text, members of a list or object. The first that leaves room for `GOOD_HITS`
is used.
"""
GOOD_HITS: Final = 3
MIN_HIT_TOKENS: Final = 20
MANY: Final = 1_000
MAX_WARNINGS: Final = 3
NOTHING_FOUND: Final = "Next: describe the names with what you look for, validate the search, or widen it."
MAX_NAMES_CHARACTERS: Final = 100
"""How much of the searched names is repeated in the first line; the agent knows them."""
NOTE_TOKENS: Final = 90
"""The room that is reserved for the note on what was cut."""
AGGREGATIONS_SHARE: Final = 0.6
BUCKETS: Final[Sequence[int]] = (1_000, 100, 30, 10, 3)
MAX_DEPTH: Final = 20


def within(lines: Sequence[str], budget_tokens: int, what: str, *, beyond: int = 0) -> str:
    """Return the first lines that fit into a budget, and a last line with the number of others. `what`: what the lines
    are, in the plural. `beyond`: how many more there are that aren't in `lines`.
    """
    shown = _how_many(lines, budget_tokens)
    if shown < len(lines) or beyond:
        shown = _how_many(lines, budget_tokens - count_tokens(f"\n# {len(lines) + beyond:,} more {what}"))
    more = len(lines) - shown + beyond
    return "\n".join([*lines[:shown], *([f"# {more:,} more {what}"] if more else [])])


def name_missing(detail: str, near: Sequence[str]) -> str:
    """Return the text for a name that isn't there."""
    meant = f" Did you mean {', '.join(near)}?" if near else ""
    return f"{detail}{meant}\nNext: find_indices with a question lists what there is."


def field_line(field: ClusterField) -> str:
    """Return a field on one line: its path, its type (if indices disagree, each type with the number of indices), and
    the families that have it.
    """
    if field.conflict:
        kind = f"conflict: {', '.join(f'{one.type} in {one.indices_total:,}' for one in field.conflict)} indices"
    else:
        kind = "+".join(field.types)
    shown = field.families[:SHOWN_FAMILIES]
    more = f" and {field.families_total - len(shown)} more" if field.families_total > len(shown) else ""
    return f"{written(field.name)}: {kind} — {', '.join(map(written, shown))}{more}"


def one_finding(finding: Finding) -> str:
    """Return a finding as JSON on one line, without empty members."""
    given = {key: value for key, value in msgspec.to_builtins(finding).items() if value not in (None, [], ())}
    return json.dumps(given, ensure_ascii=False, separators=(",", ":"))


def findings_text(findings: Sequence[Finding], not_checked: Sequence[str], budget_tokens: int) -> str:
    """Return the text about the findings of a validation."""
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    warnings = len(findings) - errors
    counts = [
        f"{number} {word}{'' if number == 1 else 's'}" for number, word in ((errors, "error"), (warnings, "warning"))
    ]
    said = ", ".join(count for count in counts if not count.startswith("0 "))
    if not findings:
        head = "Valid: nothing wrong found."
    else:
        head = f"{'Not valid' if errors else 'Valid, with'}{': ' if errors else ' '}{said}."
    lines = [one_finding(finding) for finding in sorted(findings, key=lambda one: one.severity is not Severity.ERROR)]
    if not_checked:
        lines.append(f"not checked: {', '.join(not_checked)}")
    next_step = (
        "Next: mend the search (did_you_mean has whole paths) and validate it again." if errors else "Next: search."
    )
    room = budget_tokens - count_tokens(f"{head}\n{next_step}\n")
    return "\n".join(filter(None, [head, within(lines, room, "findings"), next_step]))


def cluster_away(detail: str, since: datetime | None) -> str:
    """Return why a search can't be made now, and what works meanwhile."""
    when = "" if since is None else f" It can't be asked since {since:%H:%M:%S} UTC."
    return (
        f"{detail}{when}\nNext: try again in a minute. find_indices, describe, find_fields and validate_search answer "
        "from memory meanwhile."
    )


def hits_text(
    answer: bytes, budget_tokens: int, names: str, indices_total: int | None, warnings: Sequence[Finding] = ()
) -> str:
    """Return Elasticsearch's answer to a search as a text: a first line, aggregations, hits, and what was cut.

    Args:
        answer: The whole body, a JSON object.
        budget_tokens: How many tokens the text may have.
        names: What was searched, as it was asked for.
        indices_total: How many indices that stands for; None: not known.
        warnings: Findings about the search, which was made all the same.
    """
    found: dict[str, Any] = msgspec.json.decode(answer, type=dict[str, Any])
    hits: list[dict[str, Any]] = found.get("hits", {}).get("hits", [])
    parts = [_head(found, hits, names, indices_total)]
    notes = [f"# warning: {one_finding(one)}" for one in warnings[:MAX_WARNINGS]]
    aggregations = found.get("aggregations")
    if not hits and not aggregations and _total(found) == 0:
        notes.append(NOTHING_FOUND)
    room = budget_tokens - count_tokens("\n".join([*parts, *notes])) - NOTE_TOKENS
    if aggregations:
        share = AGGREGATIONS_SHARE if hits else 1.0
        text, note = _aggregations(aggregations, int(room * share))
        parts.append(text)
        notes += note
        room -= count_tokens(text)
    several = indices_total != 1 or len({hit.get("_index") for hit in hits}) > 1
    lines, note = _hits(hits, room, names_index=several)
    return _cut_to("\n".join([*parts, *lines, *notes, *note]), budget_tokens)


def _total(found: dict[str, Any]) -> int | None:
    """Return how many hits there are; None if the search didn't ask for it."""
    total = found.get("hits", {}).get("total")
    return None if total is None else int(total["value"])


def _head(found: dict[str, Any], hits: Sequence[dict[str, Any]], names: str, indices_total: int | None) -> str:
    total = _total(found)
    if total is None:
        number = f"{len(hits)} hits given"
    else:
        more = "+" if found["hits"]["total"].get("relation") == "gte" else ""
        number = f"{total:,}{more} hit{'' if total == 1 else 's'}"
    shards = found.get("_shards", {})
    partial = [
        *(["timed out"] if found.get("timed_out") else []),
        *([f"{shards['failed']} of {shards['total']} shards failed"] if shards.get("failed") else []),
    ]
    partly = f" PARTIAL: {', '.join(partial)}." if partial else ""
    shown = names if len(names) <= MAX_NAMES_CHARACTERS else f"{names[: MAX_NAMES_CHARACTERS - 1]}…"
    of = "" if indices_total is None or indices_total == 1 else f" ({indices_total:,} indices)"
    return f"{number} in {shown}{of}, took {found.get('took')} ms.{partly}"


def _aggregations(aggregations: Any, room: int) -> tuple[str, list[str]]:
    whole = _json(aggregations)
    if _fits(whole, room):
        return f"aggregations: {whole}", []
    for most in BUCKETS:
        text = _json(_shortened(aggregations, 200, most, MANY))
        if _fits(text, room):
            return f"aggregations: {text}", [f"# cut: lists of buckets to {most}. Ask for fewer (size of terms)."]
    return _cut_to(f"aggregations: {text}", room), ["# cut: the aggregations. Ask for fewer of them."]


def _hits(hits: Sequence[dict[str, Any]], room: int, *, names_index: bool) -> tuple[list[str], list[str]]:
    """Return as many hits as fit, one on each line, cut as little as possible; and notes on what was cut."""
    plain = [_plain(hit, names_index=names_index) for hit in hits]
    lines: list[str] = []
    shown = 0
    for characters, members in CUTS:
        lines = [
            _json({key: _shortened(one, characters, members, members) for key, one in hit.items()}) for hit in plain
        ]
        shown = _how_many(lines, room)
        if shown >= min(len(lines), GOOD_HITS):
            break
    if lines and not shown:
        shown, lines = 1, [_cut_to(lines[0], max(room, MIN_HIT_TOKENS))]
    was_cut = any(line != _json(hit) for line, hit in zip(lines[:shown], plain, strict=False))
    cut = f"texts to {characters} characters, lists and objects to {members} members" if was_cut else ""
    notes = [_not_shown(shown, len(hits), cut)] if cut or shown < len(hits) else []
    return lines[:shown], notes


def _how_many(lines: Sequence[str], room: float) -> int:
    """Return how many of the lines fit into the room."""
    for number, line in enumerate(lines):
        if len(line) > BYTES_PER_TOKEN * room:
            return number
        room -= count_tokens(f"\n{line}")
        if room < 0:
            return number
    return len(lines)


def _not_shown(shown: int, total: int, cut: str) -> str:
    parts = [*([cut] if cut else []), *([f"{total - shown} of {total} hits not shown"] if shown < total else [])]
    return f"# cut: {'; '.join(parts)}. Ask for the fields that you need by _source, or for a smaller size."


def _plain(hit: dict[str, Any], *, names_index: bool) -> dict[str, Any]:
    left_out = set() if names_index else {"_index"}
    return {key: value for key, value in hit.items() if key not in left_out and not (key == "_score" and value is None)}


def _shortened(value: Any, characters: int, items: int, members: int, depth: int = 0) -> Any:
    """Return a value with long texts, lists and objects cut; each cut is marked in its place."""
    if isinstance(value, str):
        return value if len(value) <= characters else f"{value[:characters]}… (+{len(value) - characters} characters)"
    if depth >= MAX_DEPTH and isinstance(value, list | dict):
        return "…"
    if isinstance(value, list):
        short = [_shortened(one, characters, items, members, depth + 1) for one in value[:items]]
        return short if len(value) <= items else [*short, f"… (+{len(value) - items} more)"]
    if isinstance(value, dict):
        first = list(value.items())[:members]
        pairs = {key: _shortened(one, characters, items, members, depth + 1) for key, one in first}
        return pairs if len(value) <= members else {**pairs, "…": f"+{len(value) - members} more"}
    return value


def _fits(text: str, budget_tokens: float) -> bool:
    """Return whether a text fits into a budget. What is surely too long isn't counted: answers have megabytes."""
    return len(text) <= BYTES_PER_TOKEN * budget_tokens and count_tokens(text) <= budget_tokens


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _cut_to(text: str, budget_tokens: int) -> str:
    """Return a text that fits into the budget. What is too long is cut, even in the middle of a line, and marked."""
    said = "… (cut)"
    if len(text) > BYTES_PER_TOKEN * budget_tokens:
        text = text[: max(0, int(BYTES_PER_TOKEN * budget_tokens))] + said
    while count_tokens(text) > budget_tokens:
        text = text[: int(len(text) * 0.8) - len(said)] + said
    return text
