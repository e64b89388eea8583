"""General words lead to what fields are called, in three languages."""

import pytest

from cacheapp.describe.thesaurus import meant_by
from cacheapp.describe.words import fold, stem


@pytest.mark.parametrize(
    ("word", "name"),
    [("buyers", "customer"), ("Käufer", "customer"), ("acheteurs", "customer"), ("slow", "duration"), ("wer", "user")],
)
def test_a_word_leads_to_names(word: str, name: str) -> None:
    """Each language finds the English name."""
    assert stem(name) in meant_by(stem(fold(word).lower()))


def test_weights_are_shares() -> None:
    """No meaning counts as much as the word itself, and a word isn't a meaning of its own."""
    meant = meant_by(stem("customer"))
    assert meant
    assert all(0 < weight < 1 for weight in meant.values())
    assert stem("customer") not in meant


def test_unknown_words_mean_nothing_else() -> None:
    """A product's name isn't in it."""
    assert meant_by("redis") == {}
