"""When a call is tried again, and after how long."""

import pytest
from elastic_transport import ConnectionError as ElasticConnectionError
from elastic_transport import ConnectionTimeout, SerializationError, TlsError
from hypothesis import given
from hypothesis import strategies as st

from esassistant.elasticsearch.errors import BreakerOpen, PoolExhausted, PoolTimeout
from esassistant.elasticsearch.retry import (
    BUDGET_FLOOR,
    BUDGET_SECONDS,
    BUDGET_SHARE,
    RETRIED_STATUSES,
    RetryBudget,
    RetryPolicy,
)
from tests.support.fakes import FakeClock


def longest(low: float, high: float) -> float:
    return high


def shortest(low: float, high: float) -> float:
    return low


@given(st.integers(0, 20), st.integers(1, 30), st.booleans(), st.integers(100, 599))
def test_retries_after_a_status(max_retries: int, attempt: int, idempotent: bool, status: int) -> None:
    """Only the statuses of a passing trouble, only idempotent calls, and only `max_retries` times."""
    delay = RetryPolicy(max_retries).delay_after_status(attempt, status, None, idempotent=idempotent)
    assert (delay is not None) == (status in RETRIED_STATUSES and idempotent and attempt <= max_retries)


@given(st.integers(1, 10_000), st.floats(0.001, 10), st.floats(0.001, 100))
def test_bounds_of_delays(attempt: int, base: float, cap: float) -> None:
    """The delay before retry n lies between 0 and min(cap, base · 2ⁿ⁻¹), whatever the source of jitter gives."""
    policy = RetryPolicy(10_000, base, cap)
    delay = policy.delay_after_status(attempt, 503, None, idempotent=True)
    assert delay is not None
    bound = min(cap, base * 2.0 ** min(attempt - 1, 16))
    assert 0 <= delay <= bound
    ends = [
        RetryPolicy(10_000, base, cap, end).delay_after_status(attempt, 503, None, idempotent=True)
        for end in (shortest, longest)
    ]
    assert ends == [0, bound]


def test_jitter_spreads() -> None:
    """Clients that failed together don't come back together."""
    delays = {RetryPolicy(1).delay_after_status(1, 503, None, idempotent=True) for _ in range(100)}
    assert len(delays) > 90


@given(st.integers(0, 100), st.integers(1, 5), st.sampled_from([shortest, longest]))
def test_retry_after_is_the_least_delay(asked: int, attempt: int, uniform: object) -> None:
    """The server's wish is the least delay; one beyond the cap ends the retries."""
    assert callable(uniform)
    policy = RetryPolicy(5, uniform=uniform)
    delay = policy.delay_after_status(attempt, 429, f" {asked} ", idempotent=True)
    own = policy.delay_after_status(attempt, 429, None, idempotent=True)
    assert own is not None
    assert delay == (None if asked > policy.cap_seconds else max(asked, own))


@given(st.text(max_size=8) | st.sampled_from(["²", "٣", "-1", "1.5", "Fri, 31 Dec 1999 23:59:59 GMT", "9" * 400]))
def test_no_retry_after_breaks_the_retry(header: str) -> None:
    """Whatever a server or a proxy writes there, a delay comes out: a wish that isn't understood is ignored."""
    delay = RetryPolicy(1, uniform=longest).delay_after_status(1, 503, header, idempotent=True)
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
        (PoolTimeout("full", retry_after_seconds=1), False),
        (PoolExhausted("full", retry_after_seconds=1), False),
        (BreakerOpen("open", retry_after_seconds=1), False),
        (ValueError("ours"), False),
    ],
)
def test_retries_after_an_error(error: Exception, retried: bool) -> None:
    """A broken connection is tried again; a timeout isn't, as the server may still be at work on the call."""
    policy = RetryPolicy(2)
    for idempotent in (True, False):
        delays = [policy.delay_after_error(attempt, error, idempotent=idempotent) for attempt in (1, 2, 3)]
        wanted = retried and idempotent
        assert [delay is not None for delay in delays] == [wanted, wanted, False]


def spent(budget: RetryBudget, wanted: int) -> int:
    """How many retries of `wanted` the budget has."""
    return sum(budget.spend() for _ in range(wanted))


@given(st.integers(0, 500))
def test_budget(calls: int) -> None:
    """A tenth of the calls, and ten more: exactly so many retries, and none when asked again."""
    budget = RetryBudget(FakeClock())
    for _ in range(calls):
        budget.note_call()
    assert spent(budget, 100) == BUDGET_FLOOR + calls // 10
    assert BUDGET_SHARE == 0.1
    assert not budget.spend()
    for _ in range(10):
        budget.note_call()
    assert spent(budget, 5) == 1


def test_budget_slides(fake_clock: FakeClock) -> None:
    """Spent retries come back, and calls cease to count, once they lie longer back than the window."""
    budget = RetryBudget(fake_clock)
    for _ in range(100):
        budget.note_call()
    assert spent(budget, 50) == 20
    fake_clock.now += BUDGET_SECONDS / 2
    assert not budget.spend()
    for _ in range(20):
        budget.note_call()
    assert spent(budget, 50) == 2
    fake_clock.now += BUDGET_SECONDS * 0.6 + 0.01  # the first half is gone: 20 calls and 2 retries are left
    assert spent(budget, 50) == 10
    fake_clock.now += 2 * BUDGET_SECONDS
    assert spent(budget, 50) == BUDGET_FLOOR
