"""What is gathered ahead: each mode, each case of the decision, and the order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.demand.policy import LEAST_CHANCE, RULE_SECONDS, WARM_SECONDS, Known, Why, choose, why_gather
from esassistant.config.model import Predict

OFF, RULE, MODEL = Predict.OFF, Predict.RULE, Predict.MODEL
COLD = WARM_SECONDS + 1_000


@pytest.mark.parametrize(
    ("mode", "known", "expected"),
    [
        (MODEL, Known(0, WARM_SECONDS - 1, 1, 1.0), None),
        (OFF, Known(999, COLD), Why.ASKED),
        (OFF, Known(1_001, COLD), None),
        (OFF, Known(RULE_SECONDS, None), Why.ASKED),
        (OFF, Known(RULE_SECONDS + 1, None), None),
        (RULE, Known(1_001, COLD), Why.RULE),
        (RULE, Known(RULE_SECONDS + 1, COLD), None),
        (MODEL, Known(1_001, COLD, 1, LEAST_CHANCE), Why.MODEL),
        (MODEL, Known(1_001, COLD, 2, LEAST_CHANCE), None),
        (MODEL, Known(1_001, COLD, 2, 2 * LEAST_CHANCE), Why.MODEL),
        (MODEL, Known(1_001, COLD), None),
        (OFF, Known(1_001, COLD, 1, 1.0), None),
        (RULE, Known(RULE_SECONDS + 1, COLD, 1, 1.0), None),
    ],
)
def test_why(mode: Predict, known: Known, expected: Why | None) -> None:
    """Warm values are left alone; who asks for cold ones gets them in each mode; the rest is the mode's."""
    assert why_gather(mode, known) is expected


def test_order() -> None:
    """What was asked for comes first, unknown before cold, the newest ask first; then the likeliest for each call."""
    families = {
        "cold, asked": Known(10, COLD),
        "unknown, asked long ago": Known(500, None),
        "unknown, asked now": Known(1, None),
        "likely, but two calls": Known(2_000, COLD, 2, 0.9),
        "likely": Known(2_000, COLD, 1, 0.5),
    }
    chosen = choose(MODEL, families, families.__getitem__, room_for_new=True)
    assert list(chosen) == [
        *("unknown, asked now", "unknown, asked long ago", "cold, asked"),
        *("likely", "likely, but two calls"),
    ]
    assert list(chosen.values()) == [Why.ASKED] * 3 + [Why.MODEL] * 2
    assert list(choose(OFF, families, families.__getitem__, room_for_new=False)) == ["cold, asked"]
    aged = {"older": Known(5_000, COLD + 2_000), "younger": Known(5_000, COLD)}
    assert list(choose(RULE, aged, aged.__getitem__, room_for_new=True)) == ["older", "younger"]


KNOWN = st.builds(
    Known,
    st.floats(0, 2 * RULE_SECONDS),
    st.none() | st.floats(0, 3 * WARM_SECONDS),
    st.sampled_from((1, 2)),
    st.none() | st.floats(0, 1),
)


@given(st.sampled_from(Predict), st.dictionaries(st.text(max_size=3), KNOWN, max_size=8), st.randoms())
def test_the_order_of_families_does_not_matter(mode: Predict, families: dict[str, Known], rng: object) -> None:
    """Whichever way they are listed, the same are chosen, in the same order."""
    names = list(families)
    shuffled = sorted(names, key=lambda _: rng.random())  # type: ignore[attr-defined]
    first = choose(mode, names, families.__getitem__, room_for_new=True)
    assert list(choose(mode, shuffled, families.__getitem__, room_for_new=True).items()) == list(first.items())
    assert all(families[name].age_seconds is None or families[name].age_seconds >= WARM_SECONDS for name in first)  # type: ignore[operator]
