"""Reads what the answer to a search says about itself from its first bytes, as the answer is passed
on undecoded. Pure.
"""

import re
from dataclasses import dataclass

import msgspec

HEAD_BYTES = 400
LARGEST_DECODED_BYTES = 1_000_000
"""A larger answer isn't decoded for this, as that would block the loop."""
HEAD = re.compile(
    rb'\{"took":(\d{1,15}),"timed_out":(true|false),(?:"terminated_early":(?:true|false),)?'
    rb'(?:"num_reduce_phases":\d+,)?"_shards":\{"total":\d+,"successful":\d+,(?:"skipped":\d+,)?"failed":(\d{1,9})'
    rb'(\},"hits":\{(?:"total":\{"value":(\d{1,18}),"relation":"(?:eq|gte)"\})?)?'
)


@dataclass(frozen=True, slots=True)
class SearchHead:
    """The beginning of an answer. `hits`: the number of hits, which may be a lower bound; None if they were not
    counted.
    """

    took_ms: int
    timed_out: bool
    failed_shards: int
    hits: int | None


class _Total(msgspec.Struct):
    value: int


class _Hits(msgspec.Struct):
    total: _Total | None = None


class _Shards(msgspec.Struct):
    failed: int


class _Answer(msgspec.Struct):
    took: int
    timed_out: bool
    shards: _Shards = msgspec.field(name="_shards")
    hits: _Hits | None = None


_decoder = msgspec.json.Decoder(_Answer)


def read_head(body: bytes) -> SearchHead | None:
    """Read the head of an answer, which is a JSON object; return None if that fails.

    Elasticsearch writes these members first. If they are in another order, or failures of shards are among them, the
    whole answer is decoded, unless it is large.
    """
    found = HEAD.match(body, 0, HEAD_BYTES)
    if found is not None and found[4] is not None:
        hits = None if found[5] is None else int(found[5])
        return SearchHead(int(found[1]), found[2] == b"true", int(found[3]), hits)
    if len(body) <= LARGEST_DECODED_BYTES:
        try:
            answer = _decoder.decode(body)
        except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors too
            return None
        total = None if answer.hits is None else answer.hits.total
        return SearchHead(answer.took, answer.timed_out, answer.shards.failed, None if total is None else total.value)
    return None if found is None else SearchHead(int(found[1]), found[2] == b"true", int(found[3]), None)
