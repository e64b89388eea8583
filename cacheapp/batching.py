"""How names are put together into requests: pure policy."""

from collections.abc import Iterable, Iterator

from cacheapp.names import encode_name

MAX_TARGET_BYTES = 3_800
"""Elasticsearch refuses a request line of more than 4 096 bytes; this is for the names alone."""


def batches(names: Iterable[str], size: int, max_bytes: int = MAX_TARGET_BYTES) -> Iterator[list[str]]:
    """Split `names`, in order, into batches of at most `size` names and `max_bytes` encoded bytes. No batch is empty."""
    batch: list[str] = []
    batch_bytes = 0
    for name in names:
        name_bytes = len(encode_name(name)) + 1
        if batch and (len(batch) >= size or batch_bytes + name_bytes > max_bytes):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(name)
        batch_bytes += name_bytes
    if batch:
        yield batch
