"""Unpacks compressed answers of the cluster, up to a bound."""

import io
import zlib

from esassistant.elasticsearch.errors import AnswerTooLarge

UNPACKED_AT_ONCE_BYTES = 1_048_576
"""How much is unpacked in one step. The size is checked after each step, as an answer may become a thousand times as
large; smaller steps would take more time.
"""


def gunzip(packed: io.BytesIO, max_bytes: int) -> bytes:
    """Unpack one gzip member. (`gzip.decompress` has no bound.)

    Raises `AnswerTooLarge` beyond `max_bytes`. Raises `zlib.error` for anything else than one whole gzip member:
    Elasticsearch sends one, and millions of empty ones would take seconds within any bound.
    """
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    packed.seek(0)
    # a BytesIO gives its bytes away without a copy, and, once closed, keeps none in the frames of an error
    with io.BytesIO() as unpacked:
        while not unpacker.eof and (piece := packed.read(UNPACKED_AT_ONCE_BYTES)):
            part = b""
            # If a part is full there may be more to come, even if the whole piece has been read.
            while piece or len(part) == UNPACKED_AT_ONCE_BYTES:
                part = unpacker.decompress(piece, UNPACKED_AT_ONCE_BYTES)
                if unpacked.tell() + len(part) > max_bytes:
                    raise AnswerTooLarge(max_bytes)
                unpacked.write(part)
                piece = unpacker.unconsumed_tail
        if not unpacker.eof or unpacker.unused_data or packed.read(1):
            raise zlib.error("not exactly one gzip member")
        return unpacked.getvalue()
