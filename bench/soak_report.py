"""What a soak prints at its end."""

from collections import Counter

from bench.soak_resources import Trend
from bench.soak_result import Result

SHOWN = 5
"""Examples of each kind of violation."""
UNITS = {"rss_bytes": (1e6, "MB")}


def print_result(result: Result) -> None:
    tally = result.tally
    print("\nanswers compared with the truth")
    for (asked, state, source), count in sorted(tally.checked.items()):
        print(f"  {asked:<24} {state:<8} {source:<14} {count:>8}")
    print(f"  together {tally.checked.total()}, wrong {tally.wrong.total}")
    over = tally.outlived_seconds()
    print(
        f"  mappings that were answered although they were over: {over['share']:.2%}, "
        f"p50 {over['p50']:.2f} s, longest {over['longest']:.1f} s; p99 of all {over['p99']:.2f} s"
    )
    print("\nstatuses")
    kinds = sorted({asked for asked, _ in tally.statuses})
    for kind in kinds:
        found = {how: count for (asked, how), count in sorted(tally.statuses.items()) if asked == kind}
        print(f"  {kind:<16} {', '.join(f'{how}: {count}' for how, count in found.items())}")
    print("\nfaults")
    for what, count in sorted(result.happened.items()):
        print(f"  {count:>4} x {what}")
    print(f"changes: {', '.join(f'{what} {count}' for what, count in sorted(result.changes.items()))}")
    print(f"settled within {result.settled_seconds:.1f} s; log lines: {dict(Counter(result.log_levels))}")
    samples = [sample for life in result.lives.values() for sample in life]
    most = max(samples, key=lambda sample: sample.body_bytes)
    evictions = sum(life[-1].evictions for life in result.lives.values() if life)
    print(
        f"caches: at most {max(one.indices for one in samples)} indices, {most.body_bytes} bytes; {evictions} evictions"
    )
    _print_trends(result)
    _print_violations(result)


def _print_trends(result: Result) -> None:
    print(
        f"\n{'instance/start':<16}{'measure':<18}{'mean':>9}{'slope/h':>10}{'grew':>8}{'allowed':>9}{'quarters':>9}{'over':>7}"
    )
    for (number, start), trends in sorted(result.trends.items()):
        for one in trends:
            print(f"{f'{number}/{start}':<16}{_trend(one)}")


def _trend(one: Trend) -> str:
    factor, unit = UNITS.get(one.measure, (1.0, ""))
    verdict = "flat" if one.is_flat else "NOT FLAT"
    if not one.is_judged:
        verdict = "too short to judge"
    quarters = "" if one.quarters is None else f"{one.quarters:.2f}"
    return (
        f"{one.measure:<18}{one.mean / factor:>9.1f}{one.slope_per_hour / factor:>10.1f}{one.grew / factor:>8.2f}"
        f"{one.allowed / factor:>9.2f}{quarters:>9}{one.seconds:>6.0f}s  {unit:<3}{verdict}"
    )


def _print_violations(result: Result) -> None:
    found = {"wrong answers": result.tally.wrong, **result.tally.violations}
    for kind, each in found.items():
        if each.total:
            print(f"\n{kind}: {each.total}")
            for example in each.examples[:SHOWN]:
                print(f"  {example}")
    print(f"\n{'FAILED' if result.failed else 'passed'}: seed {result.options.seed}")
