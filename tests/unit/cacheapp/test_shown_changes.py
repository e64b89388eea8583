"""Whose history a page of changes is."""

from typing import Any

import pytest

from cacheapp.shown_changes import ChangesPage, as_answer

PAGE = ChangesPage([], 0, None, 0, "own")


@pytest.mark.parametrize(
    ("others", "shared"),
    [
        ([], True),
        ([{"name": "own"}, {"name": "own"}], True),
        ([{"name": None}, {}], True),
        ([{"name": "own"}, {"name": "another"}], False),
        (None, None),
    ],
)
def test_whose_history_it_is(others: list[dict[str, Any]] | None, shared: bool | None) -> None:
    """All instances', unless another tells of another one; not known while the store doesn't say what they tell."""
    answer = as_answer(PAGE, others)
    assert (answer.shared, answer.history, answer.oldest_id) == (shared, "own", None)
