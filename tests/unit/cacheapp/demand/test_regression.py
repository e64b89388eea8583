"""Logistic regression with AdaGrad: it learns what is there to learn, and stays within bounds."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.demand.regression import FIRST_SQUARES, MAX_WEIGHT, learn, probability


@pytest.mark.parametrize(
    ("weights", "features", "expected"),
    [([0.0], [1.0], 0.5), ([2.0], [1.0], 0.8808), ([-2.0], [1.0], 0.1192), ([1e9], [1e9], 1.0), ([-1e9], [1e9], 0.0)],
)
def test_probability(weights: list[float], features: list[float], expected: float) -> None:
    """The logistic function of the score, which can't overflow."""
    assert probability(weights, features) == pytest.approx(expected, abs=1e-4)


def test_it_learns() -> None:
    """Of two features one decides: after some hundred examples it is near to what is true."""
    rng = random.Random(1)
    weights, squares = [0.0, 0.0, 0.0], [FIRST_SQUARES] * 3
    for _ in range(2_000):
        decides, noise = rng.random(), rng.random()
        learn(weights, squares, [1.0, decides, noise], rng.random() < (0.9 if decides > 0.5 else 0.1))
    assert probability(weights, [1.0, 0.9, 0.5]) > 0.8
    assert probability(weights, [1.0, 0.1, 0.5]) < 0.2
    assert abs(weights[2]) < abs(weights[1]) / 4


@given(
    st.lists(st.tuples(st.lists(st.floats(-100, 100), min_size=2, max_size=2), st.booleans()), min_size=1, max_size=50)
)
def test_weights_stay_bounded(examples: list[tuple[list[float], bool]]) -> None:
    """Whatever it is shown; and what it expected is a probability."""
    weights, squares = [0.0, 0.0], [FIRST_SQUARES] * 2
    for features, outcome in examples:
        assert 0 <= learn(weights, squares, features, outcome) <= 1
    assert all(abs(weight) <= MAX_WEIGHT for weight in weights)
    assert all(square >= FIRST_SQUARES for square in squares)
