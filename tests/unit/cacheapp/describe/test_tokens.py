"""The pessimistic count: never below what is known of tokenizers, and what parts cost is never less than the whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.describe import tokens
from cacheapp.describe.tokens import BYTES_PER_TOKEN, ONE_TOKEN, cost, count_tokens

REAL = {
    "http.response.: long status_code; keyword mime_type": 10,
    "@timestamp": 2,
    "SNWD: float": 4,
    ".ds-logs-web-2026.01.05-000001": 14,
    "0f3a9c7be41d2a86": 13,
    "客户姓名 订单号码 订单日期": 10,
    "customer_full_name(.keyword) taxful_total_price": 10,
    "xkqzvwplmt": 7,
    "Umsatzsteuer": 5,
}
"""What the encoding cl100k makes of texts, counted by tiktoken."""


@pytest.mark.parametrize("text", REAL)
def test_a_tokenizer_makes_no_more(text: str) -> None:
    """Names, numbers, hashes, capitals and Chinese count at least as many tokens as a common encoding makes of them."""
    assert count_tokens(text) >= REAL[text]


def test_plain_names_are_not_overestimated() -> None:
    """What fields are called mostly costs little more than its bytes say: the budget is for fields."""
    text = "keyword id name status type; long bytes port; date created start end"
    assert count_tokens(text) <= 1.2 * len(text) / BYTES_PER_TOKEN


@given(st.text(), st.text())
def test_a_whole_costs_no_more_than_its_parts(before: str, after: str) -> None:
    """Parts that begin with a blank or a line break can be counted alone."""
    for separator in (" ", "\n", "; "):
        assert cost(before + separator + after) <= cost(before) + cost(separator + after) + 1e-6


@given(st.text())
def test_bytes_are_a_lower_bound(text: str) -> None:
    """No text counts less than its bytes by the fewest bytes that a token has on average."""
    assert count_tokens(text) >= len(text.encode()) / BYTES_PER_TOKEN


@pytest.mark.parametrize("word", sorted(ONE_TOKEN))
def test_known_words_are_one_token(word: str) -> None:
    """With the sign before it such a word costs one."""
    assert cost(f".{word}") == 1.0


@pytest.mark.parametrize("run", ["a" * 65, "7" * 65, "户" * 65, "-" * 65])
def test_long_runs_are_not_kept(run: str) -> None:
    """The costs of short runs are kept, because they repeat; documents may have any number of long ones."""
    tokens._kept_run_cost.cache_clear()
    assert cost(run) >= cost(run[:64]) > 0
    assert cost(f"{run} ab") > cost(run)
    assert tokens._kept_run_cost.cache_info().currsize <= 3
