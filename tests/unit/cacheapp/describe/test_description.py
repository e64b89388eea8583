"""A description never exceeds its budget, whatever the fields, and says what it leaves out."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheapp.describe import description as module
from cacheapp.describe.description import MAX_QUESTION_CHARACTERS, MIN_BUDGET_TOKENS, check_question, describe
from cacheapp.describe.fields import MAX_BUDGET_TOKENS, FieldIndex
from cacheapp.describe.tokens import count_tokens
from cacheapp.mapping.fields import Field, fields
from esassistant.errors import BadRequest
from tests.support.fixtures import Figure

TYPES = ("keyword", "text", "date", "long", "nested", "scaled_float")
PARTS = st.one_of(
    st.sampled_from(["host", "name", "customer_full_name", "TargetUserName", "queue", "status", "注文番号", "größe"]),
    st.text(min_size=1, max_size=12),
    st.integers(0, 2**64).map(lambda number: f"{number:x}"),
)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map(".".join)


@st.composite
def some_fields(draw: st.DrawFn) -> tuple[Field, ...]:
    """A few drawn fields, repeated under numbered objects until there are up to 20 000."""
    drawn = draw(st.lists(NAMES, min_size=1, max_size=12, unique=True))
    copies = draw(st.sampled_from([1, 1, 3, 30, 300, 1_700]))
    notes = draw(st.sampled_from([{}, {"unit": "ms"}, {"description": "What is said of it\n" * 3}]))
    names = {name if not copy else f"o{copy}.{name}" for copy in range(copies) for name in drawn}
    return tuple(
        Field(name, (TYPES[number % len(TYPES)],), True, True, 1, meta=notes)
        for number, name in enumerate(sorted(names))
    )


def test_case_66_no_budget_is_exceeded(figure: Figure) -> None:
    """1 to 20 000 fields, any names, any budget, any question: never above it, and what isn't shown is counted."""
    shares: list[float] = []

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(some_fields(), st.data())
    def holds(found: tuple[Field, ...], data: st.DataObject) -> None:
        about = data.draw(st.sampled_from(["", "what it is about"]))
        index = FieldIndex(found, data.draw(st.sampled_from([1, 220])), about)
        for _ in range(3):
            budget_tokens = data.draw(st.integers(MIN_BUDGET_TOKENS, MAX_BUDGET_TOKENS) | st.integers(50, 2_000))
            name, question = data.draw(st.text(min_size=1, max_size=255)), data.draw(st.text(max_size=60))
            said = describe(name, index, budget_tokens, question)
            assert said.tokens == count_tokens(said.text) <= budget_tokens
            assert said.shown_total + sum(said.not_shown.values()) == said.fields_total == len(index.entries)
            shares.append(said.tokens / budget_tokens)

    holds()
    assert max(shares) <= 1
    figure(66, f"{len(shares)} descriptions of 1 to 20,000 fields: none above its budget")


def index_of(properties: Mapping[str, object], indices_total: int = 1, about: str = "") -> FieldIndex:
    return FieldIndex(fields({"i": json.dumps({"properties": properties}).encode()}), indices_total, about)


def test_all_that_fits_is_said() -> None:
    """With the notes, and what the mapping says of itself; in the same words whatever the question."""
    index = index_of({"a": {"type": "long", "meta": {"unit": "ms"}}, "b": {"type": "ip"}}, 1, "Pings")
    expected = "pings: 2 fields\n# Pings\nlong a; ip b\n  a — unit ms"
    assert describe("pings", index, 50).text == expected
    assert describe("pings", index, 50_000, "b?").text == expected


def test_notes_go_before_fields_do() -> None:
    """What doesn't fit with all notes may fit without."""
    described = {f"name{n}": {"type": "long", "meta": {"description": "What it is, in many words"}} for n in range(20)}
    said = describe("x", index_of(described), 100)
    assert (said.shown_total, said.not_shown) == (20, {})
    assert "What it is" not in said.text


def test_the_rest_is_counted_by_objects() -> None:
    """Beyond the budget the largest objects are named, so that the reader knows what to ask for."""
    many = {f"o{o}": {"properties": {f"name{n}": {"type": "long"} for n in range(40 - o)}} for o in range(9)}
    said = describe("x", index_of({**many, "host": {"properties": {"name": {"type": "ip"}}}}), 300, "name7")
    assert said.fields_total == 325
    assert "host.: ip name" in said.text
    assert "name7" in said.text
    last = said.text.splitlines()[-1]
    assert last.startswith(f"# {325 - said.shown_total} more: o0. {said.not_shown['o0']}, o1. ")


def test_a_long_name_leaves_room() -> None:
    """A name that takes half of the budget isn't repeated to who asked for it."""
    assert describe("注" * 85, index_of({"a": {"type": "long"}}, 7), 50).text == "7 indices, 1 field\nlong a(in 1)"


def test_nothing_is_a_description_too() -> None:
    """A mapping without fields has one line."""
    said = describe("empty", index_of({}), 50)
    assert (said.text, said.shown_total) == ("empty: 0 fields", 0)


def test_tiny_fields_fill_the_budget() -> None:
    """Where fields take fewer tokens than mostly, more of them are shown."""
    said = describe("x", FieldIndex([Field(f"{n:03}", ("ip",), True, True, 1) for n in range(1_000)], 1), 500)
    assert said.shown_total > 125
    assert said.tokens > 400


def test_a_question_has_a_length() -> None:
    """One character more is refused."""
    check_question("a" * MAX_QUESTION_CHARACTERS)
    with pytest.raises(BadRequest, match="1000 characters"):
        check_question("a" * (MAX_QUESTION_CHARACTERS + 1))


def test_a_whole_that_costs_more_than_its_parts_loses_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a text count more than the sum of its pieces, fewer fields are shown: no budget is exceeded."""
    index = index_of({f"name{n}": {"type": "long"} for n in range(500)})
    plain = describe("x", index, 300)
    monkeypatch.setattr(module, "count_tokens", lambda text: count_tokens(text) * 11 // 10)
    said = describe("x", index, 300)
    assert said.tokens <= 300
    assert 0 < said.shown_total < plain.shown_total
