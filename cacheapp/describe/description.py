"""Describe a name: all its fields if they fit into the budget; otherwise those that a question is about, and the number
of others.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from msgspec import structs

from cacheapp.describe.entries import Entry, written
from cacheapp.describe.fields import NO_USES, FieldIndex
from cacheapp.describe.tokens import count_tokens
from cacheapp.describe.writing import Piece, lines_of, tokens_of, tokens_of_pieces
from esassistant.errors import BadRequest
from esassistant.units import as_duration

DEFAULT_BUDGET_TOKENS = 1000
MIN_BUDGET_TOKENS = 50
MAX_QUESTION_CHARACTERS = 1000

REST_SHARE = 0.06
"""The share of the budget for the last line, which says in which objects the fields are that aren't shown."""
MAX_REST_TOKENS = 200
ABOUT_SHARE = 0.1
NOTED = 20
"""If not all fields fit, this many of the best-ranked ones are shown with their notes."""
MIN_ENTRY_TOKENS, USUAL_ENTRY_TOKENS = 2, 4.5
MAX_TRIES = 6
GOOD_FILLING = 0.95
VALUES_SHARE = 0.2
"""The share of the budget that is reserved for values. They also get the room that fields leave."""


@dataclass(frozen=True, slots=True)
class ShownValues:
    """The values that a description shows: of how many fields, how old they are, how many documents the sample has, and
    whether these are all (`is_whole`).
    """

    fields_total: int
    age_seconds: float
    sample_documents: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Description:
    """A description of a name. `tokens`: how many tokens the text has at most; this is never more than `budget_tokens`.
    `shown_total`: how many of the `fields_total` fields it shows. `not_shown` counts the others by the beginning of
    their names; the empty beginning stands for the top level. `values` is None if no values are shown.
    """

    name: str
    indices_total: int
    fields_total: int
    shown_total: int
    budget_tokens: int
    tokens: int
    text: str
    not_shown: Mapping[str, int]
    values: ShownValues | None = None


@dataclass(frozen=True, slots=True)
class HeldValues:
    """What is known of the values of a name's fields.

    Args:
        texts: By path, the type that the field had when its values were gathered, and the text about them.
        age_seconds: How long ago they were gathered.
        sample_documents: How many documents the sample has.
        is_whole: Whether these are all documents.
    """

    texts: Mapping[str, tuple[str, str]]
    age_seconds: float
    sample_documents: int
    is_whole: bool

    @property
    def about(self) -> str:
        """Return one line that says how far the values can be trusted."""
        number = self.sample_documents
        documents = f"{number:,} document{'' if number == 1 else 's'}"
        sample = documents if self.is_whole else f"a sample of {documents}"
        return f"\n# values: {as_duration(_rounded(self.age_seconds))} old, of {sample}"


@dataclass(frozen=True, slots=True)
class _Text:
    """A description in parts: the first lines (`head`), the fields (`body`), and what isn't shown (`rest`). `noted`:
    the paths whose notes are shown; None: all notes are.
    """

    head: str
    body: str
    shown: Sequence[Entry]
    noted: frozenset[str] | None
    rest: str = ""
    not_shown: Mapping[str, int] = field(default_factory=dict)

    @property
    def whole(self) -> str:
        return self.head + self.body + self.rest


def check_question(question: str) -> None:
    """Raise `BadRequest` if a question is too long."""
    if len(question) > MAX_QUESTION_CHARACTERS:
        raise BadRequest(f"A question has at most {MAX_QUESTION_CHARACTERS} characters.")


def describe(
    name: str,
    index: FieldIndex,
    budget_tokens: int,
    question: str = "",
    uses: Mapping[str, float] = NO_USES,
    values: HeldValues | None = None,
) -> Description:
    """Describe the fields of `name`.

    Args:
        name: The index, alias or data stream.
        index: Its fields.
        budget_tokens: How many tokens the text may have, from `MIN_BUDGET_TOKENS` to `MAX_BUDGET_TOKENS`.
        question: What the reader wants to know, in words; may be empty.
        uses: How much each field is used in searches, from 0 to 1, by path.
        values: What values fields have; None: not known.
    """
    head = _head(name, index, budget_tokens)
    text, shown_values = None, 0
    if values is not None and values.texts:
        reserved = min(
            VALUES_SHARE * budget_tokens, tokens_of([values.about, *(said for _, said in values.texts.values())])
        )
        plain = _fitting(head, index, int(budget_tokens - reserved), question, uses)
        text, shown_values = _with_values(plain, index.ranked(question, len(plain.shown), uses), values, budget_tokens)
    if text is None:
        text = _fitting(head, index, budget_tokens, question, uses)
    return Description(
        name=name,
        indices_total=index.indices_total,
        fields_total=len(index.entries),
        shown_total=len(text.shown),
        budget_tokens=budget_tokens,
        tokens=count_tokens(text.whole),
        text=text.whole,
        not_shown=text.not_shown,
        values=None
        if values is None or not shown_values
        else ShownValues(shown_values, values.age_seconds, values.sample_documents, values.is_whole),
    )


def _fitting(head: str, index: FieldIndex, budget_tokens: int, question: str, uses: Mapping[str, float]) -> _Text:
    """Write all fields if they fit into the budget, otherwise those that are ranked first."""
    left = budget_tokens - tokens_of([head])
    for (whole, tokens), noted in zip(index.wholes, (None, frozenset[str]()), strict=False):
        if tokens <= left and count_tokens(head + whole) <= budget_tokens:
            return _Text(head, whole, index.entries, noted)
    reserved = min(REST_SHARE * budget_tokens, MAX_REST_TOKENS)
    room = left - max(reserved, tokens_of([_rest_head(len(index.entries))])) - 1
    shown, body = _filled(index.ranked(question, max(0, int(room / MIN_ENTRY_TOKENS)), uses), room)
    while True:
        not_shown = _not_shown(index, shown)
        rest = _rest(not_shown, budget_tokens - tokens_of([head + body]))
        text = _Text(head, body, shown, _noted(shown), rest, not_shown)
        if count_tokens(text.whole) <= budget_tokens:
            return text
        shown = shown[: len(shown) - 1 - len(shown) // 20]
        body = _joined(_pieces(shown, _noted(shown)))


def _with_values(
    plain: _Text, ranked: Sequence[Entry], values: HeldValues, budget_tokens: int
) -> tuple[_Text | None, int]:
    """Add values to the fields of a text, the best-ranked fields first, as far as the budget goes. Return the text, and
    how many fields have values in it; None and 0 if there is no room for any.
    """
    room = budget_tokens - count_tokens(plain.whole) - tokens_of([values.about]) - 1
    shown = {entry.path for entry in plain.shown}
    added: dict[str, str] = {}
    for entry in ranked:
        kind, said = values.texts.get(entry.path, ("", ""))
        if entry.path not in shown or kind != entry.types or (tokens := tokens_of([f"({said})"]) + 1) > room:
            continue
        room -= tokens
        added[entry.path] = said
    while added:
        entries = [_valued(entry, added.get(entry.path)) for entry in plain.shown]
        body = _joined(_pieces(entries, plain.noted))
        text = replace(plain, head=plain.head + values.about, body=body)
        if count_tokens(text.whole) <= budget_tokens:
            return text, len(added)
        added = dict(list(added.items())[: len(added) // 2])
    return None, 0


def _valued(entry: Entry, text: str | None) -> Entry:
    """Return an entry with the text about its values added to its marks."""
    if text is None:
        return entry
    marks = f"{entry.marks[:-1]}, {text})" if entry.marks else f"({text})"
    return structs.replace(entry, marks=marks)


def _rounded(age_seconds: float) -> float:
    """Round an age up: to whole seconds, above a minute to whole minutes, above an hour to whole hours. Otherwise the
    text would change with every second.
    """
    unit = 1.0 if age_seconds <= 60 else 60.0 if age_seconds <= 3_600 else 3_600.0
    return max(1, math.ceil(age_seconds / unit)) * unit


def _head(name: str, index: FieldIndex, budget_tokens: int) -> str:
    """Return the first lines: what is described, and what the mappings say of themselves in `_meta`, if there is
    room.
    """
    fields = f"{len(index.entries):,} field{'' if len(index.entries) == 1 else 's'}"
    indices = f"{index.indices_total:,} indices, " if index.indices_total != 1 else ""
    head = f"{written(name)}: {indices}{fields}"
    if tokens_of([head]) > budget_tokens / 2:
        head = f"{indices}{fields}"  # the reader knows the name
    if index.about and tokens_of([about := f"\n# {index.about}"]) <= ABOUT_SHARE * budget_tokens:
        head += about
    return head


def _filled(ranked: Sequence[Entry], room: float) -> tuple[Sequence[Entry], str]:
    """Return the first entries, as many as there is room for, and their text.

    The cost of one more entry depends on the lines that the others are in. So different numbers are tried; the text
    grows nearly evenly with the number of entries, which gives good guesses.
    """
    fits, body = 0, ""
    least, most = 0, len(ranked)
    tried = min(most, int(room / USUAL_ENTRY_TOKENS))
    for _ in range(MAX_TRIES):
        pieces = _pieces(ranked[:tried], _noted(ranked[:tried]))
        tokens = tokens_of_pieces(pieces)
        if tokens <= room:
            fits = least = tried
            body = _joined(pieces)
            if tokens >= GOOD_FILLING * room:
                break
        else:
            most = tried - 1
        if least >= most:
            break
        guess = int(tried * room / tokens) if tokens else most
        tried = min(max(guess, least + 1), most)
    return ranked[:fits], body


def _noted(shown: Sequence[Entry]) -> frozenset[str]:
    """Return the paths of the entries that are shown with their notes."""
    return frozenset(entry.path for entry in shown[:NOTED])


def _pieces(shown: Sequence[Entry], noted: frozenset[str] | None) -> list[Piece]:
    return [piece for line in lines_of(shown) for piece in line.pieces(noted)]


def _joined(pieces: Iterable[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def _not_shown(index: FieldIndex, shown: Iterable[Entry]) -> dict[str, int]:
    """Count the entries that are not shown by the beginnings of their names, the largest counts first."""
    left = index.totals - Counter(index.objects[entry.path] for entry in shown)
    return dict(sorted(left.items(), key=lambda item: (-item[1], item[0])))


def _rest_head(number: int) -> str:
    return f"\n# {number:,} more"


def _rest(not_shown: Mapping[str, int], room: float) -> str:
    """Return the last line: how many fields aren't shown, and where most of them are."""
    text = _rest_head(sum(not_shown.values()))
    room -= tokens_of([text])
    separator = ": "
    for name, number in not_shown.items():
        part = f"{separator}{written(name) + '.' if name else 'at the top'} {number:,}"
        room -= tokens_of([part])
        if room < 0:
            break
        text += part
        separator = ", "
    return text
