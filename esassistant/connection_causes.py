"""Finds out why a server could not be reached: the cause, and its remedy. Pure.

`docs/operations.md` has a table with one row per cause; the value of a `Cause` is its anchor there.
"""

import enum
import errno
import socket
import ssl
from collections.abc import Iterator


class Cause(enum.Enum):
    """Why a connection could not be made or used."""

    NAME = "cause-name"
    REFUSED = "cause-refused"
    NO_ROUTE = "cause-no-route"
    CLOSED = "cause-closed"
    CUT = "cause-cut"
    TLS_PORT = "cause-tls-port"
    PLAIN_PORT = "cause-plain-port"
    UNTRUSTED = "cause-untrusted"
    OTHER_HOST = "cause-other-host"
    EXPIRED = "cause-expired"
    TLS = "cause-tls"
    NOT_HTTP = "cause-not-http"


_SENTENCES = {
    Cause.NAME: "the name of its host doesn't resolve. Correct the host in {setting}, or the name service.",
    Cause.REFUSED: "the connection was refused. Start {service}, or correct host and port in {setting}.",
    Cause.NO_ROUTE: "there is no route to its host. Correct the host in {setting}, or the network.",
    Cause.CLOSED: "it closed the connection without an answer. Look at its log, and at what stands before it.",
    Cause.CUT: "the connection was closed amid the answer. Look at its log, and at what stands before it.",
    Cause.TLS_PORT: "this port expects TLS. Begin {setting} with {tls_scheme}.",
    Cause.PLAIN_PORT: "this port doesn't speak TLS. Begin {setting} with {plain_scheme}, or switch TLS on there.",
    Cause.UNTRUSTED: "its certificate is not trusted. Name the CA that signed it in {ca_setting}.",
    Cause.OTHER_HOST: "its certificate is for another host. Name a host in {setting} that the certificate names.",
    Cause.EXPIRED: "its certificate is not valid at this time. Renew it, or correct the clock of this machine.",
    Cause.TLS: "TLS failed. Compare the versions and certificates that both sides accept.",
    Cause.NOT_HTTP: "what it answers is not HTTP. Correct host and port in {setting}.",
}

_UNTRUSTED_CODES = frozenset({2, 18, 19, 20, 21, 27})
"""OpenSSL's codes for a certificate chain that doesn't lead to a known CA."""
_EXPIRED_CODES = frozenset({9, 10})
_OTHER_HOST_CODES = frozenset({62, 63, 64})
_PLAIN_REASONS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"})
"""OpenSSL's reasons which mean that the server's answer was no TLS record."""
_NO_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})
_CLOSED = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN})


def sentence(
    cause: Cause | None, service: str, setting: str, ca_setting: str, schemes: tuple[str, str], at: str = ""
) -> str:
    """Return the cause and its remedy in words.

    Args:
        cause: None if it isn't known.
        service: The name of the server.
        setting: The setting with its address.
        ca_setting: The setting with the trusted CAs.
        schemes: The schemes of a URL without and with TLS.
        at: Host and port; only operators may see them.
    """
    where = f"{service} at {at}" if at else service
    if cause is None:
        return f"{where} could not be reached."
    plain, tls = schemes
    why = _SENTENCES[cause].format(
        service=service, setting=setting, ca_setting=ca_setting, plain_scheme=plain, tls_scheme=tls
    )
    return f"{where} could not be reached: {why}"


def connection_cause(error: BaseException) -> Cause | None:
    """Return why a connection failed, or None if the errors of the operating system and of OpenSSL don't say."""
    for one in chain(error):
        cause = _cause_of_one(one)
        if cause is not None:
            return cause
    return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and then the errors that caused it."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        # aiohttp keeps the first error in `os_error`.
        origins = (getattr(one, "os_error", None), one.__cause__, one.__context__)
        waiting += [origin for origin in origins if isinstance(origin, BaseException)]


def _cause_of_one(error: BaseException) -> Cause | None:
    if isinstance(error, socket.gaierror):
        return Cause.NAME
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_cause(getattr(error, "verify_code", None))
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Cause.CLOSED
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None)
        if reason is None:
            return None  # another library's error that wraps OpenSSL's, which is in the chain too
        return Cause.PLAIN_PORT if reason in _PLAIN_REASONS else Cause.TLS
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.ECONNREFUSED:
        return Cause.REFUSED
    if error.errno in _NO_ROUTE:
        return Cause.NO_ROUTE
    return Cause.CLOSED if error.errno in _CLOSED or isinstance(error, ConnectionResetError) else None


def _certificate_cause(verify_code: int | None) -> Cause | None:
    if verify_code is None:
        return None
    if verify_code in _UNTRUSTED_CODES:
        return Cause.UNTRUSTED
    if verify_code in _EXPIRED_CODES:
        return Cause.EXPIRED
    return Cause.OTHER_HOST if verify_code in _OTHER_HOST_CODES else Cause.TLS
