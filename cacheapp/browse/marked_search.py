"""Show a search with its findings at their places. Pure; a large body takes some milliseconds, so call it in a
thread.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from cacheapp.queries.findings import Finding, Severity
from cacheapp.queries.positions import Span, spans_of

LONG_LINE = 200
"""A body with a longer line than this is reformatted with line breaks, because nobody could find anything in it."""
SHOWN_LINES = 300
"""A body with more lines than this is shown only around its findings, with `LINES_AROUND` lines before and after
each.
"""
LINES_AROUND = 3


@dataclass(frozen=True, slots=True)
class MarkedPiece:
    """A part of a line; `severity` is empty where nothing is wrong with it."""

    text: str
    severity: str = ""


@dataclass(frozen=True, slots=True)
class PlacedFinding:
    """A finding with its place: line and column, from 1. The page links to it by `number`, from 1."""

    number: int
    line: int
    column: int
    finding: Finding


@dataclass(frozen=True, slots=True)
class MarkedLine:
    """One line of a search, with the findings that begin in it. `skipped`: how many lines before it are not shown."""

    number: int
    pieces: tuple[MarkedPiece, ...]
    findings: tuple[PlacedFinding, ...]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class MarkedSearch:
    """A search as it is shown, and all findings in the order of their places. `skipped`: how many lines after the last
    one are not shown.
    """

    text: str
    lines: tuple[MarkedLine, ...]
    findings: tuple[PlacedFinding, ...]
    skipped: int


def readable(text: str) -> str:
    """Return the same JSON, with line breaks if it has lines too long to read. Text that is no JSON is returned
    unchanged.
    """
    if not any(len(line) > LONG_LINE for line in text.splitlines()):
        return text
    try:
        return msgspec.json.format(text, indent=2)
    except (ValueError, RecursionError):  # msgspec's own error is a ValueError
        return text


def marked_search(text: str, findings: Sequence[Finding]) -> MarkedSearch:
    """Mark what is wrong with a search. `text` has to be valid JSON, or empty."""
    if not text.strip():
        text = "{}"
    spans = spans_of(text, [finding.path for finding in findings])
    starts = [0]
    lines = text.split("\n")
    for line in lines[:-1]:
        starts.append(starts[-1] + len(line) + 1)
    placed = sorted(_placed(spans, starts, findings), key=lambda one: (one.line, one.column, one.finding.path))
    placed = [PlacedFinding(number, one.line, one.column, one.finding) for number, one in enumerate(placed, 1)]
    severities = _severities(spans, findings)
    by_line: dict[int, list[PlacedFinding]] = {}
    for one in placed:
        by_line.setdefault(one.line, []).append(one)
    shown: list[MarkedLine] = []
    for number in _shown_lines(len(lines), by_line):
        start = starts[number - 1]
        pieces = _pieces(lines[number - 1].rstrip("\r"), start, severities)
        before = shown[-1].number if shown else 0
        shown.append(MarkedLine(number, pieces, tuple(by_line.get(number, ())), number - before - 1))
    return MarkedSearch(text, tuple(shown), tuple(placed), len(lines) - (shown[-1].number if shown else 0))


def _placed(spans: Mapping[str, Span], starts: Sequence[int], findings: Iterable[Finding]) -> Iterable[PlacedFinding]:
    for finding in findings:
        start, _ = spans[finding.path]
        line = bisect_right(starts, start)
        yield PlacedFinding(0, line, start - starts[line - 1] + 1, finding)


def _severities(spans: Mapping[str, Span], findings: Iterable[Finding]) -> list[tuple[Span, str]]:
    """Return the spans to mark, in order and without overlaps. Where an error and a warning begin at the same place,
    the error is marked.
    """
    ordered = sorted(
        ((spans[finding.path], finding.severity is not Severity.ERROR, finding.severity.value) for finding in findings),
        key=lambda one: (one[0][0], one[1]),
    )
    marked: list[tuple[Span, str]] = []
    for (start, end), _, severity in ordered:
        if not marked or start >= marked[-1][0][1]:
            marked.append(((start, end), severity))
    return marked


def _shown_lines(total: int, wanted: Iterable[int]) -> list[int]:
    if total <= SHOWN_LINES:
        return list(range(1, total + 1))
    around = {
        number
        for line in wanted
        for number in range(line - LINES_AROUND, line + LINES_AROUND + 1)
        if 1 <= number <= total
    }
    return sorted(around)


def _pieces(line: str, start: int, marked: Iterable[tuple[Span, str]]) -> tuple[MarkedPiece, ...]:
    pieces: list[MarkedPiece] = []
    place = 0
    for (begin, end), severity in marked:
        first, last = max(begin - start, place), min(end - start, len(line))
        if first >= last:
            continue
        if first > place:
            pieces.append(MarkedPiece(line[place:first]))
        pieces.append(MarkedPiece(line[first:last], severity))
        place = last
    if place < len(line) or not pieces:
        pieces.append(MarkedPiece(line[place:]))
    return tuple(pieces)
