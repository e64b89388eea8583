"""The published state as bytes in Redis, beside instances of version 1.0."""

from dataclasses import replace

import msgspec
import pytest

from cacheapp.state.published import StoredIndex
from cacheapp.stores.redis.state import (
    SAME_MOMENT_MICROSECONDS,
    Chunk,
    Entry,
    chunks_of,
    decode_chunk,
    encode_chunk,
    to_microseconds,
)
from tests.support.states import A_MAPPING, FIRST, A, B, state


class Chunk10(msgspec.Struct, frozen=True):
    """A chunk as version 1.0 has it."""

    indices: dict[str, Entry]
    aliases: dict[str, tuple[str, ...]]
    data_streams: tuple[str, ...]


def test_version_1_0_reads_what_we_publish() -> None:
    """It ignores which names could not be read, are closed or hidden, and takes all else."""
    published = replace(FIRST, unread=frozenset({"unread"}), closed=frozenset({"a"}), hidden=frozenset({"b", "ü"}))
    pieces = map(encode_chunk, chunks_of(published, 0))
    theirs = [msgspec.json.decode(piece, type=Chunk10) for piece in pieces]
    assert {name for chunk in theirs for name in chunk.indices} == FIRST.indices.keys()
    ours = [decode_chunk(encode_chunk(chunk)) for chunk in chunks_of(published, 0)]
    assert {name for chunk in ours if chunk for name in chunk.unread} == {"unread"}
    assert {name for chunk in ours if chunk for name in chunk.closed} == {"a"}
    assert {name for chunk in ours if chunk for name in chunk.hidden} == {"b", "ü"}


def test_without_names_that_it_does_not_know_the_bytes_are_those_of_version_1_0() -> None:
    """So instances of both versions find each other's pieces under the same hashes, and don't send them anew."""
    for piece in map(encode_chunk, chunks_of(FIRST, 0)):
        theirs = msgspec.json.decode(piece, type=Chunk10)
        assert msgspec.json.encode(theirs, order="deterministic") == piece


OWN_AGE = StoredIndex("uuid", A, 10.0, 7)


def moment(told: StoredIndex, asked_at: int, before: list[Chunk]) -> int | None:
    """What is published as the moment of `a`."""
    [chunk] = chunks_of(state({"a": told}, A_MAPPING), asked_at, before)
    return chunk.indices["a"].confirmed_at


@pytest.mark.parametrize("later", [-SAME_MOMENT_MICROSECONDS, 3, SAME_MOMENT_MICROSECONDS])
def test_a_moment_that_is_about_the_same_is_told_as_before(later: int) -> None:
    """So what has not changed has the same bytes, however long the calls took that its moment is computed from."""
    asked_at = to_microseconds(1000.0)
    before = chunks_of(state({"a": OWN_AGE}, A_MAPPING), asked_at)
    assert moment(OWN_AGE, asked_at + later, before) == to_microseconds(990.0)
    assert moment(OWN_AGE, asked_at + 2 * SAME_MOMENT_MICROSECONDS, before) == to_microseconds(991.0)


@pytest.mark.parametrize(
    "changed", [StoredIndex("other", A, 10.0, 7), StoredIndex("uuid", B, 10.0, 7), StoredIndex("uuid", A, 10.0, 8)]
)
def test_what_has_changed_has_its_own_moment(changed: StoredIndex) -> None:
    """Another index, mapping or number of fields; and one that is as old as the pass is told so."""
    before = chunks_of(state({"a": OWN_AGE}, A_MAPPING), to_microseconds(1000.0))
    assert moment(changed, to_microseconds(1000.0) + 3, before) == to_microseconds(990.0) + 3
    assert moment(StoredIndex("uuid", A, None, 7), to_microseconds(1000.0), before) is None
