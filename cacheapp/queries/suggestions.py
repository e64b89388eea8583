"""Find which name of a mapping, or of the query language, was probably meant by a wrong one ("did you mean").

A name is compared as a whole, whatever its style, and word by word. Two words are alike if they are equal, singular and
plural, a word and its short form, near in spelling, or of the same meaning. Only names that the place could take are
compared.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from heapq import nlargest

from rapidfuzz import fuzz, process
from rapidfuzz.distance import DamerauLevenshtein

from cacheapp.mapping.accents import without_accents
from cacheapp.queries.findings import MAX_SUGGESTIONS
from cacheapp.queries.known_fields import KnownField, name_words
from cacheapp.queries.places import DATES, GEO
from cacheapp.queries.synonyms import (
    ADDRESS_WORDS,
    ENDINGS,
    FILLERS,
    FIRST_WORDS,
    MEANINGS,
    PLACE_WORDS,
    TIME_WORDS,
    stem,
)

MAX_COMPARED = 20_000
"""How many fields are compared at most; further ones are ignored."""
MAX_NAME_CHARACTERS = 120
"""Longer names get no suggestions: comparing them takes long, and they are hardly typing errors."""
MAX_WORDS = 8
LEAST_LIKENESS = 0.42
_NEAR_WORD = 74
_SHORTEST = 3
"""The least number of characters of a short form, such as `desc` for `description`."""
_WEIGHTED = 24
_MAX_WEIGHED = 400
"""How many of the fields that have a given word, or one like it, are weighed at most. A word that more fields have says
little.
"""
_KEPT_WORDS = 500
"""For how many words the similar words are kept, as callers repeat the same mistakes."""

Wanted = Callable[[KnownField], float]
"""Tells how well a field fits the place where a name stands: 0 not at all, 1 perfectly."""


def nearest(name: str, among: Iterable[str], synonyms: Mapping[str, tuple[str, ...]] | None = None) -> tuple[str, ...]:
    """Return the names of clauses or keys that were probably meant, the likeliest first."""
    names = [one for one in among if one]
    if len(name) > MAX_NAME_CHARACTERS:
        return ()
    lowered = _plain(name)
    found = [one for one in names if _plain(one) == lowered]
    for one in (synonyms or {}).get(name.lower(), (synonyms or {}).get(lowered, ())):
        if one in names and one not in found:
            found.append(one)
    choices = {one: _plain(one) for one in names}
    for one, _, _ in process.extract(
        lowered, choices, scorer=DamerauLevenshtein.normalized_similarity, score_cutoff=0.6, limit=MAX_SUGGESTIONS
    ):
        match = next((key for key, plain in choices.items() if plain == one and key not in found), None)
        if match is not None:
            found.append(match)
    return tuple(found[:MAX_SUGGESTIONS])


class Names:
    """The fields of a name, prepared for comparison. Made once for each state of the mappings."""

    def __init__(self, fields: Iterable[KnownField]) -> None:
        listed = [field for field in fields if field.type != "alias"][:MAX_COMPARED]
        self.fields: tuple[KnownField, ...] = tuple(listed)
        self._plain = [_plain(field.path) for field in listed]
        self._words = [_words_of(field.path) for field in listed]
        self._by_word: dict[str, list[int]] = {}
        self._by_meaning: dict[int, set[str]] = {}
        self._likeness: dict[str, dict[str, float]] = {}
        for number, words in enumerate(self._words):
            for word in dict.fromkeys(words):
                self._by_word.setdefault(word, []).append(number)
        self._vocabulary = sorted(self._by_word)
        for word in self._vocabulary:
            for meaning in _meanings(word):
                self._by_meaning.setdefault(meaning, set()).add(word)

    def like(self, name: str, wanted: Wanted) -> tuple[str, ...]:
        """Return the fields that were probably meant by `name`, the likeliest first."""
        if len(name) > MAX_NAME_CHARACTERS:
            return ()
        plain, words = _plain(name), _words_of(name)[:MAX_WORDS]
        likeness = {word: self._kept_like_word(word) for word in dict.fromkeys(words)}
        ranked = []
        for number in self._candidates(plain, words, likeness):
            field = self.fields[number]
            if field.path == name or (fit := wanted(field)) <= 0:
                continue
            score = self._score(name, plain, words, number, likeness) * _hinted(words, field.type)
            if score >= LEAST_LIKENESS:
                ranked.append((-score * fit, len(field.path), field.path))
        return tuple(path for _, _, path in sorted(ranked)[:MAX_SUGGESTIONS])

    def fitting(self, wanted: Wanted, near: str) -> tuple[str, ...]:
        """Return fields that fit a place, those in the same object as `near` first. Used where no field's name is like
        the given one.
        """
        around = near.rpartition(".")[0]
        ranked = []
        for place, field in enumerate(self.fields):
            if field.path != near and (fit := wanted(field)) > 0:
                is_beside = field.path.rpartition(".")[0] == around
                is_first = any(stem(word) in FIRST_WORDS for word in self._words[place])
                ranked.append((-fit, not is_beside, not is_first, field.path.count("."), place, field.path))
        return tuple(entry[-1] for entry in sorted(ranked)[:MAX_SUGGESTIONS])

    def _kept_like_word(self, word: str) -> dict[str, float]:
        if word not in self._likeness:
            if len(self._likeness) >= _KEPT_WORDS:
                self._likeness.clear()
            self._likeness[word] = self._like_word(word)
        return self._likeness[word]

    def _like_word(self, word: str) -> dict[str, float]:
        """Return the words of the mapping that could be meant by a word, and how likely each is."""
        found: dict[str, float] = {}
        for meaning in _meanings(word):
            for other in self._by_meaning.get(meaning, ()):
                found[other] = max(found.get(other, 0), 0.72)
        if len(word) >= 2:
            for other, ratio, _ in process.extract(
                word, self._vocabulary, scorer=fuzz.ratio, score_cutoff=_NEAR_WORD, limit=24
            ):
                found[other] = max(found.get(other, 0), 0.92 * ratio / 100)
            for other in self._short_or_long(word):
                found[other] = max(found.get(other, 0), 0.8)
        own = stem(word)
        for other in found:
            if stem(other) == own:
                found[other] = 0.96
        if word in self._by_word:
            found[word] = 1.0
        return found

    def _short_or_long(self, word: str) -> Iterator[str]:
        """Yield the words of the mapping that begin with `word`, and those with which `word` begins."""
        if len(word) < _SHORTEST:
            return
        place = bisect_right(self._vocabulary, word)
        while place < len(self._vocabulary) and self._vocabulary[place].startswith(word):
            yield self._vocabulary[place]
            place += 1
        for length in range(_SHORTEST, len(word)):
            if word[:length] in self._by_word:
                yield word[:length]

    def _candidates(self, plain: str, words: Sequence[str], likeness: Mapping[str, Mapping[str, float]]) -> list[int]:
        """Return the numbers of the fields that are worth a closer look: those with a similar whole name, and those
        with the most words in common.
        """
        weights: dict[int, float] = {}
        for place, word in enumerate(words):
            weight = 1.0 + place / max(1, len(words) - 1)  # the last part says the most
            left = _MAX_WEIGHED
            for other, like in sorted(likeness[word].items(), key=lambda entry: -entry[1]):
                more = weight * like
                for number in self._by_word[other][:left]:
                    weights[number] = weights.get(number, 0.0) + more
                left -= len(self._by_word[other])
                if left <= 0:
                    break
        best = nlargest(_WEIGHTED, weights, key=weights.__getitem__)
        near = process.extract(plain, self._plain, scorer=fuzz.ratio, score_cutoff=60, limit=12)
        return list(dict.fromkeys([*(number for _, _, number in near), *best]))

    def _score(
        self,
        name: str,
        plain: str,
        words: Sequence[str],
        number: int,
        likeness: Mapping[str, Mapping[str, float]],
    ) -> float:
        if self._plain[number] == plain:
            return 1.0
        path = self.fields[number].path
        theirs = self._words[number]
        if len(words) == 1 and len(theirs) > 1 and self.fields[number].multi_field_of and theirs[-1] in ENDINGS:
            theirs = theirs[:-1]  # `text` means no multi-field of that name
        own_last, their_last = _last_part(name), _last_part(path)
        # The share of the given name's words that the field has, and the share of the field's words that were given.
        asked = _covered(words, own_last, theirs, likeness)
        reverse = {other: {word: likeness[word].get(other, 0.0) for word in words} for other in dict.fromkeys(theirs)}
        there = _covered(theirs, their_last, words, reverse)
        whole = fuzz.ratio(plain, self._plain[number]) / 100
        last = fuzz.ratio(_plain(".".join(own_last)), _plain(".".join(their_last))) / 100
        score = 0.5 * asked + 0.22 * there + 0.16 * whole + 0.12 * last
        if _parent(name) and _parent(name) == _parent(path):
            score += 0.1
        spelled = DamerauLevenshtein.normalized_similarity(plain, self._plain[number])
        return max(score, 0.97 * spelled if spelled >= 0.8 else 0.0)


def _hinted(words: Sequence[str], kind: str) -> float:
    """Return a factor for a field's type: above 1 if the given name hints at that type, below 1 if it hints at
    another.
    """
    stems = {stem(word) for word in words}
    factor = 1.0
    for hints, types in ((TIME_WORDS, DATES), (PLACE_WORDS, GEO), (ADDRESS_WORDS, frozenset({"ip"}))):
        if stems & hints:
            factor *= 1.08 if kind in types else 0.92
    return factor


def _covered(
    words: Sequence[str], last: Sequence[str], others: Sequence[str], likeness: Mapping[str, Mapping[str, float]]
) -> float:
    total = covered = 0.0
    for place, word in enumerate(words):
        weight = 2.0 if place >= len(words) - len(last) else 1.0
        if word in FILLERS and len(words) > 1:
            weight *= 0.3
        if word in ENDINGS and len(words) > 1 and place == len(words) - 1:
            weight *= 0.4
        total += weight
        like = likeness[word]
        covered += weight * max((like.get(other, 0.0) for other in others), default=0.0)
    return covered / total if total else 0.0


@lru_cache(maxsize=8192)
def _plain(name: str) -> str:
    """Return the letters and digits of a name, without case, accents and separators."""
    folded = name.casefold()
    if not folded.isascii():
        folded = without_accents(folded)
    return "".join(one for one in folded if one.isalnum())


@lru_cache(maxsize=8192)
def _words_of(name: str) -> tuple[str, ...]:
    words = name_words(name)
    return words or (_plain(name),)


@lru_cache(maxsize=8192)
def _last_part(name: str) -> tuple[str, ...]:
    """Return the words after the last dot of a name; for a usual multi-field (`title.keyword`), those of the field
    itself.
    """
    parts = [part for part in name.split(".") if part]
    if len(parts) > 1 and parts[-1].lower() in ENDINGS:
        parts = parts[:-1]
    return _words_of(parts[-1]) if parts else ()


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


@lru_cache(maxsize=8192)
def _meanings(word: str) -> frozenset[int]:
    return MEANINGS.get(stem(word), frozenset())
