"""Accents are removed, in time that is in proportion to the text."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.mapping.accents import without_accents


@pytest.mark.parametrize(("text", "plain"), [("Größe", "Große"), ("cafe\u0301", "cafe"), ("ﬁeld", "field"), ("", "")])
def test_without_accents(text: str, plain: str) -> None:
    """Whether a letter has its accent in it or after it."""
    assert without_accents(text) == plain


@given(st.text())
def test_the_form_is_nfkd(text: str) -> None:
    """That accents are removed before, too, changes nothing."""
    decomposed = unicodedata.normalize("NFKD", text)
    assert without_accents(text) == "".join(one for one in decomposed if not unicodedata.combining(one))


def test_many_accents() -> None:
    """Whoever makes an index chooses the names of its fields."""
    started_at = time.thread_time()
    assert without_accents("a" + "\u0301\u0316" * 30_000) == "a"
    assert time.thread_time() - started_at < 0.5
