"""The report of the benches: what it writes of a run, and that the documents in the repository are what it writes."""

import math
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.report import charts, results
from bench.report.document import document, goals, images, readme_block, with_readme_block
from bench.report.figures import CLAIMS, PERCENT_LESS, POINTS, TIMES_LESS, TIMES_MORE, SeedRow, gain, of_rounds, percent
from bench.report.parts import PARTS
from bench.report.texts import NOT_MEASURED, escape, number, percentage, quantity, table, verdict

NAN, INFINITE = math.nan, math.inf
SVG = "{http://www.w3.org/2000/svg}"


def figure(metric: str, value: object, met: bool | None = None, **more: object) -> dict[str, Any]:
    goal = "" if met is None else "≤ 1"
    return {"metric": metric, "value": value, "unit": "ms", "samples": 7, "goal": goal, "met": met, **more}


def seed_row(before: float | None, after: float | None, unit: str = POINTS, claim: str | None = None) -> SeedRow:
    return SeedRow("mappings fresh", "%", before, after, unit, (1000, 1000), "mappings", 3, claim)


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
        "seed": [seed_row(70.05, 99.999, claim="reliability").as_json(), seed_row(70.0, 80.0).as_json()],
        "rows": {
            "health": [
                figure("health, kept ready: p50", 0.043, lowest=0.04, highest=0.05),
                figure("health, checked for each request: p50", 206.0, lowest=205.0, highest=209.0),
            ]
        },
    },
    refresh={
        "indices": 1000,
        "figures": [figure("full pass", 290.0), figure("  full pass ÷ one GET", 1.4, met=False)],
    },
    loop={"figures": [figure("longest callback", 3.6, met=True)]},
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
    assert [bool(row["met"]) for _, row in goals(WHOLE)] == [True, False, True]
    assert "2 of 3 goals and claims are met. **MISSED**: full pass ÷ one GET." in text
    lines = [line for line in text.splitlines() if "full pass ÷ one GET" in line and line.startswith("|")]
    assert len(lines) == 2
    assert all("**MISSED**" in line and "1.40" in line for line in lines)
    assert all("| met |" in line for line in text.splitlines() if "longest callback" in line)
    assert (verdict(True), verdict(False), verdict(None)) == ("met", "**MISSED**", "")


def test_what_was_not_measured_is_said() -> None:
    """A bench without results, and figures that are no numbers, never become zeros or NaN."""
    broken = run(
        seed={
            "seed": [seed_row(None, None, claim="reliability").as_json(), seed_row(0.0, 5.0, TIMES_MORE).as_json()],
            "rows": {"health": [figure("health, kept ready: p50", NAN)]},
        },
        refresh={"figures": [figure("full pass", None, met=False), figure("naive pass", INFINITE)]},
    )
    for written in (document(broken), readme_block(broken), *images(broken).values()):
        assert not re.search(r"\b(nan|inf|none|null)\b", written, re.IGNORECASE)
    assert "Not measured: Several instances; Connection pools; HTTP; At the edge; The loop." in document(broken)
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
    text = document(run(loop={"figures": [figure("a | <script> *b*", 1.0, note="x|y")]}))
    line = next(line for line in text.splitlines() if "script" in line)
    assert r"a \| &lt;script&gt; \*b\*" in line
    assert len(re.findall(r"(?<!\\)\|", line)) == 5
    assert "2 of Some &lt;Processor&gt;" in text


def test_tables_have_as_many_cells_in_each_line() -> None:
    text = document(WHOLE)
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) <= 1
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
    found = gain(before, after, unit)
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
    assert seed_row(before, after, unit, claim).met is met
    assert seed_row(before, after, unit).met is None


def test_every_claim_of_the_seed_has_a_text() -> None:
    assert {name: claim.text for name, claim in CLAIMS.items()} == {
        "health": "2000 → 50 ms",
        "connections": "20 → 50",
        "reliability": "70 → 95 %",
        "duplicates": "0 → 100 %",
        "memory": "15 % less",
    }
    assert percent(1, 3) == pytest.approx(33.333, rel=1e-3)
    assert percent(0, 0) is None


def test_percentages_come_with_their_samples() -> None:
    line = next(line for line in document(WHOLE).splitlines() if line.startswith("| mappings fresh"))
    assert "| 70.05\u00a0% | 99.99\u00a0% |" in line
    assert "1\u00a0000 mappings, 3 rounds" in line


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


def test_details_stay_out_of_the_results() -> None:
    """But for what the texts name."""
    saved = {"rows": {}, "details": {"throughput": {"connections": 16, "loads": []}, "livez": {"per_second": 100.0}}}
    assert results.slim(saved) == {"rows": {}, "connections": 16, "per_second": 100.0}


def test_rounds_keep_their_spread() -> None:
    found = of_rounds("m", [3.0, 1.0, 2.0], "ms")
    assert (found.value, found.lowest, found.highest, found.samples) == (2.0, 1.0, 3.0, 3)


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
