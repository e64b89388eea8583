"""The fields of a name, ready to be described for any question and any budget. Pure; made in a thread."""

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter

from cacheapp.describe.entries import Entry, entries
from cacheapp.describe.ranking import WordIndex, words_of
from cacheapp.describe.well_known import BEST_KNOWN, TELLING, WELL_KNOWN
from cacheapp.describe.words import joined, stem, tokens
from cacheapp.describe.writing import lines_of, tokens_of_pieces
from cacheapp.mapping.fields import Field

MAX_BUDGET_TOKENS = 50_000

LAST_PART, OTHER_PART, TOGETHER, SAID = 1.3, 1.0, 0.3, 0.5
"""The weights of the words of a field: of the last part of its path, of the other parts, of the last two parts as one
word, and of its type and note.
"""
ALWAYS, BEST, KNOWN, TELLS, AT_TOP, DEEPER = 3.0, 0.4, 0.1, 0.15, 0.25, -0.04
"""The prior of a field is the sum of those of these numbers whose condition holds. In order: it is a time of the
document; its name is among the best known; its name is well known, but not among the best known; its last word tells
something; it is at the top level. The last number is added for each object around it. For comparison: the field that
fits a question best scores 1.
"""
BESIDE, AROUND = 0.2, 0.15
"""A field whose last word tells something also gets a share of the best score among the fields beside it (`BESIDE`),
and among those in an object beside it (`AROUND`): a question about queues needs the queue's name too.
"""

USED = 0.3
"""The score of a field that is always used in searches: less than that of a field that fits the question."""
BARELY = 0.08
"""Fields with less than this share of the best score have hardly anything to do with the question."""
MAINLY = 0.4
"""Fields with at least this share of the best score raise those beside them."""

NO_USES: Mapping[str, float] = {}
TIME_TYPES = ("date", "date_nanos")
MAX_TIMES = 3
ONE_OBJECT_SHARE = 0.6


class FieldIndex:
    """All fields of a name, with what is needed to rank them.

    Args:
        fields: Sorted by name.
        indices_total: How many indices the name stands for.
        about: What the mappings say of themselves, on one line; may be empty.
    """

    def __init__(self, fields: Sequence[Field], indices_total: int, about: str = "") -> None:
        self.indices_total = indices_total
        self.about = about
        self.entries = entries(fields, indices_total)
        self._words = WordIndex([_words(entry) for entry in self.entries])
        times = _times(self.entries)
        self._priors = [prior_of(entry, is_time=entry.path in times) for entry in self.entries]
        self._by_prior = sorted(range(len(self.entries)), key=lambda number: (-self._priors[number], number))
        self._telling: dict[str, list[int]] = {}
        for number, entry in enumerate(self.entries):
            around, _, last = entry.path.rpartition(".")
            if around and _tells(last):
                self._telling.setdefault(around, []).append(number)
        self._arounds = [entry.path.rpartition(".")[0] for entry in self.entries]
        self.wholes = _wholes(self.entries)
        self.objects = _counted(self.entries)
        self.totals = Counter(self.objects.values())
        texts_bytes = sum(len(text) for text, _ in self.wholes)
        self.size_bytes = 600 * len(self.entries) + 100 * self._words.postings_total + texts_bytes  # an estimate

    def ranked(self, question: str, limit: int, uses: Mapping[str, float] = NO_USES) -> list[Entry]:
        """Return the first `limit` entries: first those that a question is about, then those with the highest priors.

        Args:
            question: May be empty.
            limit: How many entries.
            uses: How much each field is used in searches, from 0 to 1, by path.
        """
        scores = self._words.scores(question)
        best = max(scores.values(), default=1.0)
        raised = {number: score / best for number, score in scores.items() if score >= BARELY * best}
        for near, share in self._shared(raised).items():
            raised[near] = raised.get(near, 0.0) + share
        for path, share in uses.items():
            if (number := self._number_of(path)) is not None:
                raised[number] = raised.get(number, 0.0) + USED * share
        priors = self._priors
        others = self._by_prior[:limit]
        least = priors[others[-1]] if len(others) == limit > 0 else -math.inf  # `limit` others have this much
        found = [(-total, number) for number, score in raised.items() if (total := priors[number] + score) >= least]
        found += [(-priors[number], number) for number in others if number not in raised]
        found.sort()
        return [self.entries[number] for _, number in found[:limit]]

    def about_question(self, question: str) -> list[str]:
        """Return the paths of the fields that a question is about, the nearest first. Only its words count, not priors
        or uses.
        """
        scores = self._words.scores(question)
        least = BARELY * max(scores.values(), default=0.0)
        near = [(-score, -self._priors[number], number) for number, score in scores.items() if score >= least]
        return [self.entries[number].path for *_, number in sorted(near)]

    def _number_of(self, path: str) -> int | None:
        """Return the number of the entry with that path; None if there is none."""
        number = bisect_left(self.entries, path, key=attrgetter("path"))
        return number if number < len(self.entries) and self.entries[number].path == path else None

    def _shared(self, scores: Mapping[int, float]) -> dict[int, float]:
        """Return, by number, what telling fields gain from the fields beside them."""
        beside: dict[str, float] = {}
        for number, score in scores.items():
            if score >= MAINLY and score > beside.get(around := self._arounds[number], 0.0):
                beside[around] = score
        shares = {around: BESIDE * score for around, score in beside.items()}
        for around, score in beside.items():
            outer = around.rpartition(".")[0]
            shares[outer] = max(shares.get(outer, 0.0), AROUND * score)
        return {number: share for around, share in shares.items() for number in self._telling.get(around, ())}


def _words(entry: Entry) -> dict[str, float]:
    words: dict[str, float] = {}
    parts = entry.path.split(".")
    for said in (entry.types, entry.note):
        for token in tokens(said):
            words.update(dict.fromkeys(words_of(token)[0], SAID))
    for place, part in enumerate(parts):
        weight = LAST_PART if place == len(parts) - 1 else OTHER_PART
        for token in tokens(part):
            stems, whole = words_of(token)
            for word in stems if whole is None else [*stems, whole]:
                words[word] = max(words.get(word, 0.0), weight)
    if len(parts) > 1:
        words.setdefault(stem(joined("".join(parts[-2:]))), TOGETHER)
    return words


def _times(found: Sequence[Entry]) -> frozenset[str]:
    """Return the paths of the times of a document: `@timestamp`; without it, the dates nearest to the top level."""
    times = sorted((entry.path.count("."), len(entry.path), entry.path) for entry in found if entry.types in TIME_TYPES)
    paths = [path for _, _, path in times]
    return frozenset(["@timestamp"] if "@timestamp" in paths else paths[:MAX_TIMES])


def _tells(last: str) -> bool:
    """Return whether the last part of a path ends in a word that tells something, such as `name` or `status`."""
    return re.split(r"[_\W]|(?<=[a-z])(?=[A-Z])", last)[-1].lower() in TELLING


def prior_of(entry: Entry, *, is_time: bool = False) -> float:
    """Return the prior of a field: what it scores without any question."""
    depth = entry.path.count(".")
    known = BEST if entry.path in BEST_KNOWN else KNOWN if entry.path in WELL_KNOWN else 0.0
    telling = TELLS if _tells(entry.path.rpartition(".")[2]) else 0.0
    return ALWAYS * is_time + known + telling + (AT_TOP if depth == 0 else 0.0) + DEEPER * depth


def _wholes(found: Sequence[Entry]) -> list[tuple[str, float]]:
    """Return the text of all entries with all notes, and the one without notes, each with its tokens; without those
    that are too long for any budget.
    """
    if len(found) > MAX_BUDGET_TOKENS:
        return []
    texts = []
    for noted in (None, frozenset[str]()):
        pieces = [piece for line in lines_of(found) for piece in line.pieces(noted)]
        if (tokens := tokens_of_pieces(pieces)) <= MAX_BUDGET_TOKENS:
            texts.append(("".join(piece.text for piece in pieces), tokens))
    return texts


def _counted(found: Sequence[Entry]) -> dict[str, str]:
    """Return, for each path, the object under which it is counted if it isn't shown: the first part of the path; if
    nearly all fields are in one object, the first two parts, and so on.
    """
    if not found:
        return {}
    depth, limit = 1, max(entry.path.count(".") for entry in found) + 1
    while True:
        objects = {entry.path: _beginning(entry.path, depth) for entry in found}
        totals: dict[str, int] = {}
        for name in objects.values():
            totals[name] = totals.get(name, 0) + 1
        if depth >= min(limit, 4) or max(totals.values()) <= ONE_OBJECT_SHARE * len(found):
            return objects
        depth += 1


def _beginning(path: str, depth: int) -> str:
    parts = path.split(".")
    return ".".join(parts[: min(depth, len(parts) - 1)])
