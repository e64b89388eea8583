"""The published state as bytes in Redis, beside instances of version 1.0."""

from dataclasses import replace

import msgspec

from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores.redis.state import Entry, decode_chunk, encode_chunks
from tests.support.states import FIRST


class Chunk10(msgspec.Struct, frozen=True):
    """A chunk as version 1.0 has it."""

    indices: dict[str, Entry]
    aliases: dict[str, tuple[str, ...]]
    data_streams: tuple[str, ...]


def test_version_1_0_reads_what_we_publish() -> None:
    """It ignores which names could not be read, are closed or hidden, and takes all else."""
    state = replace(FIRST, unread=frozenset({"unread"}), closed=frozenset({"a"}), hidden=frozenset({"b", "ü"}))
    pieces = encode_chunks(state, 0).values()
    theirs = [msgspec.json.decode(piece, type=Chunk10) for piece in pieces]
    assert {name for chunk in theirs for name in chunk.indices} == FIRST.indices.keys()
    ours = [decode_chunk(piece) for piece in pieces]
    assert {name for chunk in ours if chunk for name in chunk.unread} == {"unread"}
    assert {name for chunk in ours if chunk for name in chunk.closed} == {"a"}
    assert {name for chunk in ours if chunk for name in chunk.hidden} == {"b", "ü"}


def test_without_names_that_it_does_not_know_the_bytes_are_those_of_version_1_0() -> None:
    """So instances of both versions find each other's pieces under the same hashes, and don't send them anew."""
    for known, piece in encode_chunks(FIRST, 0).items():
        theirs = msgspec.json.decode(piece, type=Chunk10)
        again = msgspec.json.encode(theirs, order="deterministic")
        assert (again, mapping_hash(again)) == (piece, known)
