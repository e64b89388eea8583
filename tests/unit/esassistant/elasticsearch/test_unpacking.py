"""Unpacking what the cluster sends; what its node makes of failures is in test_node."""

import io
import random

import pytest

from esassistant.elasticsearch.errors import AnswerTooLarge
from esassistant.elasticsearch.unpacking import UNPACKED_AT_ONCE_BYTES, gunzip
from tests.support.hostile import zipped


@pytest.mark.parametrize(
    "size",
    [0, 1, UNPACKED_AT_ONCE_BYTES - 1, UNPACKED_AT_ONCE_BYTES, UNPACKED_AT_ONCE_BYTES + 1, 2 * UNPACKED_AT_ONCE_BYTES],
)
def test_gunzip(size: int) -> None:
    """What was packed is unpacked, whatever its size."""
    body = random.Random(0).randbytes(1000) * (size // 1000) + b"x" * (size % 1000)
    assert gunzip(io.BytesIO(zipped(body)), size) == body
    if size:
        with pytest.raises(AnswerTooLarge):
            gunzip(io.BytesIO(zipped(body)), size - 1)


def test_gunzip_of_what_does_not_shrink() -> None:
    """So large a packed body is unpacked in several pieces."""
    body = random.Random(0).randbytes(3 * UNPACKED_AT_ONCE_BYTES)
    assert gunzip(io.BytesIO(zipped(body)), len(body)) == body
