"""Unpacking what the cluster sends, up to a bound."""

import io
import zlib

from esassistant.elasticsearch.errors import AnswerTooLarge

UNPACKED_AT_ONCE_BYTES = 1_048_576
"""What is unpacked in one step. A compressed answer may become a thousand times as large, so each step is checked;
smaller ones cost time.
"""


def gunzip(packed: io.BytesIO, max_bytes: int) -> bytes:
    """Unpack one gzip member. `gzip.decompress` has no bound.

    Raises `AnswerTooLarge` beyond `max_bytes`, and `zlib.error` for what isn't gzip, or isn't all of it, or more:
    Elasticsearch sends one member, and millions of empty ones would take seconds within any bound.
    """
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    packed.seek(0)
    with io.BytesIO() as unpacked:  # which gives its bytes away without a copy, and none to an error's frames
        while not unpacker.eof and (piece := packed.read(UNPACKED_AT_ONCE_BYTES)):
            part = b""
            # A full part may have more behind it, though all of its piece has gone in.
            while piece or len(part) == UNPACKED_AT_ONCE_BYTES:
                part = unpacker.decompress(piece, UNPACKED_AT_ONCE_BYTES)
                if unpacked.tell() + len(part) > max_bytes:
                    raise AnswerTooLarge(max_bytes)
                unpacked.write(part)
                piece = unpacker.unconsumed_tail
        if not unpacker.eof or unpacker.unused_data or packed.read(1):
            raise zlib.error("not exactly one gzip member")
        return unpacked.getvalue()
