"""Names of every style come apart into the same words, and words that differ by their endings alone are the same."""

import pytest

from cacheapp.describe.words import fold, joined, pieces, stem, tokens


@pytest.mark.parametrize("name", ["TargetUserName", "targetUserName", "target_user_name", "TARGET_USER_NAME"])
def test_a_style_is_taken_apart(name: str) -> None:
    """Capitals and underscores part words alike."""
    assert pieces(name) == ["target", "user", "name"]
    assert joined(name) == "targetusername"


def test_numbers_stay_with_their_letters() -> None:
    """`s3` and `x509` are words; a number alone is one."""
    assert pieces("s3access") == ["s3", "access"]
    assert pieces("x509") == ["x509"]
    assert pieces("5xx") == ["5", "xx"]


def test_a_question_is_split_at_signs() -> None:
    """Accents are folded, signs part, underscores don't."""
    assert tokens("Größe d'été: rx_bytes!") == ["Grosse", "d", "ete", "rx_bytes"]
    assert fold("Straße") == "Strasse"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("failed", "fails"),
        ("addresses", "address"),
        ("statuses", "status"),
        ("deleted", "delete"),
        ("categories", "category"),
        ("dropped", "drop"),
        ("restarting", "restarts"),
    ],
)
def test_endings_are_cut_alike(one: str, other: str) -> None:
    """Two forms of a word have one stem."""
    assert stem(one) == stem(other)


@pytest.mark.parametrize(("one", "other"), [("server", "service"), ("user", "use"), ("host", "hostname"), ("s3", "s")])
def test_other_words_stay_apart(one: str, other: str) -> None:
    """Short words, and those with digits, keep what tells them apart."""
    assert stem(one) != stem(other)
