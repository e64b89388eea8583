"""Batches: every name once, in order, within both limits."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.cluster.batches import MAX_BATCH_SIZE, MAX_BODY_BYTES, MAX_TARGET_BYTES, SLOW_SECONDS, Batches, BatchSize
from cacheapp.state.names import encode_name

NAMES = st.lists(st.text(st.sampled_from("abc.é漢%"), min_size=1, max_size=60), max_size=60)


def batches(names: list[str], size: int, max_bytes: int = MAX_TARGET_BYTES) -> Iterator[list[str]]:
    """All batches of one size."""
    waiting = Batches.from_names(names)
    while batch := waiting.take(size, max_bytes):
        yield batch


def target_bytes(batch: list[str]) -> int:
    return len(",".join(map(encode_name, batch)))


@given(NAMES, st.integers(1, 20), st.integers(1, 400))
def test_nothing_lost_within_limits(names: list[str], size: int, max_bytes: int) -> None:
    """Batches put together are the names; none is empty; only a batch of one name may be larger than allowed."""
    made = list(batches(names, size, max_bytes))
    assert [name for batch in made for name in batch] == names
    for batch in made:
        assert 1 <= len(batch) <= size
        assert len(batch) == 1 or target_bytes(batch) <= max_bytes


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
    """Each batch has the size that is right when it is taken, so that several tasks can share the work."""
    waiting = Batches.from_names(["a", "b", "c", "d"])
    assert waiting.take(2) == ["a", "b"]
    assert waiting.take(1) == ["c"]
    assert waiting.take(5) == ["d"]
    assert waiting.take(5) == []


ANSWERS = st.lists(st.tuples(st.booleans(), st.floats(0, 2), st.integers(0, 5 * MAX_BODY_BYTES)), max_size=60)


@given(st.integers(1, 100), ANSWERS)
def test_a_size_is_always_usable(initial: int, answers: list[tuple[bool, float, int]]) -> None:
    """Whatever the cluster answers, the next batch has at least one name and at most the maximum."""
    size = BatchSize(initial, adaptive=True)
    for failed, seconds, body_bytes in answers:
        if failed:
            size.failed(size.size)
        else:
            size.answered(size.size, seconds, body_bytes)
        assert 1 <= size.size <= MAX_BATCH_SIZE


@given(st.integers(1, 100), ANSWERS, st.booleans())
def test_a_fixed_size_stays(initial: int, answers: list[tuple[bool, float, int]], adaptive: bool) -> None:
    """Not adaptive, or a batch size of 1: the size is what was set, whatever happens."""
    size = BatchSize(1 if adaptive else initial, adaptive=adaptive)
    before = size.size
    for failed, seconds, body_bytes in answers:
        if failed:
            size.failed(size.size)
        else:
            size.answered(size.size, seconds, body_bytes)
    assert size.size == before


def test_it_doubles_while_all_is_well() -> None:
    """Slow start: 5, 10, 20 … until the maximum."""
    size = BatchSize(5, adaptive=True)
    for _ in range(20):
        size.answered(size.size, 0.01, 1000)
    assert size.size == MAX_BATCH_SIZE


def test_it_shrinks_at_once_and_recovers_within_ten() -> None:
    """Case 15, as policy: three slow answers bring it down to an eighth, eight good ones back to where it was."""
    size = BatchSize(5, adaptive=True)
    for _ in range(4):
        size.answered(size.size, 0.01, 1000)
    assert size.size == 80
    for _ in range(3):
        size.answered(size.size, SLOW_SECONDS + 0.1, 1000)
    assert size.size == 10
    for _ in range(8):
        size.answered(size.size, 0.01, 1000)
    assert size.size >= 80


def test_slowness_alone_never_asks_one_by_one() -> None:
    """A cluster that is slow whatever it is asked gets batches of the size that was set, not a request per index."""
    size = BatchSize(5, adaptive=True)
    for _ in range(20):
        size.answered(size.size, SLOW_SECONDS + 0.1, 1000)
    assert size.size == 5


def test_few_large_ones_say_nothing_of_small_ones() -> None:
    """A slow answer for few names, few because they are large, halves the size, not the few."""
    size = BatchSize(5, adaptive=True)
    for _ in range(4):
        size.answered(size.size, 0.01, 1000)
    size.answered(8, SLOW_SECONDS + 0.1, 1000, asked_size=80)
    assert size.size == 40


def test_a_large_answer_says_how_many_fit() -> None:
    """After an answer twice as large as it may be, half as many are asked for; then it grows slowly again."""
    size = BatchSize(40, adaptive=True)
    size.answered(40, 0.01, 2 * MAX_BODY_BYTES)
    assert size.size == 20
    size.answered(20, 0.01, 1000)
    assert size.size == 25


def test_a_short_batch_says_nothing() -> None:
    """The last batch of a pass is smaller than it could be: no reason to ask for more."""
    size = BatchSize(10, adaptive=True)
    size.answered(3, 0.01, 1000)
    assert size.size == 10
