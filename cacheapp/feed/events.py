"""What the feed sends: server-sent events, as the HTML standard defines them. Pure."""

from collections.abc import Iterable
from typing import Final

import msgspec

from cacheapp.feed.interest import Position
from cacheapp.shown_changes import ShownChange

PIECE_BYTES: Final = 65_536
"""How much is written to a connection at once. For a client that reads nothing, this is how much waits in memory."""

_encoder = msgspec.json.Encoder()


def event(change: ShownChange, history: str) -> bytes:
    """Return the event for a change. Its data is one line, because JSON has no line breaks in texts.

    The event has no name (field `event`), not even for a gap: browsers deliver named events only to listeners for that
    name.
    """
    return f"id: {change.id}-{history}\ndata: ".encode() + _encoder.encode(change) + b"\n\n"


def opening(position: Position, retry_ms: int, note: str) -> bytes:
    """Return the beginning of a stream: how long a client waits before it reconnects, and an id for the case that it
    does so before the first event. It has no data, so it is no event.
    """
    return b"%bretry: %d\nid: %b\n\n" % (comment(note), retry_ms, str(position).encode())


def comment(note: str) -> bytes:
    """Return a line that clients skip. Proxies take it for a sign of life."""
    return f": {' '.join(note.split())}\n".encode()


def moved(position: Position) -> bytes:
    """Return the id of the stream's present position, without an event."""
    return b"id: %b\n\n" % str(position).encode()


def in_pieces(events: Iterable[bytes]) -> list[bytes]:
    """Return the same events, joined to pieces of about `PIECE_BYTES`."""
    pieces: list[bytes] = []
    some: list[bytes] = []
    size_bytes = 0
    for one in events:
        some.append(one)
        size_bytes += len(one)
        if size_bytes >= PIECE_BYTES:
            pieces.append(b"".join(some))
            some, size_bytes = [], 0
    return [*pieces, b"".join(some)] if some else pieces
