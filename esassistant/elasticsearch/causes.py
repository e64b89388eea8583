"""Why Elasticsearch can't be asked, told apart. Pure: what needs a look at the server is looked up in explain.py."""

import gzip
import re
import zlib
from dataclasses import dataclass

import aiohttp
import msgspec

from esassistant.connection_causes import Cause, chain, connection_cause, sentence

SETTING = "ELASTICSEARCH_URL"
FIRST_WITH_HEADER = (7, 14)
"""From this version on each answer of Elasticsearch has its header."""
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){1,3}[\w.-]{0,20}")
_BROKEN_COMPRESSION = (gzip.BadGzipFile, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class Product:
    """What a server says of itself at its root. `is_opensearch`: else it says that it is Elasticsearch."""

    is_opensearch: bool
    version: str

    @property
    def name(self) -> str:
        return f"{'OpenSearch' if self.is_opensearch else 'Elasticsearch'} {self.version}"


class NodeFailure(Exception):
    """What is known of a call that failed at a node: the origin of the error that elasticsearch-py's callers get.

    `at`: host and port. `cause`: of a connection. `product`, `has_path`: of an answer that isn't Elasticsearch's.
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
        # With what came of the answer's head, if anything did.
        return Cause.CLOSED if isinstance(error.message, str) else Cause.CUT
    if isinstance(error, aiohttp.ClientPayloadError):
        is_broken = any(isinstance(one, _BROKEN_COMPRESSION) for one in chain(error))
        return None if is_broken else Cause.CUT
    if isinstance(error, aiohttp.ClientResponseError):
        return Cause.NOT_HTTP
    return connection_cause(error)


def product_of(body: bytes) -> Product | None:
    """Read what a server says of itself at its root; None: neither Elasticsearch nor OpenSearch."""
    try:
        said = msgspec.json.decode(body)
    except (ValueError, RecursionError):  # msgspec's own error is a ValueError
        return None
    match said:
        case {"version": {"number": str(number), **version}, **rest} if _VERSION.fullmatch(number):
            tagline = str(rest.get("tagline", ""))
            if version.get("distribution") == "opensearch" or tagline.startswith("The OpenSearch Project"):
                return Product(is_opensearch=True, version=number)
            return Product(is_opensearch=False, version=number) if tagline == "You Know, for Search" else None
    return None


def unreachable(cause: Cause | None, at: str = "") -> str:
    """Say why no answer came. `at` is for operators alone."""
    return sentence(cause, "Elasticsearch", SETTING, "ELASTICSEARCH_CA_CERTS", ("http://", "https://"), at)


def not_elasticsearch(status: int | None, product: Product | None, *, has_path: bool, at: str = "") -> str:
    """Say what answers in the place of Elasticsearch."""
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
    """Whether an error of Elasticsearch says that it has nothing at the address, which is ours behind a path."""
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
