"""Answers that are ready in memory. Both doors, the hot path and the Django view of the same address, give the same
one.
"""

import hashlib
from dataclasses import dataclass, field

from django.http import HttpRequest, HttpResponse

from esassistant.clock import Clock, monotonic

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer to a GET. `etag` in quotes; `made_at`, on the monotonic clock, is what the Age header counts
    from.
    """

    body: bytes
    content_type: str
    status: int = 200
    etag: str | None = None
    made_at: float | None = None
    cache_control: str = "no-store"
    headers: tuple[tuple[str, str], ...] = ()
    unchanged_head: Headers = field(init=False, repr=False, compare=False)
    """The headers of a 304, but for Age."""
    head: Headers = field(init=False, repr=False, compare=False)
    """The headers, but for Age."""

    def __post_init__(self) -> None:
        named = [("cache-control", self.cache_control), *self.headers]
        if self.etag is not None:
            named.append(("etag", self.etag))
        # Encoded once: an answer is given many times.
        unchanged = tuple((name.lower().encode("ascii"), value.encode("latin-1")) for name, value in named)
        content = (
            (b"content-type", self.content_type.encode("latin-1")),
            (b"content-length", b"%d" % len(self.body)),
        )
        object.__setattr__(self, "unchanged_head", unchanged)
        object.__setattr__(self, "head", content + unchanged)

    def age(self, now: float) -> int | None:
        """Whole seconds for the Age header; None: no such header."""
        return None if self.made_at is None else max(0, int(now - self.made_at))

    def is_unchanged(self, if_none_match: str) -> bool:
        """Whether what a client holds, as its If-None-Match header says, is this answer: then 304 is enough."""
        if self.etag is None or self.status != 200:
            return False
        candidates = (candidate.strip().removeprefix("W/") for candidate in if_none_match.split(","))
        return any(candidate in ("*", self.etag) for candidate in candidates)

    def response(self, request: HttpRequest, clock: Clock = monotonic) -> HttpResponse:
        """This answer as a view gives it; never 304 to a request that changes something."""
        reads = request.method in ("GET", "HEAD")
        if reads and self.is_unchanged(request.headers.get("If-None-Match", "")):
            response = HttpResponse(status=304)
            head = self.unchanged_head
            del response["Content-Type"]
        else:
            response = HttpResponse(self.body, status=self.status)
            head = self.head
        for name, value in head:
            response[name.decode("ascii")] = value.decode("latin-1")
        if (age := self.age(clock())) is not None:
            response["Age"] = str(age)
        return response


def etag_of(body: bytes) -> str:
    """A strong validator of `body`, in quotes: 128 bits of BLAKE2b, in hex."""
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
