"""What warming ahead saves, by policy: `python -m bench.predict [--seeds N] [--only SHAPE …] [--trace FILE]`.

Traces of six shapes, 20 of each with different seeds, are replayed under each policy: never, always, last-asked (the
rule), EWMA, seasonal, Markov, the model of this project, and an oracle. A trace is 14 days long. No cluster is asked;
calls are only counted. Values stay warm for six hours, the budget is six calls a minute, and half of the families cost
two calls.

Parameters are chosen on days 1 to 7, of which the first two are for learning only. Days 8 to 14 are judged:
  last-asked  the T with the fewest calls, where each ask that finds cold values counts as five
  all others  the fewest calls at a coverage no lower than that of the best T; where none reaches it, the best coverage

The model becomes the default only if it saves at least 15 % of the calls of the best rule on every shape, at a coverage
that is at most 1 % lower. (Both are the lower bounds of 95 % intervals, by a paired bootstrap over seeds.) "The best
rule" is last-asked with its best T. "As shipped" means MAPPING_CACHE_PREDICT=rule and model with the service's own
settings.

With --trace, a trace of your own takes the place of the made-up ones. A line has
  {formats};
or it is one of the access log of this project (ESASSISTANT_ACCESS_LOG), as JSON. Parameters are chosen on the first
half, and the second half is judged. The intervals are those of a bootstrap over names.
"""

import argparse
import random
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.command import Started, exit_code_of, parser, save
from bench.report.lines import Goal, Line, print_lines
from bench.subjects.policies import POLICIES, RULES, Choice
from bench.subjects.traces import DAY, DAYS, FORMATS, SHAPES, BadTrace, Trace, made, read
from bench.subjects.warming import Outcome, quantile, replayed
from cacheapp.demand.policy import LEAST_CHANCE, RULE_SECONDS
from esassistant.units import as_duration

SEEDS = 20
TAUGHT_DAYS, CHOSEN_DAYS = 2, 7
COLD_ASK_CALLS = 5
"""An ask that finds cold values counts as this many calls when the best T is chosen."""
SHIPPED = {"rule as shipped": "last-asked", "model as shipped": "model"}
"""`MAPPING_CACHE_PREDICT=rule` and `model` with the service's own settings: a T of 24 h, and a chance of 20 % for each
call. (20 % is 1 in `COLD_ASK_CALLS`.)
"""
RESAMPLES = 2_000
LEAST_SAVED, MOST_LOST = 15.0, 1.0
"""To become the default, the model has to save at least `LEAST_SAVED` percent of the calls, and may lose at most
`MOST_LOST` percent of the coverage.
"""
HEAD = (
    "policy",
    "setting",
    "asks that were warm:",
    "calls a day:",
    "of them in vain:",
    "precision:",
    "in time:",
    "wait, p95:",
)


@dataclass(frozen=True)
class Judged:
    """The result of one policy on one trace, with the setting that was chosen for it."""

    policy: str
    setting: str
    outcome: Outcome
    days: float

    @property
    def calls_a_day(self) -> float:
        return self.outcome.calls / self.days

    @property
    def in_vain_a_day(self) -> float:
        return self.outcome.in_vain_calls / self.days


def judge(trace: Trace, chosen_until: float, counted_from: float) -> list[Judged]:
    """Choose the setting of each policy on the first part of a trace, and judge it on the rest."""
    choices = {policy: make(trace) for policy, make in POLICIES.items()}
    tried = {
        policy: [
            (choice, replayed(trace, choice.scores, choice.threshold, counted_from=counted_from, end=chosen_until))
            for choice in some
        ]
        for policy, some in choices.items()
        if len(some) > 1
    }
    best_rule, reference = min(tried["last-asked"], key=lambda one: _cost(one[1]))
    judged = []
    for policy, some in choices.items():
        choice = some[0]
        if policy == "last-asked":
            choice = best_rule
        elif policy in tried:
            choice = _cheapest(tried[policy], reference.coverage)
        outcome = replayed(trace, choice.scores, choice.threshold, counted_from=chosen_until, end=trace.end)
        judged.append(Judged(policy, choice.setting, outcome, (trace.end - chosen_until) / DAY))
    return [*judged, *judge_shipped(trace, chosen_until, {policy: choices[policy] for policy in SHIPPED.values()})]


def judge_shipped(trace: Trace, counted_from: float, choices: Mapping[str, Sequence[Choice]]) -> list[Judged]:
    """Judge the rule and the model with the service's own settings, whatever was chosen."""
    thresholds = {"last-asked": -RULE_SECONDS, "model": LEAST_CHANCE}
    judged = []
    for name, policy in SHIPPED.items():
        choice = next(one for one in choices[policy] if one.threshold == thresholds[policy])
        outcome = replayed(trace, choice.scores, choice.threshold, counted_from=counted_from, end=trace.end)
        judged.append(Judged(name, choice.setting, outcome, (trace.end - counted_from) / DAY))
    return judged


def _cost(outcome: Outcome) -> float:
    return outcome.calls + COLD_ASK_CALLS * (outcome.asks - outcome.warm)


def _cheapest(tried: Sequence[tuple[Choice, Outcome]], coverage: float) -> Choice:
    enough = [one for one in tried if one[1].coverage >= coverage]
    if enough:
        return min(enough, key=lambda one: one[1].calls)[0]
    return max(tried, key=lambda one: (one[1].coverage, -one[1].calls))[0]


def judge_seed(shape: str, seed: int) -> list[Judged]:
    """Judge the policies on one made-up trace."""
    trace = made(shape, seed)
    return judge(trace, trace.start + CHOSEN_DAYS * DAY, trace.start + TAUGHT_DAYS * DAY)


Statistic = Callable[[Sequence[int]], float | None]
Estimate = tuple[float | None, float | None, float | None]
"""A value, and the bounds of its 95 % interval; None: unknown."""


def interval(count: int, statistic: Statistic) -> Estimate:
    """Return a statistic of all samples, with the bounds of its 95 % interval by a bootstrap (Efron, 1979)."""
    rng = random.Random(1)
    found = [statistic(rng.choices(range(count), k=count)) for _ in range(RESAMPLES if count > 1 else 0)]
    known = sorted(value for value in found if value is not None)
    if not known:
        return statistic(range(count)), None, None
    return statistic(range(count)), known[int(0.025 * len(known))], known[min(len(known) - 1, int(0.975 * len(known)))]


def _mean_of(values: Sequence[float | None]) -> Statistic:
    """Return the mean of those samples that have a value."""

    def mean(chosen: Sequence[int]) -> float | None:
        known = [value for place in chosen if (value := values[place]) is not None]
        return statistics.fmean(known) if known else None

    return mean


@dataclass(frozen=True)
class Comparison:
    """The model compared with a rule, in percent of calls and of asks, each with its interval."""

    saved: Estimate
    coverage: Estimate

    @property
    def is_enough(self) -> bool:
        """Whether the lower bounds reach what is demanded."""
        (_, saved, _), (_, coverage, _) = self.saved, self.coverage
        return saved is not None and coverage is not None and saved >= LEAST_SAVED and coverage >= -MOST_LOST


def compare(rule: Sequence[Judged], model: Sequence[Judged]) -> Comparison:
    """Compare the model with a rule by the mean difference of all seeds. Both have the same seeds, in order."""
    saved = [
        100 * (1 - ours.outcome.calls / theirs.outcome.calls) if theirs.outcome.calls else 0.0
        for theirs, ours in zip(rule, model, strict=True)
    ]
    coverage = [
        100 * (ours.outcome.coverage - theirs.outcome.coverage) for theirs, ours in zip(rule, model, strict=True)
    ]
    return Comparison(interval(len(saved), _mean_of(saved)), interval(len(coverage), _mean_of(coverage)))


def table_of(title: str, judged: dict[str, list[Judged]]) -> dict[str, Any]:
    """Return the table of one shape of traffic: a row for each policy, with the means over all seeds, and their 95 %
    intervals.
    """
    rows = []
    for policy, some in judged.items():
        outcomes = [one.outcome for one in some]
        count = len(some)
        settings = sorted({one.setting for one in some})
        usual = statistics.mode(one.setting for one in some)
        rows.append(
            [
                policy,
                usual if len(settings) == 1 else f"{usual} ({sum(one.setting == usual for one in some)} of {count})",
                _shown(interval(count, _mean_of([100 * one.coverage for one in outcomes])), "%"),
                _shown(interval(count, _mean_of([one.calls_a_day for one in some]))),
                _shown(interval(count, _mean_of([one.in_vain_a_day for one in some]))),
                _shown(interval(count, _mean_of([_percent(one.precision) for one in outcomes])), "%"),
                _shown(interval(count, _mean_of([_percent(one.timeliness) for one in outcomes])), "%"),
                _seconds([quantile(one.waits, 0.95) for one in outcomes]),
            ]
        )
    return {"title": title, "head": list(HEAD), "rows": rows}


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _shown(found: Estimate, unit: str = "") -> str:
    value, low, high = found
    if value is None:
        return "-"
    shown = f"{value:.1f}{' ' + unit if unit else ''}"
    return shown if low is None or high is None or low == high else f"{shown} ({low:.1f} … {high:.1f})"


def _seconds(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return as_duration(statistics.fmean(known)) if known else "-"


def lines_of(found: dict[str, dict[str, list[Judged]]]) -> list[Line]:
    """Return the lines: for each shape what the decision needs; and the means over all shapes, for the charts."""
    lines = []
    saved_goal, lost_goal = Goal(at_least=LEAST_SAVED, judged=False), Goal(at_least=-MOST_LOST, judged=False)
    for shape, judged in found.items():
        for rule in RULES:
            comparison = compare(judged[rule], judged["model"])
            is_the_rule, seeds = rule == "last-asked", len(judged[rule])
            for what, said, goal in (
                ("calls saved", comparison.saved, saved_goal),
                ("coverage, difference", comparison.coverage, lost_goal),
            ):
                metric = f"{shape}: model against {rule}: {what}"
                note = f"95 %: {_bound(said[1])} … {_bound(said[2])}"
                lines.append(Line(metric, [said[0]], "%", seeds, goal if is_the_rule else None, note))
    for policy in (*POLICIES, *SHIPPED):
        some = [one for judged in found.values() for one in judged[policy]]
        mean_coverage = statistics.fmean(100 * one.outcome.coverage for one in some)
        asks = sum(one.outcome.asks for one in some)
        lines.append(Line(f"{policy}: asks that found warm values", [mean_coverage], "%", asks))
        lines.append(Line(f"{policy}: calls a day", [statistics.fmean(one.calls_a_day for one in some)], "", len(some)))
    return lines


def _bound(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def decision_of(found: dict[str, dict[str, list[Judged]]]) -> str:
    """Say in one sentence what the figures decide."""
    failed = [shape for shape, judged in found.items() if not compare(judged["last-asked"], judged["model"]).is_enough]
    if not failed:
        return f"The model saves enough on each of {len(found)} shapes: by its rule the default is the model."
    return (
        f"The model doesn't save at least {LEAST_SAVED:g} % of the calls at no more than {MOST_LOST:g} % less "
        f"coverage, for certain, on {len(failed)} of {len(found)} shapes ({', '.join(failed)}): "
        "by its rule the default is the rule."
    )


def main() -> int:
    arguments = parser("predict", (__doc__ or "").format(formats=FORMATS))
    arguments.add_argument("--seeds", type=int, default=SEEDS, help="of each shape (default: %(default)s)")
    arguments.add_argument(
        "--only", nargs="+", choices=tuple(SHAPES), default=tuple(SHAPES), help="default: all shapes"
    )
    arguments.add_argument("--trace", type=Path, metavar="FILE", help="replay this, and no made-up traces")
    options = arguments.parse_args()
    if options.seeds < 1:
        arguments.error("--seeds has to be at least 1")
    if options.trace is not None:
        return _replay_file(options.trace)
    return exit_code_of(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    started = Started()
    found: dict[str, dict[str, list[Judged]]] = {}
    for shape in options.only:
        seeds = []
        for seed in range(options.seeds):
            print(f"{shape}: seed {seed + 1} of {options.seeds}", file=sys.stderr, flush=True)
            seeds.append(judge_seed(shape, seed))
        found[shape] = {judged.policy: [one[place] for one in seeds] for place, judged in enumerate(seeds[0])}
    tables = [table_of(shape[:1].upper() + shape[1:], judged) for shape, judged in found.items()]
    for table in tables:
        _print_table(table)
    lines = lines_of(found)
    print_lines(lines)
    decision = decision_of(found)
    print(f"\n{decision}")
    save(
        options.json,
        **started.facts(),
        seeds=options.seeds,
        days=DAYS,
        decision=decision,
        tables=tables,
        lines=lines,
    )


def _replay_file(path: Path) -> int:
    """Judge the policies on a trace from a file."""
    try:
        with path.open(encoding="utf-8") as file:
            trace = read(file)
    except (OSError, UnicodeDecodeError) as error:
        print(f"{path} can't be read: {error}", file=sys.stderr)
        return 2
    except BadTrace as error:
        print(f"{path}, {error}", file=sys.stderr)
        return 2
    length = trace.end - trace.start
    print(f"{len(trace.asks)} asks for {len(trace.names)} names over {as_duration(length)}")
    for remark in trace.remarks:
        print(remark)
    if length < DAYS * DAY:
        print(f"Less than {DAYS} days: what comes by day or by week can hardly be learnt from it.")
    half = trace.start + length / 2
    judged = judge(trace, half, trace.start + min(TAUGHT_DAYS * DAY, length / 7))
    _print_table(table_of(f"{path.name}, second half", {one.policy: [one] for one in judged}))
    by_policy = {one.policy: one.outcome for one in judged}
    ours = by_policy["model"]
    print("\nThe model against each rule, with 95 % intervals by a bootstrap over names:")
    for rule in RULES:
        saved, coverage = _by_names(by_policy[rule], ours)
        print(f"  {rule}: calls saved {_shown(saved, '%')}, coverage {_shown(coverage, '% points')}")
    enough = Comparison(*_by_names(by_policy["last-asked"], ours)).is_enough
    print(f"On this trace the {'model' if enough else 'rule'} would be the default.")
    return 0


def _by_names(rule: Outcome, model: Outcome) -> tuple[Estimate, Estimate]:
    """Return the calls saved and the difference of coverage, in percent, with intervals over names."""

    def saved(chosen: Sequence[int]) -> float | None:
        theirs = sum(rule.family_calls[number] for number in chosen)
        return 100 * (1 - sum(model.family_calls[number] for number in chosen) / theirs) if theirs else None

    def coverage(chosen: Sequence[int]) -> float | None:
        asks = sum(rule.family_asks[number] for number in chosen)
        more = sum(model.family_warm[number] - rule.family_warm[number] for number in chosen)
        return 100 * more / asks if asks else None

    count = len(rule.family_calls)
    return interval(count, saved), interval(count, coverage)


def _print_table(table: dict[str, Any]) -> None:
    head, rows = table["head"], table["rows"]
    printed = [[title.removesuffix(":") for title in head], *rows]
    widths = [max(map(len, column)) for column in zip(*printed, strict=True)]
    print(f"\n{table['title']}")
    for row in printed:
        cells = zip(row, head, widths, strict=True)
        print(
            "  ".join(f"{cell:{'>' if title.endswith(':') else '<'}{width}}" for cell, title, width in cells).rstrip()
        )


if __name__ == "__main__":
    sys.exit(main())
