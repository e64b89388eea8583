"""The report of the benches: what it writes of a run, and that the documents in the repository are what it writes."""

import math
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.report import charts, results
from bench.report.document import document, goals, images, readme_block, with_readme_block
from bench.report.lines import (
    CLAIMS,
    PERCENT_LESS,
    POINTS,
    TIMES_LESS,
    TIMES_MORE,
    Before,
    Goal,
    Line,
    milliseconds,
    percent,
    print_lines,
    ratio,
)
from bench.report.parts import PARTS
from bench.report.texts import NOT_MEASURED, TIMES, escape, number, percentage, quantity, table, verdict

NAN, INFINITE = math.nan, math.inf
SVG = "{http://www.w3.org/2000/svg}"


def line(metric: str, value: object, met: bool | None = None, **more: object) -> dict[str, Any]:
    """As a bench saves one; `value` may be no number."""
    goal = None if met is None else Goal(at_most=1)
    return {**Line(metric, [None], "ms", 7, goal).as_json(), "value": value, "met": met, **more}


def pair(before: float | None, after: float | None, unit: str = POINTS, claim: str | None = None) -> Line:
    """A line beside what was before."""
    goal = None if claim is None else CLAIMS[claim]
    return Line("mappings fresh", [after], "%", 1000, goal, "", Before([before], 1000, "mappings", unit), 3)


def run(**benches: Any) -> dict[str, Any]:
    return {
        "quick": False,
        "started_at": "2026-11-26T02:00:00+00:00",
        "seconds": 754,
        "machine": {"processors": "2 of Some <Processor>"},
        "benches": benches,
    }


def parsed(drawn: str | None) -> ElementTree.Element:
    assert drawn is not None
    return ElementTree.fromstring(drawn)  # noqa: S314  (of our own making)


WHOLE = run(
    seed={
        "indices": 1000,
        "distinct_mappings": 9,
        "lines": [
            pair(70.05, 99.999, claim="reliability").as_json(),
            pair(70.0, 80.0).as_json(),
            line("health, kept ready: p50", 0.043, lowest=0.04, highest=0.05),
            line("health, checked for each request: p50", 206.0, lowest=205.0, highest=209.0),
        ],
    },
    refresh={"indices": 1000, "lines": [line("full pass", 290.0), line("  full pass ÷ one GET", 1.4, met=False)]},
    loop={"lines": [line("longest callback", 3.6, met=True)]},
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7.0, "7"),
        (0.0414, "0.0414"),
        (1.0944, "1.09"),
        (99.96, "100"),
        (9.996, "10.0"),
        (-0.5, "-0.500"),
        (4875.3, "4\u00a0875"),
        (1_234_567, "1\u00a0234\u00a0567"),
        (None, NOT_MEASURED),
        (NAN, NOT_MEASURED),
        (INFINITE, NOT_MEASURED),
        ("12", NOT_MEASURED),
        (True, NOT_MEASURED),
    ],
)
def test_numbers(value: object, text: str) -> None:
    """Three significant digits; what is no number is not written as one."""
    assert number(value) == text


def test_only_all_is_100_percent() -> None:
    """What is just short of it is rounded down."""
    assert percentage(99.9999) == "99.99\u00a0%"
    assert percentage(100.0) == "100\u00a0%"
    assert percentage(None) == NOT_MEASURED
    assert quantity(0.0, "%") == "0\u00a0%"


def test_units() -> None:
    assert quantity(1.5, "x") == "1.50\u00a0\u00d7"
    assert quantity(1500, "/s") == "1\u00a0500/s"
    assert quantity(20, "") == "20"
    assert quantity(NAN, "ms") == NOT_MEASURED


def test_a_missed_goal_is_written_as_missed() -> None:
    """In the table of goals, in its section and in the sum at the top; a met one is not."""
    text = document(WHOLE)
    assert [bool(found["met"]) for _, found in goals(WHOLE)] == [True, False, True]
    assert "2 of 3 goals and claims are met. **MISSED**: full pass ÷ one GET." in text
    rows = [row for row in text.splitlines() if "full pass ÷ one GET" in row and row.startswith("|")]
    assert len(rows) == 2
    assert all("**MISSED**" in row and "1.40" in row for row in rows)
    assert all("| met |" in row for row in text.splitlines() if "longest callback" in row)
    assert (verdict(True), verdict(False), verdict(None)) == ("met", "**MISSED**", "")


def test_what_was_not_measured_is_said() -> None:
    """A bench without results, and figures that are no numbers, never become zeros or NaN."""
    broken = run(
        seed={
            "lines": [
                pair(None, None, claim="reliability").as_json(),
                pair(0.0, 5.0, TIMES_MORE).as_json(),
                line("health, kept ready: p50", NAN),
            ]
        },
        refresh={"lines": [line("full pass", None, met=False), line("naive pass", INFINITE)]},
    )
    for written in (document(broken), readme_block(broken), *images(broken).values()):
        assert not re.search(r"\b(nan|inf|none|null)\b", written, re.IGNORECASE)
    absent = (
        "Several instances; Change feed; Connection pools; HTTP; At the edge; Searches; Views; Strangers; The loop; "
        "Warming ahead; Growth."
    )
    assert f"Not measured: {absent}" in document(broken)
    assert f"| mappings fresh | {NOT_MEASURED} | {NOT_MEASURED} | {NOT_MEASURED} |" in document(broken)
    assert images(broken) == {}
    empty = document({"benches": {}})
    assert "0 of 0 goals and claims are met." in empty
    assert empty.count("Not measured in this run.") >= len(PARTS)
    assert "Not measured in this run." in readme_block({"benches": {}})


def test_a_quick_run_says_that_it_is_one() -> None:
    """And puts no ratios into the README."""
    for written in (document, readme_block):
        assert "quick run" not in written(WHOLE).lower()
        assert "quick run" in written({**WHOLE, "quick": True}).lower()
    assert "against one GET" in readme_block(WHOLE)
    assert "against one GET" not in readme_block({**WHOLE, "quick": True})


def test_text_is_not_taken_for_markdown() -> None:
    """Nor for HTML, nor for the end of a cell."""
    assert escape("a|b *c* <img> & `d`\n[e](f) \\") == r"a\|b \*c\* &lt;img&gt; &amp; \`d\` \[e\](f) \\"
    text = document(run(loop={"lines": [line("a | <script> *b*", 1.0, note="x|y")]}))
    row = next(row for row in text.splitlines() if "script" in row)
    assert r"a \| &lt;script&gt; \*b\*" in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert "2 of Some &lt;Processor&gt;" in text


def test_tables_have_as_many_cells_in_each_line() -> None:
    text = document(WHOLE)
    for block in text.split("\n\n"):
        rows = [row for row in block.splitlines() if row.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1
    assert table(["", "a:"], [["x", "1"]]).splitlines()[1] == "| --- | --: |"


@pytest.mark.parametrize(
    ("unit", "before", "after", "expected"),
    [
        (TIMES_LESS, 200.0, 50.0, 4.0),
        (TIMES_MORE, 20.0, 50.0, 2.5),
        (POINTS, 70.0, 95.0, 25.0),
        (PERCENT_LESS, 100.0, 85.0, 15.0),
        (TIMES_LESS, 200.0, 0.0, None),
        (TIMES_MORE, 0.0, 50.0, None),
        (PERCENT_LESS, 0.0, 0.0, None),
        (POINTS, None, 95.0, None),
    ],
)
def test_gains(unit: str, before: float | None, after: float, expected: float | None) -> None:
    found = Before([before], 1, "", unit).gain(after)
    assert found == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("claim", "unit", "before", "after", "met"),
    [
        ("health", TIMES_LESS, 206.0, 0.1, True),
        ("health", TIMES_LESS, 6000.0, 60.0, False),  # 100 times less, but not within 50 ms
        ("health", TIMES_LESS, 206.0, 49.0, False),  # within 50 ms, but not 40 times less
        ("connections", TIMES_MORE, 20, 50, True),
        ("connections", TIMES_MORE, 20, 49, False),
        ("reliability", POINTS, 70.0, 100.0, True),
        ("reliability", POINTS, 70.0, 94.9, False),
        ("duplicates", POINTS, 0.0, 100.0, True),
        ("duplicates", POINTS, 0.0, 99.9, False),
        ("memory", PERCENT_LESS, 100.0, 84.0, True),
        ("memory", PERCENT_LESS, 100.0, 86.0, False),
        ("memory", PERCENT_LESS, None, 86.0, False),
    ],
)
def test_claims(claim: str, unit: str, before: float | None, after: float, met: bool) -> None:
    """Met by as much as the original promises, and not by less."""
    assert pair(before, after, unit, claim).met is met
    assert pair(before, after, unit).met is None


def test_every_claim_of_the_seed_has_a_text() -> None:
    assert {name: str(claim) for name, claim in CLAIMS.items()} == {
        "health": "2000 → 50 ms",
        "connections": "20 → 50",
        "reliability": "70 → 95 %",
        "duplicates": "0 → 100 %",
        "memory": "15 % less",
    }
    assert percent(1, 3) == pytest.approx(33.333, rel=1e-3)
    assert percent(0, 0) is None


def test_percentages_come_with_their_samples() -> None:
    row = next(row for row in document(WHOLE).splitlines() if row.startswith("| mappings fresh"))
    assert "| 70.05\u00a0% | 99.99\u00a0% |" in row
    assert "1\u00a0000 mappings, 3 rounds" in row


@pytest.mark.parametrize("draw", [charts.bars, charts.dots])
def test_charts_are_readable_by_everybody(draw: Any) -> None:
    """Valid XML with a title, a description with all numbers, text as text, and a background of its own."""
    marks = [charts.Mark("ours & <theirs>", 31.5, ours=True, low=30.0, high=33.0), charts.Mark("other", 0.25)]
    root = parsed(draw("A <title>", marks, "ms"))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"] == "title desc"
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert title.text is not None
    assert title.text.startswith("A <title>")
    assert description is not None
    assert description.text == "ours & <theirs> 31.5 ms; other 0.250 ms"
    assert {"ours & <theirs>", "other", "31.5\u00a0ms", "0.250\u00a0ms"} <= set(texts)
    background = root.find(f"{SVG}rect")
    assert background is not None
    assert background.attrib["fill"] == charts.PAPER
    assert background.attrib["width"] == root.attrib["width"]


def test_bars_begin_at_0_and_are_as_long_as_their_values() -> None:
    drawn = charts.bars("t", [charts.Mark("a", 100.0), charts.Mark("b", 25.0), charts.Mark("c", 0.0)], "/s")
    _, *found = parsed(drawn).iter(f"{SVG}rect")
    assert {bar.attrib["x"] for bar in found} == {f"{charts.LEFT:.1f}"}
    first, second, third = (float(bar.attrib["width"]) for bar in found)
    assert first == pytest.approx(4 * second)
    assert third == 0


def test_dots_stand_where_their_logarithm_is() -> None:
    drawn = charts.dots("t", [charts.Mark("a", 1.0), charts.Mark("b", 10.0), charts.Mark("c", 100.0)], "ms")
    places = [float(dot.attrib["cx"]) for dot in parsed(drawn).iter(f"{SVG}circle")]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1])
    assert charts.LEFT == places[0] < places[2] == charts.WIDTH - charts.RIGHT


def test_charts_without_anything_to_show_are_none() -> None:
    for draw in (charts.bars, charts.dots):
        assert draw("t", [], "ms") is None
        assert draw("t", [charts.Mark("a", NAN)], "ms") is None
    assert charts.dots("t", [charts.Mark("a", 0.0)], "ms") is None


def test_the_readme_gets_its_table() -> None:
    """Between its two comments, and nothing else of it changes; twice is as once."""
    block = readme_block(WHOLE)
    begin, end = block.splitlines()[0], block.splitlines()[-1]
    once = with_readme_block(f"before\n\n{begin}\nold\n{end}\n\nafter\n", block)
    assert once == f"before\n\n{block}\n\nafter\n"
    assert with_readme_block(once, block) == once
    with pytest.raises(ValueError, match="no place"):
        with_readme_block("nothing", block)


def test_what_was_not_measured_again_stays() -> None:
    """A run of one bench takes its place beside all others, which keep their day; a quick run is on its own."""
    before = run(seed={"lines": [], "started_at": "2026-11-26T02:00:00"}, loop={"lines": [line("old", 1)]})
    before["benches"]["pool"] = {"lines": []}
    now = {**run(loop={"lines": [line("new", 2)], "started_at": "2026-11-30T02:00:00"}), "started_at": "2026-11-30"}
    found = results.merged(before, now)
    assert found["benches"].keys() == {"seed", "loop", "pool"}
    assert found["benches"]["loop"]["lines"][0]["metric"] == "new"
    assert found["started_at"] == before["started_at"] == run()["started_at"]
    assert "Measured on 2026-11-30. Alone: `python -m bench.loop`." in document(found)
    assert results.merged(before, {**now, "quick": True})["benches"].keys() == {"loop"}
    assert results.merged({**before, "quick": True}, now)["benches"].keys() == {"loop"}
    whole = {**now, "benches": {**before["benches"], **now["benches"], "pool": {"lines": []}}}
    assert results.merged(before, whole) == whole


def test_tables_of_a_bench_are_shown() -> None:
    """Those that it made itself, under their titles, before its lines; and what it decided."""
    table_made = {"title": "Office *hours*", "head": ["policy", "calls:"], "rows": [["model", "1 | 2"]]}
    shown = document(run(predict={"lines": [line("calls saved", 3)], "tables": [table_made], "decision": "The rule."}))
    assert "The rule." in shown
    assert "**Office \\*hours\\***\n\n| policy | calls |\n| --- | --: |\n| model | 1 \\| 2 |" in shown


def test_details_stay_out_of_the_results() -> None:
    """What the texts name stays."""
    saved = {"lines": [], "connections": 16, "details": {"throughput": {"loads": []}, "livez": {"passes": {}}}}
    assert results.slim(saved) == {"lines": [], "connections": 16}


def test_rounds_keep_their_spread() -> None:
    """The median counts; one value has no spread."""
    found = milliseconds("m", [0.003, 0.001, 0.002]).as_json()
    assert [found[name] for name in ("value", "lowest", "highest", "rounds", "samples")] == [2.0, 1.0, 3.0, 3, 3]
    alone = milliseconds("m", [0.003], samples=40).as_json()
    assert [alone[name] for name in ("value", "lowest", "highest", "rounds", "samples")] == [3.0, None, None, 1, 40]


def test_a_ratio_is_taken_within_a_round() -> None:
    assert ratio("a ÷ b", [4.0, 9.0], [2.0, 3.0], 7).values == [2.0, 3.0]


@pytest.mark.parametrize(
    ("goal", "text", "met"),
    [
        (Goal(at_most=2), "≤ 2", True),
        (Goal(at_most=1.5), "≤ 1.5", False),
        (Goal(at_least=2), "≥ 2", True),
        (Goal(at_least=2.5), "≥ 2.5", False),
        (Goal(at_most=1, judged=False), "≤ 1", None),
        (None, "", None),
    ],
)
def test_goals_that_are_bounds(goal: Goal | None, text: str, met: bool | None) -> None:
    """The bound itself is within; what is only shown is not judged; what was not measured is not met."""
    found = Line("m", [2.0], "ms", 1, goal).as_json()
    assert (found["goal"], found["met"]) == (text, met)
    if met is not None:
        assert Line("m", [None], "ms", 1, goal).met is False


def test_lines_are_printed_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """One under the other, without columns that are empty in all."""
    print_lines([milliseconds("full pass", [0.1, 0.3, 0.2]), Line("  ÷ one GET", [1.4], "x", 5, Goal(at_most=1.3))])
    assert capsys.readouterr().out.replace("\u00a0", " ").splitlines() == [
        "",
        "metric       median  lowest … highest  goal   met?    samples",
        "full pass    200 ms         100 … 300                       3",
        f"  ÷ one GET  1.40 {TIMES}                    ≤ 1.3  MISSED        5",
    ]
    print_lines([pair(70.0, 95.0, claim="reliability")])
    assert capsys.readouterr().out.replace("\u00a0", " ").splitlines() == [
        "",
        "metric          before  median   improved  goal       met?               samples",
        "mappings fresh    70 %    95 %  25 points  70 → 95 %  met   1000 / 1000 mappings",
    ]


def test_the_documents_are_what_the_results_say() -> None:
    """docs/benchmarks.md, its images and the table in the README are made from docs/benchmarks.json, not by hand:
    `python -m bench --render`.
    """
    found = results.read(results.DOCS)
    assert (results.DOCS / results.DOCUMENT).read_text() == document(found)
    assert {path.name: path.read_text() for path in (results.DOCS / results.IMAGES).glob("*.svg")} == images(found)
    assert readme_block(found) in results.README.read_text()


def test_the_documents_tell_nothing_of_the_machine() -> None:
    """But for what figures depend on: no paths, no addresses."""
    text = (results.DOCS / results.FILE).read_text() + (results.DOCS / results.DOCUMENT).read_text()
    assert not re.search(r"/(home|root|work|tmp|usr|var)/|127\.0\.0\.1|localhost", text)
    assert set(results.machine()) == {"processors", "load before", "python", "elasticsearch", "load generator"}
