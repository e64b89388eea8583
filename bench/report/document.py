"""Write docs/benchmarks.md, its images and the table in the README, from the JSON of a run. Pure.

Results are `{"quick", "started_at", "seconds", "machine": {…}, "benches": {name: what it saved}}`. A bench that is
missing is written as not measured.
"""

from collections.abc import Mapping
from typing import Any

from bench.report import charts
from bench.report.parts import HOW, INTRODUCTION, PARTS, QUICK, SEED_TEXT, Chart, Part
from bench.report.texts import (
    NO_BREAK,
    NOT_MEASURED,
    UNITS,
    duration,
    escape,
    finite,
    number,
    quantity,
    table,
    verdict,
    without_empty,
)

Json = Mapping[str, Any]
FACTS = (
    *("indices", "instances", "searches", "callers", "delay_ms", "connections", "per_second"),
    *("times", "beyond_connections", "seeds", "days", "subscribers"),
)
README_BEGIN, README_END = "<!-- made by make bench -->", "<!-- end of what make bench made -->"
GAIN_UNITS = {"x less": ("x", "less"), "x more": ("x", "more"), "points": ("points", ""), "% less": ("%", "less")}
TOLD = {
    "health ÷ bare": "Health: requests a second, against a bare ASGI function",
    "health ÷ fastapi": "Health: requests a second, against FastAPI",
    "fast lane ÷ django, stock middleware": "API view: requests a second, against plain Django",
    "full pass ÷ one GET": "Time of a full pass, against one GET of all mappings",
    "naive ÷ full pass": "Time of a pass index by index, five at once, against ours",
    "requests when nothing changed, most": "Requests of a pass when nothing changed",
    "change to answer, p95": "From a change in Elasticsearch to our answer, p95",
    "redis: spread, p99": "From the first of 4 instances to the last, over Redis, p99",
}
"""The figures that the README shows, with their names there."""


def document(results: Json) -> str:
    """Return the text of docs/benchmarks.md."""
    parts = [
        "# Benchmarks",
        INTRODUCTION,
        QUICK if results.get("quick") else "",
        _machine(results),
        HOW,
        _score(results),
        "## What the original claims, and what is measured",
        _seed(results),
        "## Goals",
        "Every figure that has a goal; the sections below have all others.",
        _goals(results),
    ]
    for part in PARTS:
        parts += _section(part, results)
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def images(results: Json) -> dict[str, str]:
    """Return SVG images by file name, without those that have nothing to show."""
    drawn = {}
    for part in PARTS:
        for chart in part.charts:
            image = _drawn(chart, _bench(results, part.bench))
            if image is not None:
                drawn[chart.file] = image
    return drawn


def readme_block(results: Json) -> str:
    """Return the table of the README, with the two comments around it."""
    claims = [
        [_told_metric(line), *_before_after(line), escape(line["goal"]), verdict(line["met"]), _samples(line)]
        for line in _pairs(results)
        if line["goal"]
    ]
    told = [
        [
            TOLD[metric],
            quantity(line["value"], line["unit"]),
            _goal(line),
            verdict(line["met"]),
            number(line["samples"]),
        ]
        for metric, line in _told_lines(results)
    ]
    ratios = table(["", "measured:", "goal", "", "samples:"], _or_none(told, 5))
    quick = "From a quick run, whose figures are rough; too rough for ratios to others, which `make bench` puts here."
    return "\n\n".join(
        [
            README_BEGIN,
            table(["", "before:", "now:", "claimed by the original", "", "samples"], _or_none(claims, 6)),
            quick if results.get("quick") else ratios,
            README_END,
        ]
    )


def with_readme_block(readme: str, block: str) -> str:
    """Return the README with another table. Raises `ValueError` if it has no place for one."""
    before, begin, rest = readme.partition(README_BEGIN)
    _, end, after = rest.partition(README_END)
    if not begin or not end:
        raise ValueError("the README has no place for the table of make bench")
    return before + block + after


def goals(results: Json) -> list[tuple[str, Json]]:
    """Return each line that has a goal, including the original's claims, with the command that measures it."""
    found = [("python -m bench.seed", line) for line in _pairs(results)]
    found += [(part.command, line) for part in PARTS for line in _lines(_bench(results, part.bench))]
    return [(command, line) for command, line in found if line["met"] is not None]


def _bench(results: Json, name: str) -> Json | None:
    found: Json | None = results.get("benches", {}).get(name)
    return found


def _pairs(results: Json) -> list[Json]:
    """Return the lines that have a value of before."""
    bench = _bench(results, "seed") or {}
    return [line for line in bench.get("lines", []) if "before" in line]


def _lines(bench: Json | None) -> list[Json]:
    """Return the other lines of a bench."""
    return [] if bench is None else [line for line in bench["lines"] if "before" not in line]


def _machine(results: Json) -> str:
    machine = results.get("machine", {})
    names = ("processors", "load before", "python", "elasticsearch", "load generator")
    rows = [[name, escape(machine.get(name) or NOT_MEASURED)] for name in names]
    rows += [
        ["date", escape(str(results.get("started_at", NOT_MEASURED))[:10])],
        ["took", duration(results.get("seconds"))],
    ]
    return table(["", ""], rows)


def _score(results: Json) -> str:
    found = [line for _, line in goals(results)]
    missed = [escape(line["metric"]) for line in found if not line["met"]]
    absent = [part.title for part in PARTS if _bench(results, part.bench) is None]
    said = f"{len(found) - len(missed)} of {len(found)} goals and claims are met."
    if missed:
        said += f" **MISSED**: {'; '.join(missed)}."
    if absent:
        said += f" Not measured: {'; '.join(absent)}."
    return said


def _seed(results: Json) -> str:
    bench = _bench(results, "seed")
    if bench is None:
        return "Not measured in this run."
    rows = [
        [
            escape(line["metric"]),
            *_before_after(line),
            _gain(line["before"]),
            escape(line["goal"]),
            verdict(line["met"]),
            _samples(line),
            escape(line["note"]),
        ]
        for line in _pairs(results)
    ]
    head = ["", "before:", "after:", "improvement:", "claimed", "", "samples, before / after", "note"]
    text = SEED_TEXT.format(indices=number(bench.get("indices")), distinct=number(bench.get("distinct_mappings")))
    return "\n\n".join([table(head, rows), text.strip(), "Alone: `python -m bench.seed`."])


def _before_after(line: Json) -> list[str]:
    return [quantity(value, line["unit"]) for value in (line["before"]["value"], line["value"])]


def _gain(before: Json) -> str:
    gained = finite(before["gain"])
    if gained is None:
        return NOT_MEASURED
    unit, direction = GAIN_UNITS[before["gain_unit"]]
    return f"{quantity(gained, unit)} {direction}".strip()


def _samples(line: Json) -> str:
    before, after = number(line["before"]["samples"]), number(line["samples"])
    counted = before if before == after else f"{before} / {after}"
    rounds = f"{number(line['rounds'])} round{'' if line['rounds'] == 1 else 's'}"
    return f"{counted} {escape(line['before']['samples_of'])}, {rounds}"


def _goals(results: Json) -> str:
    rows = [
        [
            escape(line["metric"]),
            quantity(line["value"], line["unit"]),
            _goal(line),
            verdict(line["met"]),
            number(line["samples"]),
            f"`{command}`",
        ]
        for command, line in goals(results)
        if "before" not in line
    ]
    return table(["", "measured:", "goal", "", "samples:", "alone"], _or_none(rows, 6))


def _section(part: Part, results: Json) -> list[str]:
    bench = _bench(results, part.bench)
    title = f"## {part.title}"
    if bench is None:
        return [title, f"Not measured in this run. Alone: `{part.command}`."]
    facts = _facts(bench)
    pictures = [
        f"![{escape(chart.title.format(**facts))}: {escape(_described(chart, bench))}](images/{chart.file})"
        for chart in part.charts
        if _drawn(chart, bench) is not None
    ]
    head = ["", "measured:", "rounds from … to:", "goal", "", "samples:", "note"]
    rows = [
        [
            _indented(line["metric"]),
            quantity(line["value"], line["unit"]),
            _range(line),
            _goal(line),
            verdict(line["met"]),
            number(line["samples"]),
            escape(line["note"]),
        ]
        for line in _lines(bench)
    ]
    return [
        title,
        part.text.format(**facts),
        str(bench.get("decision", "")),
        *pictures,
        *(_table(found) for found in bench.get("tables", ())),
        table(*without_empty(head, rows)),
        f"{_when(bench, results)}Alone: `{part.command}`.",
    ]


def _table(found: Json) -> str:
    """Return a table that a bench made itself, under its title."""
    rows = [[escape(cell) for cell in row] for row in found["rows"]]
    return f"**{escape(found['title'])}**\n\n{table(found['head'], rows)}"


def _when(bench: Json, results: Json) -> str:
    """Return the day on which a bench was measured, if that differs from the day of the run."""
    day, others = (str(found.get("started_at", ""))[:10] for found in (bench, results))
    return f"Measured on {day}. " if day and day != others else ""


def _facts(bench: Json) -> dict[str, str]:
    """Return the values that the texts of the sections use."""
    details = {**bench, "delay_ms": (finite(bench.get("delay_seconds")) or 0) * 1000 or None}
    return {name: number(details.get(name)) for name in FACTS}


def _goal(line: Json) -> str:
    """Return a goal as the bench wrote it, with the unit of its value."""
    goal, unit = line["goal"], UNITS.get(line["unit"], line["unit"])
    return escape(f"{goal}{'' if unit.startswith('/') else NO_BREAK}{unit}") if goal and unit else escape(goal)


def _indented(metric: str) -> str:
    return f"{NO_BREAK * 3}{escape(metric)}" if metric.startswith(" ") else escape(metric)


def _range(line: Json) -> str:
    low, high = finite(line["lowest"]), finite(line["highest"])
    return "" if low is None or high is None or low == high else f"{number(low)} … {number(high)}"


def _marks(chart: Chart, bench: Json) -> list[charts.Mark]:
    lines = {line["metric"].strip().removesuffix(": p50"): line for line in _lines(bench)}
    found = [(metric, lines[metric]) for metric in chart.labels if metric in lines]
    return [
        charts.Mark(
            chart.labels[metric],
            line["value"],
            metric in chart.ours,
            finite(line["lowest"]),
            finite(line["highest"]),
        )
        for metric, line in found
        if finite(line["value"]) is not None
    ]


def _drawn(chart: Chart, bench: Json | None) -> str | None:
    if bench is None:
        return None
    draw = {"bars": charts.bars, "dots": charts.dots}[chart.scale]
    return draw(chart.title.format(**_facts(bench)), _marks(chart, bench), chart.unit)


def _described(chart: Chart, bench: Json) -> str:
    return charts.summary(_marks(chart, bench), chart.unit)


def _told_lines(results: Json) -> list[tuple[str, Json]]:
    by_metric = {line["metric"].strip(): line for part in PARTS for line in _lines(_bench(results, part.bench))}
    return [(metric, by_metric[metric]) for metric in TOLD if metric in by_metric]


def _told_metric(line: Json) -> str:
    return escape(line["metric"][:1].upper() + line["metric"][1:])


def _or_none(rows: list[list[str]], columns: int) -> list[list[str]]:
    return rows or [["Not measured in this run.", *[""] * (columns - 1)]]
