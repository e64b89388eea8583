"""Logistic regression that learns from one example after the other, with AdaGrad (Duchi, Hazan and Singer, 2011): each
weight has its own step size, which shrinks with what the weight has learnt already. Pure.
"""

import math
from collections.abc import Sequence

STEP = 0.3
FIRST_SQUARES = 1.0
"""The sum of squares of each weight before the first example. Without it the first steps would have the full length,
whatever the example is.
"""
MAX_WEIGHT = 20.0


def probability(weights: Sequence[float], features: Sequence[float]) -> float:
    """Return the probability that the family is asked for, from 0 to 1. Both arguments have the same length."""
    score = sum(weight * feature for weight, feature in zip(weights, features, strict=True))
    if score >= 0:
        return 1.0 / (1.0 + math.exp(-min(score, 40.0)))
    odds = math.exp(max(score, -40.0))
    return odds / (1.0 + odds)


def learn(weights: list[float], squares: list[float], features: Sequence[float], outcome: bool) -> float:
    """Change the weights by one example, and return the probability that they gave before.

    Args:
        weights: One for each feature. Changed in place.
        squares: For each weight, the sum of the squares of its gradients so far. Changed in place.
        features: What was known at the beginning.
        outcome: Whether the family was asked for.
    """
    expected = probability(weights, features)
    error = expected - outcome
    for place, feature in enumerate(features):
        slope = error * feature
        squares[place] += slope * slope
        weight = weights[place] - STEP * slope / math.sqrt(squares[place])
        weights[place] = max(-MAX_WEIGHT, min(MAX_WEIGHT, weight))
    return expected
