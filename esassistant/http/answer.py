"""Answers that are ready in memory. The hot path and the Django view of the same address both give the same one."""

import hashlib
from dataclasses import dataclass, field

from django.http import HttpRequest, HttpResponse

from esassistant.clock import Clock, monotonic
from esassistant.http.compression import MIN_BYTES, accepts_gzip, compressed, etag_of_gzip

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer to a GET. `etag` is in quotes. `made_at` is on the monotonic clock; the Age header counts from
    it.
    """

    body: bytes
    content_type: str
    status: int = 200
    etag: str | None = None
    made_at: float | None = None
    cache_control: str = "no-store"
    headers: tuple[tuple[str, str], ...] = ()
    compressed_as: str | None = None
    """The key under which the compressed form is kept if there is no etag. A different body needs a different key."""
    unchanged_head: Headers = field(init=False, repr=False, compare=False)
    """The headers of a 304, without Age and Vary."""
    head: Headers = field(init=False, repr=False, compare=False)
    """The headers, without Age and Vary."""
    unchanged_gzip_head: Headers = field(init=False, repr=False, compare=False)
    """The headers of a 304 for a client that has the compressed form of this answer."""

    def __post_init__(self) -> None:
        named = [("cache-control", self.cache_control), *self.headers]
        # Encode only once, as an answer is given many times.
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
        """True if clients that prefer it get the answer compressed."""
        return len(self.body) >= MIN_BYTES and self.status == 200

    def gzipped(self) -> tuple[Headers, bytes] | None:
        """Return the headers (without Age and Vary) and the body of the compressed answer. Return None if it isn't
        compressed yet, and compressing it would block the loop for too long.
        """
        small = compressed.ready(self.body, self.etag or self.compressed_as)
        if small is None:
            return None
        return (*self._content(len(small)), (b"content-encoding", b"gzip"), *self.unchanged_gzip_head), small

    def _content(self, length: int) -> Headers:
        return (b"content-type", self.content_type.encode("latin-1")), (b"content-length", b"%d" % length)

    def age(self, now: float) -> int | None:
        """Return the whole seconds for the Age header, or None if the answer has no such header."""
        return None if self.made_at is None else max(0, int(now - self.made_at))

    def is_unchanged(self, if_none_match: str, *, gzipped: bool = False) -> bool:
        """Return True if the client already has this answer in the form that it would get, as its If-None-Match header
        says. Then a 304 is enough.
        """
        if self.etag is None or self.status != 200:
            return False
        etag = etag_of_gzip(self.etag) if gzipped else self.etag
        candidates = (candidate.strip().removeprefix("W/") for candidate in if_none_match.split(","))
        return any(candidate in ("*", etag) for candidate in candidates)

    def response(self, request: HttpRequest, clock: Clock = monotonic) -> HttpResponse:
        """Return this answer as a view returns it. A request that changes something never gets a 304.
        `CompressionMiddleware` compresses the response later.
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
    """Return a strong validator of `body`, in quotes: 128 bits of BLAKE2b, in hex."""
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
