"""Rank documents by a question: BM25 over its words, and over words with similar spelling or the same meaning. Pure.

A document is a mapping from words to weights. A field has the words of its path, a family those of all its fields.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter

from cacheapp.describe.thesaurus import meant_by
from cacheapp.describe.words import MAX_WORD_CHARACTERS, STOP_WORDS, joined, pieces, stem, tokens

K1 = 0.9
B = 0.35
LIKE = 0.6
"""The highest weight of a word with similar spelling; the word itself has 1."""
MEANT = 0.8
"""The highest weight of a word with the same meaning."""
MIN_LIKENESS = 0.5
MIN_SHARED_GRAMS = 3
MIN_CONTAINED = 0.75
COMMON_SHARE, MIN_COMMON = 0.12, 60
"""A word that is in more documents than this share, or this number, doesn't stand for another word: it says too
little.
"""
MAX_QUESTION_WORDS = 40
MAX_KEPT_WORDS = 1_000

Words = Mapping[str, float]


def words_of(token: str) -> tuple[list[str], str | None]:
    """Return the stems of the pieces of a token; and, if it has several pieces, the stem of the token as one word, else
    None.
    """
    if len(token) > MAX_WORD_CHARACTERS:
        return [], None
    stems = [stem(piece) for piece in pieces(token)]
    return stems, stem(joined(token)) if len(stems) > 1 else None


def _grams(word: str) -> set[str]:
    """Return the runs of three and of four letters in a word; its beginning and end count as letters."""
    bordered = f"^{word}$"
    return {bordered[start : start + size] for size in (3, 4) for start in range(len(bordered) - size + 1)}


class WordIndex:
    """Finds documents by words. `length_share`: how much less a long document counts, from 0 to 1."""

    def __init__(self, documents: Sequence[Words], length_share: float = B) -> None:
        lengths = [sum(words.values()) for words in documents]
        mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
        postings: dict[str, dict[int, float]] = {}
        for number, words in enumerate(documents):
            norm = K1 * (1 - length_share + length_share * lengths[number] / mean)
            for word, weight in words.items():
                postings.setdefault(word, {})[number] = weight * (K1 + 1) / (weight + norm)
        total = len(documents)
        for found in postings.values():
            rarity = math.log(1 + (total - len(found) + 0.5) / (len(found) + 0.5))
            for number, value in found.items():
                found[number] = rarity * value
        self._postings: Mapping[str, Mapping[int, float]] = postings
        self._common = max(MIN_COMMON, COMMON_SHARE * total)
        self._kept_meant: dict[tuple[str, bool], dict[str, float]] = {}
        self._by_gram: dict[str, list[str]] = {}
        self._grams_total: dict[str, int] = {}
        for word in postings:
            grams = _grams(word)
            self._grams_total[word] = len(grams)
            for gram in grams:
                self._by_gram.setdefault(gram, []).append(word)

    @property
    def postings_total(self) -> int:
        return sum(map(len, self._postings.values()))

    def scores(self, question: str) -> dict[int, float]:
        """Return the scores of the documents that have anything to do with a question, by number.

        A word of the question may stand for several words. For each document only the best of these counts.
        """
        scores: dict[int, float] = {}
        for meant in self._asked(question):
            best: dict[int, float] = {}
            for word, weight in sorted(meant.items(), key=itemgetter(1), reverse=True):
                postings = self._postings[word]
                if weight == 1.0:
                    best = dict(postings)  # the word itself: sorted first, and the only one with 1
                elif len(postings) > self._common:
                    continue
                elif best:
                    of = best.get
                    for number, value in postings.items():
                        score = weight * value
                        if score > of(number, 0.0):
                            best[number] = score
                else:
                    best = {number: weight * value for number, value in postings.items()}
            if scores:
                of = scores.get
                for number, score in best.items():
                    scores[number] = of(number, 0.0) + score
            else:
                scores = best
        return scores

    def asked(self, question: str) -> list[dict[str, float]]:
        """Return, for each word of the question that any document has, the words that it may stand for, with
        weights.
        """
        return [meant for meant in self._asked(question) if meant]

    def _asked(self, question: str) -> Iterator[dict[str, float]]:
        """Yield, for each word of the question, the words of documents that it may stand for, with weights."""
        seen: set[str] = set()
        before = ""
        for token in tokens(question):
            stems, whole = words_of(token)
            whole_before = stem(before + joined(token)) if before else None
            before = joined(token)
            for one_word in (whole, whole_before):  # "key space" is "keyspace"
                if one_word is not None and one_word in self._postings and one_word not in seen:
                    seen.add(one_word)
                    yield {one_word: 1.0}
            for word, piece in zip(stems, pieces(token), strict=True) if stems else ():
                if word not in seen and len(seen) < MAX_QUESTION_WORDS:
                    seen.add(word)
                    yield self._meant(word, says_nothing=piece in STOP_WORDS)

    def _meant(self, word: str, *, says_nothing: bool) -> dict[str, float]:
        """Return what a word may stand for. A stop word such as "who" may still have a meaning in the thesaurus.

        Questions repeat their words, so the results for the last ones are kept.
        """
        if (kept := self._kept_meant.get((word, says_nothing))) is not None:
            return kept
        if len(self._kept_meant) >= MAX_KEPT_WORDS:
            self._kept_meant.clear()
        found = {} if says_nothing else self._alike(word)
        for term, weight in meant_by(word).items():
            if term in self._postings:
                found[term] = max(found.get(term, 0.0), MEANT * weight)
        if not says_nothing and word in self._postings:
            found[word] = 1.0
        self._kept_meant[word, says_nothing] = found
        return found

    def _alike(self, word: str) -> dict[str, float]:
        """Return words that share most of their runs of letters with this one, or contain it."""
        if len(word) < 3:
            return {}
        grams = _grams(word)
        shared = Counter(chain.from_iterable(self._by_gram.get(gram, ()) for gram in grams))
        found = {}
        for other, number in shared.items():
            if number < MIN_SHARED_GRAMS:
                continue
            total = self._grams_total[other]
            likeness = 2 * number / (len(grams) + total)
            if number / min(len(grams), total) >= MIN_CONTAINED:
                likeness = max(likeness, MIN_LIKENESS)
            if likeness >= MIN_LIKENESS:
                found[other] = LIKE * likeness
        return found
