"""What bench.predict chooses and decides, and what it says of traces from files."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import predict
from bench.predict import COLD_ASK_CALLS, SHIPPED, Comparison, Judged, compare, decision_of, interval, judge, table_of
from bench.subjects.policies import POLICIES
from bench.subjects.traces import DAY, HOUR, START, made
from bench.subjects.warming import Outcome


def judged(policy: str, calls: int, warm: int, asks: int = 1_000) -> Judged:
    return Judged(policy, "", Outcome(asks=asks, warm=warm, calls=calls), 7)


@pytest.mark.parametrize(
    ("calls", "warm", "expected"),
    [(80, 950, True), (86, 950, False), (80, 941, True), (80, 939, False), (120, 999, False)],
)
def test_the_decision(calls: int, warm: int, expected: bool) -> None:
    """At least 15 % of the calls saved, at most 1 % of the coverage lost; on each shape."""
    rule = [judged("last-asked", 100, 950)] * 5
    model = [judged("model", calls, warm)] * 5
    comparison = compare(rule, model)
    assert comparison.is_enough is expected
    good = {"last-asked": rule, "model": [judged("model", 50, 950)] * 5}
    said = decision_of({"a": good, "b": {"last-asked": rule, "model": model}})
    assert said.endswith("the default is the model." if expected else "the default is the rule.")
    assert ("(b)" in said) is not expected


def test_the_lower_bound_counts() -> None:
    """A mean of 20 % that hangs on few seeds isn't enough."""
    rule = [judged("last-asked", 100, 950)] * 10
    model = [judged("model", calls, 950) for calls in (20, 60, 95, 95, 95, 95, 95, 95, 95, 60)]
    comparison = compare(rule, model)
    assert comparison.saved[0] is not None
    assert comparison.saved[1] is not None
    assert comparison.saved[0] > 15 > comparison.saved[1]
    assert not comparison.is_enough
    assert not Comparison((20.0, None, None), (0.0, None, None)).is_enough


def test_intervals() -> None:
    """Around the value, the same each time; of one sample there is none, of nothing no value."""
    values = [1.0, 2.0, 3.0, 4.0, 5.0]

    def mean(chosen: Sequence[int]) -> float | None:
        return sum(values[place] for place in chosen) / len(chosen)

    value, low, high = interval(5, mean)
    assert low is not None
    assert high is not None
    assert (value, low < 3 < high, interval(5, mean)) == (3.0, True, (value, low, high))
    assert interval(1, mean) == (1.0, None, None)
    assert interval(0, lambda _: None) == (None, None, None)


def test_what_is_chosen_on_the_first_days() -> None:
    """Each policy once; T is the cheapest with its cold asks, all others lose no coverage against it there."""
    trace = made("office hours", 5)
    chosen = judge(trace, START + 7 * DAY, START + 2 * DAY)
    assert [one.policy for one in chosen] == [*POLICIES, *SHIPPED]
    assert [one.setting for one in chosen[-2:]] == ["T = 24 h", "from 20% a call"]
    assert all(one.outcome.asks == chosen[0].outcome.asks for one in chosen)
    by_policy = {one.policy: one.outcome for one in chosen}
    assert by_policy["never"].coverage < by_policy["last-asked"].coverage < by_policy["oracle"].coverage
    assert by_policy["always"].calls > by_policy["last-asked"].calls > by_policy["never"].calls * 0.9
    assert COLD_ASK_CALLS > 1


def test_a_table_has_all_policies() -> None:
    """A row for each, with intervals where there are several seeds; what there is not is a dash."""
    some = {policy: [judged(policy, 10, 900), judged(policy, 12, 800)] for policy in POLICIES}
    found = table_of("Title", some)
    assert [row[0] for row in found["rows"]] == list(POLICIES)
    assert found["rows"][0][2] == "85.0 % (80.0 … 90.0)"
    assert found["rows"][0][5:] == ["-", "-", "-"]
    assert all(len(row) == len(found["head"]) for row in found["rows"])


def replay_file(monkeypatch: pytest.MonkeyPatch, path: Path) -> int:
    monkeypatch.setattr(sys, "argv", ["predict", "--trace", str(path)])
    return predict.main()


def test_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every policy on it, the model against each rule, and that it is short."""
    path = tmp_path / "trace.csv"
    path.write_text("".join(f"{START + hour * HOUR + 60},name-{hour % 3},person\n" for hour in range(24 * 6)))
    assert replay_file(monkeypatch, path) == 0
    said = capsys.readouterr().out
    assert said.startswith("144 asks for 3 names over 5 d 23 h")
    assert "Less than 14 days" in said
    assert all(policy in said for policy in POLICIES)
    assert "last-asked: calls saved" in said
    assert said.rstrip().endswith("would be the default.")


def test_a_file_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which line, and why; or that there is no such file. No traceback."""
    path = tmp_path / "trace.csv"
    path.write_text("2026-11-02T09:00:00Z,a,person\ntomorrow,b,person\n")
    assert replay_file(monkeypatch, path) == 2
    assert "trace.csv, line 2: 'tomorrow' is no time." in capsys.readouterr().err
    path.write_bytes(b"\xff\xfe")
    assert replay_file(monkeypatch, path) == 2
    assert replay_file(monkeypatch, tmp_path / "absent") == 2
    assert capsys.readouterr().err.count("can't be read") == 2
