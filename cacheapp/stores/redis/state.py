"""The published state as bytes in Redis: immutable pieces, kept under the hashes of their content, and one small
document that names them.

What hasn't changed has the same hash, so it is neither sent nor read again. And what another program wrote there
doesn't have the hash that it is kept under.
"""

import zlib
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import structs

from cacheapp.state.published import HistoryMark, StoredIndex, StoredState

CHUNKS = 64
"""The number of chunks. With ten thousand indices, a change of one index rewrites a chunk of about 150."""
MAX_PIECE_BYTES = 16 * 1024 * 1024
MAX_PUBLISHED_BYTES = 16 * 1024
SAME_MOMENT_MICROSECONDS = 500_000
"""Two moments that differ by less count as the same. A moment is computed anew for each publication, from an age and
from Redis' clock, and the result varies with the duration of the calls.
"""
MAX_EXACT = 2**53
"""Numbers up to this one are exact in Lua and in JSON readers."""

Hash = Annotated[str, msgspec.Meta(min_length=32, max_length=32)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Text = Annotated[str, msgspec.Meta(max_length=64)]
Microseconds = Annotated[int, msgspec.Meta(ge=-MAX_EXACT, le=MAX_EXACT)]


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A `StoredIndex` as it is kept: with the moment of its confirmation instead of its age."""

    uuid: Text | None
    mapping_hash: Hash
    confirmed_at: Microseconds | None
    field_count: Annotated[int, msgspec.Meta(ge=0, le=MAX_EXACT)] | None


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of the indices and aliases: those whose names belong to this chunk.

    Members that version 1.0 doesn't know, and ignores, are left out where they are empty. Then a chunk has the same
    bytes, and so the same hash, as version 1.0 gives it.
    """

    indices: dict[Name, Entry]
    aliases: dict[Name, tuple[Name, ...]]
    data_streams: tuple[Name, ...]
    unread: tuple[Name, ...] = ()
    closed: tuple[Name, ...] = ()
    hidden: tuple[Name, ...] = ()


class Manifest(msgspec.Struct, frozen=True):
    """The document that names the pieces; only this changes. Times are in microseconds of Redis' clock; `chunks` are
    hashes. Version 1.0 doesn't know `history`, and ignores it.
    """

    generation: Annotated[int, msgspec.Meta(ge=1, le=MAX_EXACT)]
    confirmed_at: Microseconds
    cluster_uuid: Text
    cluster_urls: Text
    chunks: Annotated[tuple[Hash, ...], msgspec.Meta(max_length=CHUNKS)]
    listed_at: Microseconds | None = None
    history: HistoryMark | None = None


_encode = msgspec.json.Encoder(order="deterministic").encode
_published = msgspec.json.Decoder(Manifest)
_chunk = msgspec.json.Decoder(Chunk)


def chunks_of(state: StoredState, asked_at: int, before: Iterable[Chunk] = ()) -> list[Chunk]:
    """Return the chunks of a state, whose ages count from the moment `asked_at` (in microseconds of Redis' clock).

    An index that hasn't changed keeps the moment that it has in the chunks of `before`, if both moments are about the
    same. Otherwise each publication would change all chunks in which an index has a moment of its own. No computed
    moment is later than the true one, so this holds for the moment that is kept too.
    """
    known = {name: entry for chunk in before for name, entry in chunk.indices.items()}
    chunks = [Chunk({}, {}, ()) for _ in range(CHUNKS)]
    listed: list[tuple[list[str], list[str], list[str]]] = [([], [], []) for _ in range(CHUNKS)]
    for name, stored in state.indices.items():
        at = None if stored.age_seconds is None else asked_at - to_microseconds(stored.age_seconds)
        entry = Entry(stored.uuid, stored.mapping_hash, at, stored.field_count)
        chunks[_place(name)].indices[name] = _told_before(entry, known.get(name))
    for name, members in state.aliases.items():
        chunks[_place(name)].aliases[name] = members
    for kind, names in enumerate((state.unread, state.closed, state.hidden)):
        for name in sorted(names):
            listed[_place(name)][kind].append(name)
    return [
        Chunk(
            chunk.indices,
            chunk.aliases,
            tuple(sorted(state.data_streams.intersection(chunk.aliases))),
            *map(tuple, kinds),
        )
        for chunk, kinds in zip(chunks, listed, strict=True)
        if chunk.indices or chunk.aliases or any(kinds)
    ]


def _told_before(entry: Entry, known: Entry | None) -> Entry:
    """Return the `known` entry of an index if `entry` says the same of about the same moment; otherwise `entry`."""
    if known is None or known.confirmed_at is None or entry.confirmed_at is None:
        return entry
    is_about_the_same = abs(entry.confirmed_at - known.confirmed_at) <= SAME_MOMENT_MICROSECONDS
    return known if is_about_the_same and structs.replace(entry, confirmed_at=known.confirmed_at) == known else entry


def encode_chunk(chunk: Chunk) -> bytes:
    return _encode(chunk)


def encode_manifest(published: Manifest) -> bytes:
    return _encode(published)


def decode_manifest(raw: bytes) -> Manifest | None:
    """Return the manifest; None if this service didn't write it."""
    try:
        return _published.decode(raw)
    except msgspec.MsgspecError:
        return None


def decode_chunk(raw: bytes) -> Chunk | None:
    """Return the chunk; None if this service didn't write it."""
    try:
        return _chunk.decode(raw)
    except msgspec.MsgspecError:
        return None


def join(published: Manifest, chunks: Iterable[Chunk], bodies: Mapping[str, bytes], now: int) -> StoredState:
    """Put the state together again, with its ages at the moment `now`."""
    indices: dict[str, StoredIndex] = {}
    aliases: dict[str, tuple[str, ...]] = {}
    data_streams: set[str] = set()
    unread: set[str] = set()
    closed: set[str] = set()
    hidden: set[str] = set()
    for chunk in chunks:
        for name, entry in chunk.indices.items():
            age = None if entry.confirmed_at is None else to_seconds(now - entry.confirmed_at)
            indices[name] = StoredIndex(entry.uuid, entry.mapping_hash, age, entry.field_count)
        aliases.update(chunk.aliases)
        data_streams.update(chunk.data_streams)
        unread.update(chunk.unread)
        closed.update(chunk.closed)
        hidden.update(chunk.hidden)
    return StoredState(
        to_seconds(now - published.confirmed_at),
        indices,
        aliases,
        bodies,
        frozenset(data_streams),
        published.cluster_uuid,
        published.cluster_urls,
        None if published.listed_at is None else to_seconds(now - published.listed_at),
        frozenset(unread),
        frozenset(closed),
        frozenset(hidden),
        published.history,
    )


def to_microseconds(duration_seconds: float) -> int:
    return round(duration_seconds * 1_000_000)


def to_seconds(duration_microseconds: int) -> float:
    """Return the seconds of a duration, at least 0: Redis' clock is a wall clock, and may have been set back."""
    return max(0, duration_microseconds) / 1_000_000


def _place(name: str) -> int:
    return zlib.crc32(name.encode()) % CHUNKS
