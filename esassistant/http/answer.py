"""Answers that are ready in memory. Both doors, the hot path and the Django view of the same address, give the same
one.
"""

import hashlib
from dataclasses import dataclass, field

from django.http import HttpRequest, HttpResponse

from esassistant.clock import Clock, monotonic
from esassistant.http.compression import MIN_BYTES, accepts_gzip, compressed, etag_of_gzip

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
    compressed_as: str | None = None
    """By what its compressed form is kept, where it has no etag: another one for another body."""
    unchanged_head: Headers = field(init=False, repr=False, compare=False)
    """The headers of a 304, but for Age and Vary."""
    head: Headers = field(init=False, repr=False, compare=False)
    """The headers, but for Age and Vary."""
    unchanged_gzip_head: Headers = field(init=False, repr=False, compare=False)
    """The headers of a 304 to who holds this answer compressed."""

    def __post_init__(self) -> None:
        named = [("cache-control", self.cache_control), *self.headers]
        # Encoded once: an answer is given many times.
        common = tuple((name.lower().encode("ascii"), value.encode("latin-1")) for name, value in named)
        unchanged = gzipped = common
        if self.etag is not None:
            unchanged = (*common, (b"etag", self.etag.encode("latin-1")))
            gzipped = (*common, (b"etag", etag_of_gzip(self.etag).encode("latin-1")))
        object.__setattr__(self, "unchanged_head", unchanged)
        object.__setattr__(self, "unchanged_gzip_head", gzipped)
        object.__setattr__(self, "head", (*self._content(len(self.body)), *unchanged))

    @property
    def varies(self) -> bool:
        """Whether it is given compressed to who prefers that."""
        return len(self.body) >= MIN_BYTES and self.status == 200

    def gzipped(self) -> tuple[Headers, bytes] | None:
        """The headers, but for Age and Vary, and the body of this answer compressed; None where that takes too long for
        the loop and wasn't done before.
        """
        small = compressed.ready(self.body, self.etag or self.compressed_as)
        if small is None:
            return None
        return (*self._content(len(small)), (b"content-encoding", b"gzip"), *self.unchanged_gzip_head), small

    def _content(self, length: int) -> Headers:
        return (b"content-type", self.content_type.encode("latin-1")), (b"content-length", b"%d" % length)

    def age(self, now: float) -> int | None:
        """Whole seconds for the Age header; None: no such header."""
        return None if self.made_at is None else max(0, int(now - self.made_at))

    def is_unchanged(self, if_none_match: str, *, gzipped: bool = False) -> bool:
        """Whether what a client holds, as its If-None-Match header says, is this answer, in the form that it would get:
        then 304 is enough.
        """
        if self.etag is None or self.status != 200:
            return False
        etag = etag_of_gzip(self.etag) if gzipped else self.etag
        candidates = (candidate.strip().removeprefix("W/") for candidate in if_none_match.split(","))
        return any(candidate in ("*", etag) for candidate in candidates)

    def response(self, request: HttpRequest, clock: Clock = monotonic) -> HttpResponse:
        """This answer as a view gives it; never 304 to a request that changes something. `CompressionMiddleware`
        compresses it.
        """
        reads = request.method in ("GET", "HEAD")
        gzipped = self.varies and accepts_gzip(request.headers.get("Accept-Encoding", "").encode("latin-1"))
        if reads and self.is_unchanged(request.headers.get("If-None-Match", ""), gzipped=gzipped):
            response = HttpResponse(status=304)
            head = self.unchanged_gzip_head if gzipped else self.unchanged_head
            del response["Content-Type"]
            if self.varies:
                response["Vary"] = "Accept-Encoding"
        else:
            response = HttpResponse(self.body, status=self.status)
            response.compressed_as = self.etag or self.compressed_as  # type: ignore[attr-defined]
            head = self.head
        for name, value in head:
            response[name.decode("ascii")] = value.decode("latin-1")
        if (age := self.age(clock())) is not None:
            response["Age"] = str(age)
        return response


def etag_of(body: bytes) -> str:
    """A strong validator of `body`, in quotes: 128 bits of BLAKE2b, in hex."""
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
