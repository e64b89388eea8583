"""What is read out of the beginning of an answer to a search."""

import json
from typing import Any

import pytest

from esassistant.elasticsearch.search_head import LARGEST_DECODED_BYTES, SearchHead, read_head

SHARDS = {"total": 2, "successful": 2, "skipped": 0, "failed": 0}
HITS = {"total": {"value": 7, "relation": "gte"}, "max_score": 1.0, "hits": []}


def body(hits: object = HITS, shards: object = SHARDS, *, timed_out: bool = False, **more: Any) -> bytes:
    """An answer in the order in which Elasticsearch writes it."""
    answer = {"took": 12, "timed_out": timed_out, **more, "_shards": shards, "hits": hits}
    return json.dumps(answer, separators=(",", ":")).encode()


FAILED = {**SHARDS, "failed": 1}
FAILURES = {**FAILED, "failures": [{"shard": 0, "reason": {"type": "x" * 500}}]}
ELSEWHERE: dict[str, object] = {"_shards": FAILED, "timed_out": True, "took": 3}


@pytest.mark.parametrize(
    ("answer", "head"),
    [
        (body(), SearchHead(12, False, 0, 7)),
        (body(timed_out=True), SearchHead(12, True, 0, 7)),
        (body(terminated_early=True, num_reduce_phases=3), SearchHead(12, False, 0, 7)),
        (body(shards=FAILED), SearchHead(12, False, 1, 7)),
        (body(hits={"max_score": None, "hits": []}), SearchHead(12, False, 0, None)),
        (body(shards=FAILURES), SearchHead(12, False, 1, 7)),
        (json.dumps({"profile": {}, "hits": HITS, **ELSEWHERE}).encode(), SearchHead(3, True, 1, 7)),
        (json.dumps({"hits": {"hits": []}, **ELSEWHERE}).encode(), SearchHead(3, True, 1, None)),
        (json.dumps(ELSEWHERE).encode(), SearchHead(3, True, 1, None)),
        (b"{}", None),
        (b'{"took":1,"timed_out":false,"_shards":{}}', None),
        (b"[" * 5_000, None),
        (b"\xff", None),
    ],
)
def test_heads(answer: bytes, head: SearchHead | None) -> None:
    """In Elasticsearch's order without decoding, in any other by decoding; None where it can't be told."""
    assert read_head(answer) == head


def test_a_good_answer_is_not_decoded() -> None:
    """What comes after the head isn't looked at: it may be megabytes."""
    assert read_head(body()[:-25] + b"no JSON") == SearchHead(12, False, 0, 7)


def test_large_answers_are_never_decoded() -> None:
    """What a head without its hits says is taken; without a head there is nothing."""
    filler = b" " * LARGEST_DECODED_BYTES
    assert read_head(body(shards=FAILURES) + filler) == SearchHead(12, False, 1, None)
    assert read_head(b'{"profile":{},' + body()[1:] + filler) is None
