"""When a call is tried again, and after how long."""

import pytest
from elastic_transport import ConnectionError as ElasticConnectionError
from elastic_transport import ConnectionTimeout, SerializationError, TlsError
from hypothesis import given
from hypothesis import strategies as st

from esassistant.elasticsearch.retry import IDEMPOTENT_METHODS, RETRIED_STATUSES, RetryPolicy

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


def longest(low: float, high: float) -> float:
    return high


def shortest(low: float, high: float) -> float:
    return low


@given(st.integers(0, 20), st.integers(1, 30), st.sampled_from(METHODS), st.integers(100, 599))
def test_retries_after_a_status(max_retries: int, attempt: int, method: str, status: int) -> None:
    """Only the statuses of a passing trouble, only reads, and only `max_retries` times."""
    delay = RetryPolicy(max_retries).delay_after_status(attempt, method, status, None)
    assert (delay is not None) == (
        status in RETRIED_STATUSES and method in IDEMPOTENT_METHODS and attempt <= max_retries
    )


@given(st.integers(1, 10_000), st.floats(0.001, 10), st.floats(0.001, 100))
def test_bounds_of_delays(attempt: int, base: float, cap: float) -> None:
    """The delay before retry n lies between 0 and min(cap, base · 2ⁿ⁻¹), whatever the source of jitter gives."""
    policy = RetryPolicy(10_000, base, cap)
    delay = policy.delay_after_status(attempt, "GET", 503, None)
    assert delay is not None
    bound = min(cap, base * 2.0 ** min(attempt - 1, 16))
    assert 0 <= delay <= bound
    ends = [
        RetryPolicy(10_000, base, cap, end).delay_after_status(attempt, "GET", 503, None) for end in (shortest, longest)
    ]
    assert ends == [0, bound]


def test_jitter_spreads() -> None:
    """Clients that failed together don't come back together."""
    delays = {RetryPolicy(1).delay_after_status(1, "GET", 503, None) for _ in range(100)}
    assert len(delays) > 90


@given(st.integers(0, 100), st.integers(1, 5), st.sampled_from([shortest, longest]))
def test_retry_after_is_the_least_delay(asked: int, attempt: int, uniform: object) -> None:
    """The server's wish is the least delay; one beyond the cap ends the retries."""
    assert callable(uniform)
    policy = RetryPolicy(5, uniform=uniform)
    delay = policy.delay_after_status(attempt, "GET", 429, f" {asked} ")
    own = policy.delay_after_status(attempt, "GET", 429, None)
    assert own is not None
    assert delay == (None if asked > policy.cap_seconds else max(asked, own))


@given(st.text(max_size=8) | st.sampled_from(["²", "٣", "-1", "1.5", "Fri, 31 Dec 1999 23:59:59 GMT", "9" * 400]))
def test_no_retry_after_breaks_the_retry(header: str) -> None:
    """Whatever a server or a proxy writes there, a delay comes out: a wish that isn't understood is ignored."""
    delay = RetryPolicy(1, uniform=longest).delay_after_status(1, "GET", 503, header)
    understood = header.strip().isascii() and header.strip().isdigit()
    if not understood:
        assert delay == 0.1
    else:
        assert delay is None or delay >= 0.1


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (ElasticConnectionError("refused"), True),
        (ConnectionTimeout("no answer"), False),
        (TlsError("untrusted"), False),
        (SerializationError("not JSON"), False),
        (ValueError("ours"), False),
    ],
)
def test_retries_after_an_error(error: Exception, retried: bool) -> None:
    """A broken connection is tried again; a timeout isn't, as the server may still be at work on the call."""
    policy = RetryPolicy(2)
    for method in METHODS:
        delays = [policy.delay_after_error(attempt, method, error) for attempt in (1, 2, 3)]
        wanted = retried and method in IDEMPOTENT_METHODS
        assert [delay is not None for delay in delays] == [wanted, wanted, False]
