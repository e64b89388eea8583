"""What the mapping cache answers."""

import enum
from typing import Any

import msgspec

from cacheapp.rendering import Rendered
from cacheapp.snapshot import Source


class Freshness(enum.Enum):
    """How the age of an answer relates to the TTL."""

    FRESH = "fresh"
    STALE = "stale"


class MappingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The mappings that a name stands for, as Elasticsearch renders them: `{"<index>": {"mappings": {…}}, …}`.

    `age_seconds` is that of the oldest index in it, which the cluster confirmed for the moment `confirmed_at` of the
    monotonic clock. `etag` is a strong validator of `body`, in quotes. What follows from the mappings may be kept in
    `derived`: it goes when they do.
    """

    body: bytes
    etag: str
    indices: tuple[str, ...]
    confirmed_at: float
    age_seconds: float
    freshness: Freshness
    source: Source
    derived: dict[Any, Any]


def answer_at(rendered: Rendered, now: float, ttl: float, source: Source) -> MappingAnswer:
    """The answer that `rendered` is at `now`. `source`: who said so."""
    age = now - rendered.confirmed_at
    return MappingAnswer(
        body=rendered.body,
        etag=rendered.etag,
        indices=rendered.indices,
        confirmed_at=rendered.confirmed_at,
        age_seconds=age,
        freshness=Freshness.FRESH if age <= ttl else Freshness.STALE,
        source=source,
        derived=rendered.derived,
    )
