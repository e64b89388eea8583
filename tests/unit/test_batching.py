"""Batches: every name once, in order, within both limits."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheapp.batching import MAX_TARGET_BYTES, batches
from cacheapp.names import encode_name

NAMES = st.lists(st.text(st.sampled_from("abc.é漢%"), min_size=1, max_size=60), max_size=60)


def target_bytes(batch: list[str]) -> int:
    return len(",".join(map(encode_name, batch)))


@settings(deadline=None)
@given(NAMES, st.integers(1, 20), st.integers(1, 400))
def test_nothing_lost_within_limits(names: list[str], size: int, max_bytes: int) -> None:
    """Batches put together are the names; none is empty; only a batch of one name may be larger than allowed."""
    made = list(batches(names, size, max_bytes))
    assert [name for batch in made for name in batch] == names
    for batch in made:
        assert 1 <= len(batch) <= size
        assert len(batch) == 1 or target_bytes(batch) <= max_bytes


@settings(deadline=None)
@given(NAMES, st.integers(1, 20), st.integers(1, 400))
def test_no_batch_needlessly_small(names: list[str], size: int, max_bytes: int) -> None:
    """A batch ends only where the first name of the next would break a limit."""
    made = list(batches(names, size, max_bytes))
    for batch, following in itertools.pairwise(made):
        # A byte of slack: the comma after the last name is counted too.
        assert len(batch) == size or target_bytes([*batch, following[0]]) + 1 > max_bytes


def test_longest_names_fit_request_line() -> None:
    """Names of the greatest legal length, each byte of which needs three, stay below Elasticsearch's 4 096 bytes."""
    made = list(batches(["é" * 127] * 20, 1000))
    assert [len(batch) for batch in made] == [4, 4, 4, 4, 4]
    line = "GET //_mapping?expand_wildcards=all&ignore_unavailable=true HTTP/1.1"
    assert max(map(target_bytes, made)) <= MAX_TARGET_BYTES < 4_096 - len(line)


@pytest.mark.parametrize("size", [1, 5])
def test_no_names_no_batch(size: int) -> None:
    """Without names there is no batch: an empty one would ask for every mapping."""
    assert list(batches([], size)) == []


def test_names_are_taken_as_needed() -> None:
    """Batches are made one by one, so that several tasks can share the work."""
    made = batches(iter(["a", "b", "c"]), 2)
    assert next(made) == ["a", "b"]
    assert next(made) == ["c"]
    assert next(made, None) is None
