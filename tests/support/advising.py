"""Helpers for tests of advice."""

from collections.abc import Iterable

from esassistant.advice import Advice, NotEnoughData, Recommendation


def recommendations(found: Iterable[Advice]) -> list[Recommendation]:
    return [advice for advice in found if isinstance(advice, Recommendation)]


def not_enough(found: Iterable[Advice]) -> list[NotEnoughData]:
    return [advice for advice in found if isinstance(advice, NotEnoughData)]


def only(found: Iterable[Advice], metric: str) -> Recommendation:
    """Return the one recommendation about `metric`. Check that it is complete: beyond its threshold, with samples, and
    in sentences.
    """
    [advice] = [advice for advice in recommendations(found) if advice.metric == metric]
    assert advice.value > advice.threshold
    assert advice.sample_size > 0
    assert advice.samples
    assert advice.why[0].isupper()
    assert advice.why[-1] == "."
    return advice
