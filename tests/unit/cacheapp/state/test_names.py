"""Names: nothing that could mean another address, or more than one index, gets past `check_name`."""

import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cacheapp.errors import IllegalName
from cacheapp.state.names import MAX_NAME_BYTES, check_name, encode_name

ILLEGAL_CHARACTERS = ' "*,/<>?\\|#:'
ANY_CHARACTER = st.one_of(
    st.characters(exclude_categories=()),
    st.sampled_from(ILLEGAL_CHARACTERS + "\x00\n\x1f\x7f\x9f\ud800\udfff.-_+%aAzZ0éÉß%~"),
)
NAMES = st.one_of(st.text(ANY_CHARACTER, max_size=300), st.text("abcxyz.-_+09é", min_size=1, max_size=300))
UNRESERVED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


def accepts(name: str) -> bool:
    try:
        check_name(name)
    except IllegalName:
        return False
    return True


@given(NAMES)
def test_accepted_names_are_legal(name: str) -> None:
    """Whatever is accepted holds to each rule of Elasticsearch, written down here a second time."""
    assume(accepts(name))
    assert check_name(name) == name
    assert name not in ("", ".", "..")
    assert not set(name) & set(ILLEGAL_CHARACTERS)
    assert not [character for character in name if unicodedata.category(character) in ("Cc", "Cs")]
    assert not name.startswith(("-", "_", "+"))
    assert name == name.lower()
    assert len(name.encode("utf-8")) <= MAX_NAME_BYTES


@given(st.text("abcxyz0123456789.-_+%~é漢", max_size=80))
def test_legal_names_are_accepted(rest: str) -> None:
    """A name that breaks no rule is never refused."""
    assert accepts("x" + rest)


@given(NAMES)
def test_upper_case_is_the_only_exception(name: str) -> None:
    """Where upper case is allowed, exactly those names are legal that are without it."""
    assume(len(name.lower().encode(errors="replace")) == len(name.encode(errors="replace")))
    try:
        assert check_name(name, upper_case=True) == name
    except IllegalName:
        assert not accepts(name.lower())
    else:
        assert accepts(name.lower())


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_encoding_round_trip(name: str) -> None:
    """An encoded name is one path segment of harmless ASCII, and decodes to the name."""
    encoded = encode_name(name)
    assert unquote(encoded, errors="strict") == name
    assert set(encoded) <= UNRESERVED | {"%"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "empty"),
        (".", "'.' or '..'"),
        ("..", "'.' or '..'"),
        ("-a", "start with"),
        ("_all", "start with"),
        ("+a", "start with"),
        ("Logs", "lower case"),
        ("É", "lower case"),
        ("x" * 256, "255 bytes"),
        ("é" * 128, "255 bytes"),
        *(
            (f"a{character}b", "blanks, control characters")
            for character in ILLEGAL_CHARACTERS
            if character not in ":*,"
        ),
        *((f"a{character}b", "One name is needed here") for character in "*,"),
        ("a:b", "Remote clusters (cluster:index)"),
        ("*:logs-*", "Remote clusters (cluster:index)"),
        (":b", "blanks, control characters"),
        ("a:", "blanks, control characters"),
        ("a:b c", "blanks, control characters"),
        ("<logs-{now/d}>", "Date math"),
        ("<logs", "blanks, control characters"),
        *((f"a{character}b", "blanks, control characters") for character in "\x00\n\x1f\x7f\x85\ud800"),
    ],
)
def test_refusals(name: str, says: str) -> None:
    """Each kind of illegal name is refused with 400 and a detail that says what is wrong with it."""
    with pytest.raises(IllegalName) as caught:
        check_name(name)
    assert says in caught.value.detail
    assert caught.value.status == 400


@pytest.mark.parametrize("name", ["logs-2026.01.01", ".kibana", "...", "a-_+", "x" * 255, "é" * 127, "日本"])
def test_unusual_names_pass(name: str) -> None:
    """Names at the edge of the rules are legal."""
    assert check_name(name) == name
