"""What the feed sends: server-sent events, as the HTML standard defines them. Pure."""

from collections.abc import Iterable
from typing import Final

import msgspec

from cacheapp.feed.interest import Position
from cacheapp.shown_changes import ShownChange

PIECE_BYTES: Final = 65_536
"""So much is given to a connection at once: it holds as much for a client that takes nothing."""

_encoder = msgspec.json.Encoder()


def event(change: ShownChange, history: str) -> bytes:
    """One change. Its data is one line, as JSON has no line breaks in texts.

    It has no name of its own, not even a gap: browsers give named events only to who listens for that name.
    """
    return f"id: {change.id}-{history}\ndata: ".encode() + _encoder.encode(change) + b"\n\n"


def opening(position: Position, retry_ms: int, note: str) -> bytes:
    """What a stream begins with: where it goes on, which a client that reconnects before the first event says then, and
    how long it waits before it does. Without data it is no event.
    """
    return b"%bretry: %d\nid: %b\n\n" % (comment(note), retry_ms, str(position).encode())


def comment(note: str) -> bytes:
    """A line that clients skip, and proxies take for a sign of life."""
    return f": {' '.join(note.split())}\n".encode()


def moved(position: Position) -> bytes:
    """Tell a client where the stream is by now, without any event."""
    return b"id: %b\n\n" % str(position).encode()


def in_pieces(events: Iterable[bytes]) -> list[bytes]:
    """The same events, joined to pieces of about `PIECE_BYTES`."""
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
