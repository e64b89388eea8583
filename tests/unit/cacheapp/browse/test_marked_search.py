"""A search with its findings: at their lines and columns, whatever the body looks like."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.browse.marked_search import LONG_LINE, SHOWN_LINES, marked_search, readable
from cacheapp.queries.findings import Code, Finding, Severity, pointer
from cacheapp.queries.positions import spans_of

BODY = """{
  "query": {
    "bool": {
      "filter": [
        {"term": {"statuss": "open"}},
        {"range": {"at": {"gte": "x"}}}
      ]
    }
  }
}"""


def finding(path: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding(path, Code.UNKNOWN_FIELD, severity, None, (), f"about {path}")


def marked(text: str, *findings: Finding) -> dict[int, list[tuple[str, str]]]:
    """What is marked in which line, with its severity."""
    shown = marked_search(text, findings)
    return {
        line.number: [(piece.text, piece.severity) for piece in line.pieces if piece.severity]
        for line in shown.lines
        if any(piece.severity for piece in line.pieces)
    }


def test_places() -> None:
    """A key with a plain value is marked with it, one with an object alone; findings come in order of their places."""
    found = marked_search(
        BODY,
        [finding("/query/bool/filter/1/range/at/gte", Severity.WARNING), finding("/query/bool/filter/0/term/statuss")],
    )
    assert [(one.number, one.line, one.column) for one in found.findings] == [(1, 5, 19), (2, 6, 27)]
    assert [line.number for line in found.lines if line.findings] == [5, 6]
    assert marked(BODY, finding("/query/bool/filter/0/term/statuss")) == {5: [('"statuss": "open"', "error")]}
    assert marked(BODY, finding("/query/bool")) == {3: [('"bool"', "error")]}
    assert marked(BODY, finding("")) == {1: [("{", "error")]}
    assert marked(BODY, finding("/query/bool/filter/1")) == {6: [("{", "error")]}


def test_what_leads_nowhere() -> None:
    """A pointer to what isn't there marks the last step that is."""
    assert marked(BODY, finding("/query/bool/must/0/term")) == {3: [('"bool"', "error")]}
    assert marked("", finding("/query")) == {1: [("{", "error")]}


def test_one_place_has_one_mark() -> None:
    """An error counts more than a warning at the same place, and both are listed."""
    findings = [finding("/query", Severity.WARNING), finding("/query")]
    assert marked(BODY, *findings) == {2: [('"query"', "error")]}
    assert len(marked_search(BODY, findings).findings) == 2


def test_lines_are_whole() -> None:
    """Whatever is marked, the pieces of the lines are the body."""
    shown = marked_search(BODY, [finding("/query/bool/filter/1/range/at"), finding("/query")])
    assert "\n".join("".join(piece.text for piece in line.pieces) for line in shown.lines) == BODY


def test_long_bodies_are_shown_in_part() -> None:
    """Of very many lines those around what is wrong are shown, and how many are skipped."""
    text = json.dumps({f"k{number}": number for number in range(2 * SHOWN_LINES)}, indent=1)
    shown = marked_search(text, [finding("/k10"), finding("/k500")])
    assert [line.number for line in shown.lines] == [*range(9, 16), *range(499, 506)]
    assert [line.skipped for line in shown.lines if line.skipped] == [8, 483]
    assert shown.skipped == text.count("\n") + 1 - 505


def test_long_lines_are_broken() -> None:
    """A body on one long line is written with line breaks, and means the same; anything else stays as it is."""
    text = json.dumps({"a" * LONG_LINE: [1, {"b": 1.50}]})
    assert "\n" in readable(text)
    assert json.loads(readable(text)) == json.loads(text)
    assert readable(BODY) == BODY
    assert readable("{" * LONG_LINE * 2) == "{" * LONG_LINE * 2


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def pointers(value: object, path: str = "") -> list[tuple[str, object]]:
    """All JSON Pointers into a value, with what they lead to."""
    below: list[tuple[str, object]] = []
    if isinstance(value, dict):
        below = [one for key, inner in value.items() for one in pointers(inner, pointer(path, key))]
    if isinstance(value, list):
        below = [one for number, inner in enumerate(value) for one in pointers(inner, pointer(path, number))]
    return [(path, value), *below]


@given(values, st.sampled_from([None, 1, 3]))
def test_every_pointer_leads_to_its_place(value: object, indent: int | None) -> None:
    """Whatever the JSON, each pointer gives the key, and the plain value beside it."""
    text = json.dumps(value, indent=indent)
    paths = pointers(value)
    spans = spans_of(text, [path for path, _ in paths])
    for path, one in paths:
        start, end = spans[path]
        if path and not isinstance(one, dict | list):
            assert text[start:end].endswith(json.dumps(one)), (text, path)
        assert text[start:end].strip() == text[start:end] or not path


@pytest.mark.parametrize("path", ["/a/b", "/a/0", "/x"])
def test_spans_of_what_is_not_there(path: str) -> None:
    """There is a place for each."""
    assert set(spans_of('{"a": {}}', [path])) == {path}
