"""The options and the result of a soak, and how they are printed. The result of a long soak is also written to
docs/soak.md.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bench.soak.plan import Fault
from bench.soak.resources import Sample, Trend
from bench.soak.tally import Tally

SHOWN = 5
"""How many examples of each kind of violation are shown."""
UNITS = {"rss_bytes": (1e6, "MB")}
DOCUMENT = """# A soak

This is what `make soak` found on {at:%Y-%m-%d}, in {minutes:g} minutes. It runs:

- {instances} instances of one deployment, over a real Elasticsearch of {nodes} node{s} and a real Redis, with a proxy
  in front of each, and with caches that are too small for all mappings;
- a writer, which changes the cluster all the time;
- users, who ask all instances for everything: with a token for all names, with a token for some, and without a token;
- all kinds of faults, which come and go, some of them at a single node.

`make soak` writes this page if it ran for at least {least:g} minutes.

Each answer is compared with what was true at the age that it states. An answer says itself whether it is `fresh` or
`stale`, and where it came from: `memory`, `store` or `elasticsearch`. A mapping is *over* from the moment at which the
writer's change of it was acknowledged. *validate* says whether a field is known, *values* what documents hold. *in
scope* and *out of scope* are mappings for a token that sees only the indices that never change.

The last table says how much each process used in the second half of its life: the *mean*; the *slope* of the line that
fits best, by hour; how much that line *grew*, and how much was *allowed*; the mean of the last quarter of its life
divided by that of the second (*quarters*); and the time that was judged (*over*).

```
{lines}
```
"""


@dataclass(frozen=True)
class Options:
    """The options of a soak. `pause_seconds`: how long a user waits between two requests, on average."""

    seconds: float
    instances: int
    users: int
    seed: int
    pause_seconds: float = 0.02
    nodes: int = 1


@dataclass(frozen=True)
class Result:
    """The result of a soak. `lives`: the samples of each instance, by its number and start."""

    options: Options
    plan: tuple[Fault, ...]
    happened: Mapping[str, int]
    changes: Mapping[str, int]
    tally: Tally
    lives: Mapping[tuple[int, int], Sequence[Sample]]
    trends: Mapping[tuple[int, int], Sequence[Trend]]
    settled_seconds: float
    log_levels: Mapping[str, int]

    @property
    def failed(self) -> bool:
        return self.tally.failed

    def as_json(self) -> dict[str, Any]:
        return {
            "options": dataclasses.asdict(self.options),
            "failed": self.failed,
            "plan": [dataclasses.asdict(fault) for fault in self.plan],
            "faults": dict(self.happened),
            "changes": dict(self.changes),
            **self.tally.as_json(),
            "settled_seconds": self.settled_seconds,
            "log_levels": dict(self.log_levels),
            "trends": {
                _life(life): [dataclasses.asdict(one) for one in trends] for life, trends in self.trends.items()
            },
            "samples": {_life(life): [dataclasses.asdict(one) for one in some] for life, some in self.lives.items()},
        }


def _life(life: tuple[int, int]) -> str:
    return f"{life[0]}/{life[1]}"


def document(result: Result, at: datetime, least_minutes: float) -> str:
    """Return the text of docs/soak.md."""
    minutes, lines = result.options.seconds / 60, "\n".join(lines_of(result)).strip("\n")
    options = result.options
    return DOCUMENT.format(
        at=at,
        minutes=minutes,
        instances=options.instances,
        nodes=options.nodes,
        s="" if options.nodes == 1 else "s",
        least=least_minutes,
        lines=lines,
    )


def lines_of(result: Result) -> Iterator[str]:
    """Yield the lines of the report. A blank line is part of the line after it."""
    tally = result.tally
    yield "\nanswers compared with the truth"
    for (asked, state, source), count in sorted(tally.checked.items()):
        yield f"  {asked:<24} {state:<8} {source:<14} {count:>8}"
    yield f"  together {tally.checked.total()}, wrong {tally.wrong.total}"
    over = tally.outlived_seconds()
    yield (
        f"  mappings that were answered although they were over: {over['share']:.2%}, "
        f"p50 {over['p50']:.2f} s, longest {over['longest']:.1f} s; p99 of all {over['p99']:.2f} s"
    )
    yield "\nstatuses"
    kinds = sorted({asked for asked, _ in tally.statuses})
    for kind in kinds:
        found = {how: count for (asked, how), count in sorted(tally.statuses.items()) if asked == kind}
        yield f"  {kind:<16} {', '.join(f'{how}: {count}' for how, count in found.items())}"
    yield "\nfaults"
    for what, count in sorted(result.happened.items()):
        yield f"  {count:>4} x {what}"
    yield f"changes: {', '.join(f'{what} {count}' for what, count in sorted(result.changes.items()))}"
    yield f"settled within {result.settled_seconds:.1f} s; log lines: {dict(Counter(result.log_levels))}"
    samples = [sample for life in result.lives.values() for sample in life]
    most = max(samples, key=lambda sample: sample.body_bytes)
    evictions = sum(life[-1].evictions for life in result.lives.values() if life)
    yield (
        f"caches: at most {max(one.indices for one in samples)} indices, {most.body_bytes} bytes; {evictions} evictions"
    )
    yield from _trend_lines(result)
    yield from _violation_lines(result)


def _trend_lines(result: Result) -> Iterator[str]:
    yield (
        f"\n{'instance/start':<16}{'measure':<18}{'mean':>9}{'slope/h':>10}"
        f"{'grew':>8}{'allowed':>9}{'quarters':>9}{'over':>7}"
    )
    for (number, start), trends in sorted(result.trends.items()):
        for one in trends:
            yield f"{f'{number}/{start}':<16}{_trend(one)}"


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


def _violation_lines(result: Result) -> Iterator[str]:
    found = {"wrong answers": result.tally.wrong, **result.tally.violations}
    for kind, each in found.items():
        if each.total:
            yield f"\n{kind}: {each.total}"
            for example in each.examples[:SHOWN]:
                yield f"  {example}"
    yield f"\n{'FAILED' if result.failed else 'passed'}: seed {result.options.seed}"
