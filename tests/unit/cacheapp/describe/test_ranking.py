"""Documents are found by their words, by words spelled alike, and by words that mean the same."""

from cacheapp.describe.ranking import WordIndex, words_of


def index(*texts: str) -> WordIndex:
    return WordIndex(
        [dict.fromkeys((stem for word in text.split() for stem in words_of(word)[0]), 1.0) for text in texts]
    )


def best(found: dict[int, float]) -> int:
    return max(found, key=lambda number: found[number])


def test_a_rare_word_counts_more() -> None:
    """Of two words of a question, the one that few documents have decides."""
    found = index("name host", "name user", "name redis", "name disk").scores("name of redis")
    assert best(found) == 2
    assert set(found) == {0, 1, 2, 3}


def test_spelling_may_differ() -> None:
    """A word that shares most of its letters is found, and counts less than the word itself."""
    documents = index("signinlogs state", "postgresql state", "other")
    assert best(documents.scores("postgres")) == 1
    assert documents.scores("postgresql")[1] > documents.scores("postgres")[1]
    assert documents.scores("xq") == {}


def test_meaning_may_be_the_same() -> None:
    """A word of the thesaurus finds what fields are called; one that says nothing itself too."""
    documents = index("duration", "user", "colour")
    assert best(documents.scores("slowest")) == 0
    assert best(documents.scores("who?")) == 1


def test_two_words_may_be_one() -> None:
    """`key space` finds `keyspace`, and `KeySpace` too."""
    documents = index("keyspace", "space", "other")
    assert best(documents.scores("key space")) == 0
    assert best(documents.scores("KeySpace")) == 0


def test_a_common_word_stands_for_no_other() -> None:
    """What nearly all documents have is found by itself alone."""
    documents = index(*["duration"] * 100, "other")
    assert documents.scores("slow") == {}
    assert len(documents.scores("duration")) == 100


def test_nothing_in_nothing_out() -> None:
    """Without documents, or without words, nothing is found."""
    assert WordIndex([]).scores("anything") == {}
    assert index("a_name").scores("the of ?!") == {}
    assert index("a_name").scores("x" * 100) == {}
    assert index("").postings_total == 0


def test_a_question_has_a_bound() -> None:
    """Words beyond the bound aren't looked for."""
    words = [f"word{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(100)]
    documents = index(words[0], words[99])
    assert documents.scores(" ".join(["aaa", *words[:30]])).keys() >= {0}
    assert 1 not in documents.scores(" ".join(["one two three four five", *(f"{word}q9" for word in words), "zzz"]))
