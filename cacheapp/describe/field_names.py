"""The names of the fields of one mapping, stored compactly. Some are chosen: for a question, or the most important."""

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from operator import itemgetter
from typing import Self

MAX_TOLD = 12
"""How many names of one mapping are given."""
MAX_FIELDS = 10_000
"""How many names are searched for a question; their numbers fit into 16 bits."""
MAINLY = 0.5
"""Fields with less than this share of the best score are no better than those that are given without a question."""


@dataclass(frozen=True, slots=True)
class FieldNames:
    """Names as they are written, one on each line, sorted by their priors, the highest first. `by_word`: for each word,
    the numbers of the names that have it.
    """

    lines: str
    total: int
    by_word: Mapping[str, "array[int]"]

    @classmethod
    def of(cls, fields: Sequence[tuple[str, set[str]]], words: frozenset[str]) -> Self:
        """Store the names of fields, each given with its words. Only words that are in `words` are kept."""
        by_word: dict[str, array[int]] = {}
        for number, (_, its_words) in enumerate(fields[:MAX_FIELDS]):
            for word in its_words & words:
                by_word.setdefault(word, array("H")).append(number)
        lines = "\n".join(name for name, _ in fields[:MAX_FIELDS])
        return cls(lines, min(len(fields), MAX_FIELDS), by_word)

    @property
    def size_bytes(self) -> int:
        """Estimate how much memory the names take."""
        return len(self.lines) + sum(150 + 2 * len(numbers) for numbers in self.by_word.values())

    def first(self, asked: Sequence[Mapping[str, float]]) -> list[str]:
        """Return the names to give: those that a question is about, then those with the highest priors.

        Args:
            asked: For each word of the question, the words that it may stand for, with weights.
        """
        scores: dict[int, float] = {}
        for meant in asked:
            found = [(weight, self.by_word[word]) for word, weight in meant.items() if word in self.by_word]
            values = [(weight * math.log(1 + self.total / len(numbers)), numbers) for weight, numbers in found]
            best: dict[int, float] = {}
            for value, numbers in sorted(values, key=itemgetter(0)):
                best |= dict.fromkeys(numbers, value)  # sorted, so that the best value of a word replaces the others
            for number, value in best.items():
                scores[number] = scores.get(number, 0.0) + value
        least = MAINLY * max(scores.values(), default=0.0)
        about = nsmallest(MAX_TOLD, ((-score, number) for number, score in scores.items() if score >= least))
        chosen = dict.fromkeys(number for _, number in about)
        chosen.update(dict.fromkeys(range(min(self.total, MAX_TOLD))))
        names = self.lines.split("\n", max(chosen) + 1) if chosen else []
        return [names[number] for number in chosen][:MAX_TOLD]
