"""Logistic regression that learns from one example after the other, with AdaGrad (Duchi, Hazan and Singer, 2011): each
weight has a step of its own, which shrinks with what it has learnt already. Pure.
"""

import math
from collections.abc import Sequence

STEP = 0.3
FIRST_SQUARES = 1.0
"""Added up before the first example: without it the first steps would have the full length each, whatever is seen."""
MAX_WEIGHT = 20.0


def probability(weights: Sequence[float], features: Sequence[float]) -> float:
    """Return how likely it is, from 0 to 1; both have the same length."""
    score = sum(weight * feature for weight, feature in zip(weights, features, strict=True))
    if score >= 0:
        return 1.0 / (1.0 + math.exp(-min(score, 40.0)))
    odds = math.exp(max(score, -40.0))
    return odds / (1.0 + odds)


def learn(weights: list[float], squares: list[float], features: Sequence[float], outcome: bool) -> float:
    """Change weights by one example, and return how likely its outcome was thought to be before.

    Args:
        weights: One for each feature.
        squares: Of each weight, the sum of the squares of its slopes so far.
        features: What was known.
        outcome: What came of it.
    """
    expected = probability(weights, features)
    error = expected - outcome
    for place, feature in enumerate(features):
        slope = error * feature
        squares[place] += slope * slope
        weight = weights[place] - STEP * slope / math.sqrt(squares[place])
        weights[place] = max(-MAX_WEIGHT, min(MAX_WEIGHT, weight))
    return expected
