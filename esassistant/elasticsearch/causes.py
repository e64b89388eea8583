"""Tells why Elasticsearch can't be reached. Pure; where only the server can say it, explain.py finds out."""

import gzip
import re
import zlib
from dataclasses import dataclass

import aiohttp
import msgspec

from esassistant.connection_causes import Cause, chain, connection_cause, sentence

SETTING = "ELASTICSEARCH_URL"
FIRST_WITH_HEADER = (7, 14)
"""The first version in which each answer of Elasticsearch has the header."""
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){1,3}[\w.-]{0,20}")
_BROKEN_COMPRESSION = (gzip.BadGzipFile, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class Product:
    """What a server says at its root that it is. `is_opensearch` False: it says that it is Elasticsearch."""

    is_opensearch: bool
    version: str

    @property
    def name(self) -> str:
        return f"{'OpenSearch' if self.is_opensearch else 'Elasticsearch'} {self.version}"


class NodeFailure(Exception):
    """What is known about a call that failed at a node. It is the `__cause__` of the error that callers of
    elasticsearch-py get.

    Attributes:
        at: Host and port.
        cause: Why the connection failed.
        product, has_path: About an answer that isn't Elasticsearch's: what answered, and whether our URL has a path.
    """

    def __init__(
        self, at: str, cause: Cause | None = None, product: Product | None = None, *, has_path: bool = False
    ) -> None:
        super().__init__(cause.value if cause is not None else "no cause is known")
        self.at = at
        self.cause = cause
        self.product = product
        self.has_path = has_path


def cause_of(error: BaseException) -> Cause | None:
    """Return why a request by aiohttp failed, as far as its error says."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Cause.NAME
    if isinstance(error, aiohttp.ServerDisconnectedError):
        # `message` is a text if no part of the answer's head came.
        return Cause.CLOSED if isinstance(error.message, str) else Cause.CUT
    if isinstance(error, aiohttp.ClientPayloadError):
        is_broken = any(isinstance(one, _BROKEN_COMPRESSION) for one in chain(error))
        return None if is_broken else Cause.CUT
    if isinstance(error, aiohttp.ClientResponseError):
        return Cause.NOT_HTTP
    return connection_cause(error)


def product_of(body: bytes) -> Product | None:
    """Return what a server says at its root that it is, or None if it is neither Elasticsearch nor OpenSearch."""
    try:
        said = msgspec.json.decode(body)
    except (ValueError, RecursionError):  # msgspec's own error is a ValueError too
        return None
    match said:
        case {"version": {"number": str(number), **version}, **rest} if _VERSION.fullmatch(number):
            tagline = str(rest.get("tagline", ""))
            if version.get("distribution") == "opensearch" or tagline.startswith("The OpenSearch Project"):
                return Product(is_opensearch=True, version=number)
            return Product(is_opensearch=False, version=number) if tagline == "You Know, for Search" else None
    return None


def unreachable(cause: Cause | None, at: str = "") -> str:
    """Return a sentence that says why no answer came. `at`: host and port; only operators may see them."""
    return sentence(cause, "Elasticsearch", SETTING, "ELASTICSEARCH_CA_CERTS", ("http://", "https://"), at)


def not_elasticsearch(status: int | None, product: Product | None, *, has_path: bool, at: str = "") -> str:
    """Return a sentence that says what answers in place of Elasticsearch.

    Args:
        status: The status of the answer. None if it isn't known.
        product: What the server says at its root that it is. None if it doesn't say.
        has_path: Whether our URL has a path.
        at: Host and port, which only operators may see; empty to leave them out.
    """
    where = f"What answers at {SETTING} ({at})" if at else f"What answers at {SETTING}"
    if product is None:
        path = "the path in the URL is wrong. Correct it" if has_path else "a path is missing in the URL. Add it"
        return f"{where} is not Elasticsearch (status {status}): a gateway, or {path}, or name Elasticsearch itself."
    if product.is_opensearch:
        return f"{where} is {product.name}, which is not supported. Name an Elasticsearch cluster."
    if _numbers(product.version) < FIRST_WITH_HEADER:
        return f"{where} is {product.name}, which is too old. Name a cluster of version 8.19 or later."
    return (
        f"{where} is {product.name} behind a gateway that takes the header X-Elastic-Product away. Let it pass, or "
        "name Elasticsearch itself."
    )


def has_path_too_many(status: int, body: object) -> bool:
    """Return True if an error of Elasticsearch says that it has nothing at this address. Then our URL has a superfluous
    path.
    """
    if isinstance(body, bytes):
        try:
            body = msgspec.json.decode(body)
        except (ValueError, RecursionError):
            return False
    match body:
        case {"error": str(reason)}:
            return status == 400 and reason.startswith("no handler found for uri")
    return False


PATH_TOO_MANY = f"{{where}} has nothing at this address: there is a path too many in {SETTING}. Remove it."


def _numbers(version: str) -> tuple[int, ...]:
    major, minor = version.split(".")[:2]
    return int(major), int(re.match(r"\d+", minor)[0])  # type: ignore[index]  # _VERSION has it
