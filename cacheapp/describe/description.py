"""Describe a name: all its fields if they fit the budget, else those that a question is about, the rest is counted."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cacheapp.describe.entries import Entry, written
from cacheapp.describe.fields import FieldIndex
from cacheapp.describe.tokens import count_tokens
from cacheapp.describe.writing import lines_of, tokens_of
from esassistant.errors import BadRequest

DEFAULT_BUDGET_TOKENS = 1000
MIN_BUDGET_TOKENS = 50
MAX_QUESTION_CHARACTERS = 1000

REST_SHARE = 0.06
"""The share of the budget that the objects take of which there is more."""
MAX_REST_TOKENS = 200
ABOUT_SHARE = 0.1
NOTED = 20
"""So many of the fields that are ranked first are shown with what is said of them."""
MIN_ENTRY_TOKENS, USUAL_ENTRY_TOKENS = 2, 4.5
MAX_TRIES = 6
GOOD_FILLING = 0.95


@dataclass(frozen=True, slots=True)
class Description:
    """A text of at most `budget_tokens`, which has `tokens` at most itself; and how many fields it shows of how many.
    `not_shown` counts the others by the beginning of their names, empty: at the top level.
    """

    name: str
    indices_total: int
    fields_total: int
    shown_total: int
    budget_tokens: int
    tokens: int
    text: str
    not_shown: Mapping[str, int]


def check_question(question: str) -> None:
    """Raise `BadRequest` for a question that is too long."""
    if len(question) > MAX_QUESTION_CHARACTERS:
        raise BadRequest(f"A question has at most {MAX_QUESTION_CHARACTERS} characters.")


def describe(name: str, index: FieldIndex, budget_tokens: int, question: str = "") -> Description:
    """Describe what is known of `name`.

    Args:
        name: The index, alias or data stream.
        index: Its fields.
        budget_tokens: What the text has at most, from `MIN_BUDGET_TOKENS` to `MAX_BUDGET_TOKENS`.
        question: What the reader wants to know, in words; may be empty.
    """
    head = _head(name, index, budget_tokens)
    left = budget_tokens - tokens_of([head])
    for text, tokens in index.wholes:
        if tokens <= left and count_tokens(head + text) <= budget_tokens:
            return _described(name, index, budget_tokens, head + text, index.entries)
    reserved = min(REST_SHARE * budget_tokens, MAX_REST_TOKENS)
    room = left - max(reserved, tokens_of([_rest_head(len(index.entries))])) - 1
    shown, body = _filled(index.ranked(question, max(0, int(room / MIN_ENTRY_TOKENS))), room)
    while True:
        text = head + body
        text += _rest(index, shown, budget_tokens - tokens_of([text]))
        if count_tokens(text) <= budget_tokens:
            return _described(name, index, budget_tokens, text, shown)
        shown = shown[: len(shown) - 1 - len(shown) // 20]
        body = _written(shown)


def _described(name: str, index: FieldIndex, budget_tokens: int, text: str, shown: Sequence[Entry]) -> Description:
    return Description(
        name=name,
        indices_total=index.indices_total,
        fields_total=len(index.entries),
        shown_total=len(shown),
        budget_tokens=budget_tokens,
        tokens=count_tokens(text),
        text=text,
        not_shown=dict(_not_shown(index, shown)),
    )


def _head(name: str, index: FieldIndex, budget_tokens: int) -> str:
    """The first line: what is described, and what the mappings say of themselves, as far as there is room."""
    fields = f"{len(index.entries):,} field{'' if len(index.entries) == 1 else 's'}"
    indices = f"{index.indices_total:,} indices, " if index.indices_total != 1 else ""
    head = f"{written(name)}: {indices}{fields}"
    if tokens_of([head]) > budget_tokens / 2:
        head = f"{indices}{fields}"  # whoever asked knows the name
    if index.about and tokens_of([about := f"\n# {index.about}"]) <= ABOUT_SHARE * budget_tokens:
        head += about
    return head


def _filled(ranked: Sequence[Entry], room: float) -> tuple[Sequence[Entry], str]:
    """Return as many of the entries as have room, and their text.

    What one more entry costs depends on the lines there are. So it is tried with more and fewer: the text grows with
    each entry, nearly evenly.
    """
    fits, body = 0, ""
    least, most = 0, len(ranked)
    tried = min(most, int(room / USUAL_ENTRY_TOKENS))
    for _ in range(MAX_TRIES):
        pieces = _pieces(ranked[:tried])
        tokens = tokens_of(pieces)
        if tokens <= room:
            fits = least = tried
            body = "".join(pieces)
            if tokens >= GOOD_FILLING * room:
                break
        else:
            most = tried - 1
        if least >= most:
            break
        guess = int(tried * room / tokens) if tokens else most
        tried = min(max(guess, least + 1), most)
    return ranked[:fits], body


def _pieces(shown: Sequence[Entry]) -> list[str]:
    noted = frozenset(entry.path for entry in shown[:NOTED])
    return [piece for line in lines_of(shown) for piece in line.pieces(noted)]


def _written(shown: Sequence[Entry]) -> str:
    return "".join(_pieces(shown))


def _not_shown(index: FieldIndex, shown: Iterable[Entry]) -> list[tuple[str, int]]:
    """Count the entries that are not shown by their beginnings, the largest first."""
    left = index.totals - Counter(index.objects[entry.path] for entry in shown)
    return sorted(((name, number) for name, number in left.items() if number), key=lambda item: (-item[1], item[0]))


def _rest_head(number: int) -> str:
    return f"\n# {number:,} more"


def _rest(index: FieldIndex, shown: Sequence[Entry], room: float) -> str:
    """The last line: how many fields there are beside those shown, and where most of them are."""
    text = _rest_head(len(index.entries) - len(shown))
    room -= tokens_of([text])
    separator = ": "
    for name, number in _not_shown(index, shown):
        part = f"{separator}{written(name) + '.' if name else 'at the top'} {number:,}"
        room -= tokens_of([part])
        if room < 0:
            break
        text += part
        separator = ", "
    return text
