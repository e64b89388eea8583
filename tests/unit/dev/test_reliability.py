"""docs/reliability.md: every case has tests that record figures, and the document is made of what they recorded."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dev import reliability
from dev.reliability import DOCUMENT, NOT_SHOWN, Result, main, markdown, results
from dev.reliability_cases import CASES
from tests.support.fixtures import Figure

TESTS = Path(__file__).resolve().parents[2]
JUNIT = """<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite>
<testcase classname="tests.faults.test_x" name="test_case_1_many[a]"><properties>
  <property name="case" value="1"/><property name="figure" value="1 call &amp; 0 errors"/></properties></testcase>
<testcase classname="tests.faults.test_x" name="test_case_1_many[b]"><properties>
  <property name="case" value="1"/><property name="figure" value="2 calls"/></properties></testcase>
<testcase classname="tests.faults.test_y" name="test_case_2_failed"><failure message="no">no</failure></testcase>
<testcase classname="tests.faults.test_y" name="test_case_3_silent"/>
<testcase classname="tests.faults.test_y" name="test_case_4_skipped"><skipped/></testcase>
<testcase classname="tests.faults.test_y" name="test_something_else"/>
</testsuite></testsuites>"""


def cases_recorded(test: ast.AST) -> set[object]:
    """The numbers that a test calls `figure` with."""
    return {
        call.args[0].value if isinstance(call.args[0], ast.Constant) else None
        for call in ast.walk(test)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "figure"
    }


def case_tests() -> Iterator[tuple[str, str, set[object]]]:
    """Module, name and recorded numbers of each test that uses `figure` or is named like the test of a case."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for test in ast.walk(ast.parse(path.read_text())):
            if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef) and test.name.startswith("test_"):
                takes = {argument.arg for argument in (*test.args.args, *test.args.kwonlyargs)}
                recorded = cases_recorded(test) if "figure" in takes else set()
                if recorded or test.name.startswith("test_case_"):
                    yield path.name, test.name, recorded


def test_every_case_has_a_test_that_records_a_figure() -> None:
    """A test that is named after a case records a figure of it and of no other; and each of the cases has one."""
    found: set[object] = set()
    for module, name, recorded in case_tests():
        named = re.match(r"test_case_(\d+)_", name)
        assert named is not None, f"{module}: {name} records a figure, but isn't named after a case"
        assert recorded == {int(named[1])}, f"{module}: {name}"
        found |= recorded
    assert found == {case.number for case in CASES}
    numbers = [case.number for case in CASES]
    assert numbers == sorted(set(numbers))


def test_a_figure_is_two_properties(request: pytest.FixtureRequest) -> None:
    """What the fixture records is in the JUnit report as the properties that are looked for there."""
    record: Figure = request.getfixturevalue("figure")
    record(5, "1 call")
    assert request.node.user_properties == [("case", 5), ("figure", "1 call")]
    request.node.user_properties.clear()


def test_results_of_a_report() -> None:
    """Tests of cases are found by their names; who failed, was skipped or recorded nothing shows nothing."""
    found = results(JUNIT)
    assert found[0] == Result(1, "tests/faults/test_x.py", "test_case_1_many[a]", True, ("1 call & 0 errors",))
    assert [(one.case, one.passed) for one in found] == [(1, True), (1, True), (2, False), (3, False), (4, False)]


def test_the_document() -> None:
    """A row for each case: its figures where all its tests passed, else NOT SHOWN and which didn't."""
    text = markdown(CASES, results(JUNIT), "Measured today.")
    rows = rows_of(text)
    assert "Measured today." in text
    assert len(rows) == len(CASES)
    assert rows[0].endswith("| `make reliability ARGS=1`<br>`tests/faults/test_x.py` | 1 call & 0 errors<br>2 calls |")
    assert rows[1].endswith(f"| {NOT_SHOWN}: `test_case_2_failed` did not pass |")
    assert all(NOT_SHOWN in row for row in rows[2:])
    assert rows[31].endswith(f"| `make reliability ARGS=32` | {NOT_SHOWN} |")


def test_the_written_document_has_every_case() -> None:
    """docs/reliability.md is of these cases: who changes their words writes it anew."""
    written = [row.split(" | ")[:3] for row in rows_of(DOCUMENT.read_text())]
    assert written == [[f"| {case.number}", case.fault, case.expected] for case in CASES]


def rows_of(document: str) -> list[str]:
    return [line for line in document.splitlines() if re.match(r"\| \d+ \|", line)]


@pytest.mark.parametrize("chosen", ["0", str(len(CASES) + 1), "x"])
def test_a_case_that_is_none_is_refused(chosen: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([chosen])
    assert "usage:" in capsys.readouterr().err


def test_all_cases_unless_some_are_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All write the document; some only print."""
    asked: list[list[int]] = []

    def run(wanted: Sequence[int]) -> tuple[int, list[Result]]:
        asked.append(list(wanted))
        return 0, []

    monkeypatch.setattr(reliability, "run", run)
    document = tmp_path / "reliability.md"
    assert main(["5", "7"], document) == 0
    assert not document.exists()
    assert main([], document) == 0
    assert asked == [[5, 7], [case.number for case in CASES]]
    assert document.exists()
