"""Why a server could not be reached; tests/faults/test_causes.py has the same on real ports."""

import errno
import re
import socket
import ssl
from pathlib import Path

import aiohttp
import pytest

from esassistant.connection_causes import Cause, chain, connection_cause, sentence


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def untrusted(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


def wrapped(error: BaseException) -> Exception:
    """As a library raises its own in place of the system's."""
    outer = RuntimeError("failed")
    outer.__context__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Cause.NAME),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), Cause.REFUSED),
        (OSError(errno.ECONNREFUSED, "Multiple exceptions"), Cause.REFUSED),
        (OSError(errno.EHOSTUNREACH, "no route"), Cause.NO_ROUTE),
        (OSError(errno.ENETUNREACH, "no route"), Cause.NO_ROUTE),
        (ConnectionResetError(errno.ECONNRESET, "reset"), Cause.CLOSED),
        (ConnectionResetError("Connection lost"), Cause.CLOSED),
        (BrokenPipeError(errno.EPIPE, "pipe"), Cause.CLOSED),
        (ssl.SSLError("raised by another library"), None),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), Cause.CLOSED),
        (tls("WRONG_VERSION_NUMBER"), Cause.PLAIN_PORT),
        (tls("RECORD_LAYER_FAILURE"), Cause.PLAIN_PORT),
        (tls("TLSV1_ALERT_PROTOCOL_VERSION"), Cause.TLS),
        (untrusted(18), Cause.UNTRUSTED),
        (untrusted(20), Cause.UNTRUSTED),
        (untrusted(10), Cause.EXPIRED),
        (untrusted(62), Cause.OTHER_HOST),
        (untrusted(64), Cause.OTHER_HOST),
        (untrusted(23), Cause.TLS),
        (OSError(errno.EMFILE, "too many open files"), None),
        (ValueError("something else"), None),
    ],
)
def test_causes(error: BaseException, cause: Cause | None) -> None:
    """Told by codes, also of an error that another one was raised for."""
    assert connection_cause(error) is cause
    assert connection_cause(wrapped(error)) is cause


def test_an_error_in_another_is_found() -> None:
    """aiohttp keeps the system's error beside its own."""
    first = socket.gaierror(socket.EAI_NONAME, "unknown")
    assert connection_cause(aiohttp.ClientConnectorDNSError(None, first)) is Cause.NAME  # type: ignore[arg-type]


def test_an_error_in_the_place_of_openssl_s() -> None:
    """A TLS error without OpenSSL's reason says nothing itself: the one that it was raised for does."""
    outer = ssl.SSLError("raised by another library")
    outer.__context__ = tls("WRONG_VERSION_NUMBER")
    assert connection_cause(outer) is Cause.PLAIN_PORT


def test_a_circle_ends() -> None:
    """Errors that name each other are each looked at once."""
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert list(chain(one)) == [one, two]
    assert connection_cause(one) is None


@pytest.mark.parametrize("cause", Cause)
def test_sentences(cause: Cause) -> None:
    """Each cause has its own sentence and a remedy after it; the address is for operators alone."""
    words = ("Redis", "REDIS_URL", "REDIS_CA", ("redis://", "rediss://"))
    callers, operators = sentence(cause, *words), sentence(cause, *words, "es:6379")
    assert callers.startswith("Redis could not be reached: ")
    assert operators == callers.replace("Redis", "Redis at es:6379", 1)
    assert callers.count(". ") == 1
    assert "{" not in callers
    assert len({sentence(one, *words) for one in Cause}) == len(Cause)


def test_each_cause_has_its_row() -> None:
    """docs/operations.md has an anchor for each cause and for each timeout, and no others."""
    document = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    timeouts = ["cause-no-connection", "cause-no-answer"]
    known = sorted([*timeouts, *(cause.value for cause in Cause)])
    assert sorted(re.findall(r'<a id="(cause-[a-z-]+)">', document)) == known


def test_no_cause() -> None:
    """An unknown cause is not guessed."""
    words = ("Redis", "REDIS_URL", "REDIS_CA", ("redis://", "rediss://"))
    assert sentence(None, *words, "es:6379") == "Redis at es:6379 could not be reached."
