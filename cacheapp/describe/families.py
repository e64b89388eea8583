"""Describe the whole cluster in one text: a line for each family of indices, first those that a question is about."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cacheapp.describe.entries import about_of, entries, written
from cacheapp.describe.field_names import FieldNames
from cacheapp.describe.fields import prior_of
from cacheapp.describe.ranking import WordIndex, words_of
from cacheapp.describe.tokens import count_tokens
from cacheapp.describe.words import tokens
from cacheapp.describe.writing import tokens_of
from cacheapp.mapping.fields import fields
from cacheapp.state.families import INDICES, family_of, names_by_index
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import Visible

MAX_WORDS = 300
MAX_SAMPLES = 6
MAX_MAPPINGS = 3
"""How many distinct mappings of a family count for its ranking: those of the most indices."""
NAME_WEIGHT, FIELD_WEIGHT = 3.0, 1.0
LENGTH_SHARE = 0.6
REST_TOKENS = 12
FIRST_SHARE = 1.5
"""How much more than an even share of the room the families that are ranked first may take."""


@dataclass(frozen=True, slots=True)
class Family:
    """Indices that belong together. `hashes`: the hashes of their mappings, that of the most indices first."""

    name: str
    kind: str
    indices_total: int
    hashes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a family is ranked and described by, taken from one mapping: weighted words, the number of fields, their
    names, and what the mapping says of itself.
    """

    words: Mapping[str, float]
    fields_total: int
    fields: FieldNames
    about: str

    @property
    def size_bytes(self) -> int:
        """Estimate how much memory the summary takes."""
        return 1_000 + 100 * len(self.words) + self.fields.size_bytes + 4 * len(self.about)


def members_of_families(snapshot: Snapshot, visible: Visible) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield the families of a cluster: name, kind, and the indices that belong to each.

    An index that isn't visible is included only if a visible alias or data stream has it.
    """
    names = names_by_index({alias: aliased for alias, aliased in snapshot.aliases.items() if visible.covers(alias)})
    members: dict[tuple[str, str], list[str]] = {}
    for index in snapshot.indices:
        if index not in names and not visible.covers(index):
            continue
        family = family_of(index, names.get(index, ()), snapshot.aliases, snapshot.data_streams)
        members.setdefault(family, []).append(index)
    for (kind, beginning), indices in members.items():
        yield beginning if kind != INDICES else indices[0] if len(indices) == 1 else f"{beginning}*", kind, indices


def families_of(snapshot: Snapshot, visible: Visible) -> tuple[Family, ...]:
    """Return the families of a cluster by name, without those whose names begin with a dot."""
    found = []
    for name, kind, indices in members_of_families(snapshot, visible):
        if not name.startswith("."):
            counted = Counter(snapshot.indices[index].mapping_hash for index in indices)
            hashes = tuple(mapping_hash for mapping_hash, _ in counted.most_common(MAX_MAPPINGS))
            found.append(Family(name, kind, len(indices), hashes))
    return tuple(sorted(found, key=lambda family: family.name))


def summary_of(mapping: bytes) -> Summary:
    """Summarise a mapping."""
    found = entries(fields({"": mapping}), 1)
    counted: Counter[str] = Counter()
    known_by: list[tuple[str, set[str]]] = []
    for entry in sorted(found, key=lambda entry: (-prior_of(entry), entry.path)):
        words = set()
        for token in (*tokens(entry.path.replace(".", " ")), *tokens(entry.note)):
            stems, whole = words_of(token)
            words.update(stems)
            if whole is not None:
                words.add(whole)
        counted.update(words)
        known_by.append((written(entry.path), words))
    about = about_of([mapping])
    for token in tokens(about):
        counted.update(words_of(token)[0])
    kept = {word: FIELD_WEIGHT * (1 + math.log(number)) for word, number in counted.most_common(MAX_WORDS)}
    return Summary(
        words=kept,
        fields_total=len(found),
        fields=FieldNames.of(known_by, frozenset(kept)),
        about=about,
    )


class FamilyIndex:
    """The families of a cluster, ready to be ranked. `summaries` need not have those of mappings that are not in
    memory.
    """

    def __init__(self, families: Sequence[Family], summaries: Mapping[str, Summary]) -> None:
        self.families = families
        self.summaries = [
            next((summaries[mapping_hash] for mapping_hash in family.hashes if mapping_hash in summaries), None)
            for family in families
        ]
        self._words = WordIndex([_words(family, summaries) for family in families], LENGTH_SHARE)

    def matching_total(self, question: str) -> int:
        """Return how many families have anything to do with a question."""
        return len(self._words.scores(question))

    def asked(self, question: str) -> list[dict[str, float]]:
        """Return, for each word of a question, the words of families that it may stand for, with weights."""
        return self._words.asked(question)

    def ranked(self, question: str) -> list[int]:
        """Return the places of the families in order: first those that a question is about, then those with the most
        indices.
        """
        scores = self._words.scores(question)
        order = range(len(self.families))
        return sorted(
            order, key=lambda n: (-scores.get(n, 0.0), -self.families[n].indices_total, self.families[n].name)
        )


def _words(family: Family, summaries: Mapping[str, Summary]) -> dict[str, float]:
    words: dict[str, float] = {}
    for mapping_hash in family.hashes:
        if mapping_hash in summaries:
            words |= summaries[mapping_hash].words
    for token in tokens(family.name):
        stems, whole = words_of(token)
        for word in stems if whole is None else [*stems, whole]:
            words[word] = words.get(word, 0.0) + NAME_WEIGHT
    return words


@dataclass(frozen=True, slots=True)
class FamilyAbout:
    """A family that a question is about. `fields_total`: how many fields it has; None: not known. `fields`: the names
    of some of them, first those that the question is about.
    """

    family: Family
    fields_total: int | None
    fields: tuple[str, ...]


def families_about(index: FamilyIndex, question: str, limit: int) -> tuple[FamilyAbout, ...]:
    """Return the families that a question is about, the nearest first, at most `limit`."""
    asked = index.asked(question)
    numbers = index.ranked(question)[: min(limit, index.matching_total(question))]
    found = ((index.families[number], index.summaries[number]) for number in numbers)
    return tuple(
        FamilyAbout(family, None, ())
        if summary is None
        else FamilyAbout(family, summary.fields_total, tuple(summary.fields.first(asked)[:MAX_SAMPLES]))
        for family, summary in found
    )


@dataclass(frozen=True, slots=True)
class ClusterDescription:
    """A description of a cluster. `tokens`: how many tokens the text has at most; this is never more than
    `budget_tokens`. `shown`: the families in it, of `families_total`. `matching_total`: how many families have anything
    to do with the question.
    """

    families_total: int
    matching_total: int
    shown: tuple[Family, ...]
    budget_tokens: int
    tokens: int
    text: str


def describe_families(index: FamilyIndex, budget_tokens: int, question: str = "") -> ClusterDescription:
    """Describe a cluster.

    If the budget is large enough, all families are named. Then, in the order of their ranks, their numbers of indices
    and fields are added, and the names of some fields, first those that the question is about.
    """
    asked = index.asked(question)
    order = index.ranked(question)
    head = f"{len(order):,} families of indices" if len(order) != 1 else "1 family of indices"
    room = budget_tokens - tokens_of([head]) - 1
    names = [f"\n{written(index.families[number].name)}" for number in order]
    if tokens_of(names) > room:
        room -= REST_TOKENS
    shown = _how_many(names, room)
    room -= tokens_of(names[:shown])
    lines = []
    for place, number in enumerate(order[:shown]):
        detail = _detail(index, number)
        # Each family gets its share of the room that is left; a short one leaves more room for the next.
        said, room = _with_room(detail, room, room)
        samples, room = (
            _with_room(_samples(index, number, asked), room, room / (shown - place) * FIRST_SHARE)
            if said
            else ("", room)
        )
        lines.append(names[place] + said + samples)
    rest = f"\n# {len(order) - shown:,} more" if shown < len(order) else ""
    text = head + "".join(lines) + rest
    while count_tokens(text) > budget_tokens and lines:
        lines.pop()
        text = head + "".join(lines) + f"\n# {len(order) - len(lines):,} more"
    chosen = tuple(index.families[number] for number in order[: len(lines)])
    matching = index.matching_total(question)
    return ClusterDescription(len(order), matching, chosen, budget_tokens, count_tokens(text), text)


def _how_many(pieces: Sequence[str], room: float) -> int:
    """Return how many of the pieces fit into the room."""
    for number, piece in enumerate(pieces):
        room -= tokens_of([piece])
        if room < 0:
            return number
    return len(pieces)


def _with_room(pieces: Sequence[str], room: float, share: float) -> tuple[str, float]:
    """Return the first pieces that fit into a share of the room, as one text, and the room that is left."""
    taken = pieces[: _how_many(pieces, share)]
    return "".join(taken), room - tokens_of(taken)


def _detail(index: FamilyIndex, number: int) -> list[str]:
    family, summary = index.families[number], index.summaries[number]
    counts = [f"{family.indices_total:,} indices"] if family.indices_total != 1 else []
    counts += [] if summary is None else [f"{summary.fields_total:,} fields"]
    return [f": {', '.join(counts)}"] if counts else []


def _samples(index: FamilyIndex, number: int, asked: Sequence[Mapping[str, float]]) -> list[str]:
    """Return what the mapping says of itself, and the names of some fields, in pieces."""
    summary = index.summaries[number]
    said = [] if summary is None else [*filter(None, [summary.about]), *summary.fields.first(asked)]
    return [f"{', ' if place else ' — '}{one}" for place, one in enumerate(said)]
