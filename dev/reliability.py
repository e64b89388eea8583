"""`make reliability`: runs the tests of all reliability cases, and writes docs/reliability.md with what they measured.

    python -m dev.reliability           all cases; writes the document
    python -m dev.reliability 5 7       these alone; prints their figures, and leaves the document as it is

A test belongs to case 5 when its name begins with `test_case_5_`, and records its figure with the fixture `figure`.
"""

import argparse
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree  # nosec B405

from dev.elasticsearch.install import DEFAULT_VERSION
from dev.reliability_cases import CASES, Case
from dev.servers.redis import redis_server

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "reliability.md"
NAME = re.compile(r"test_case_(\d+)_")
NOT_SHOWN = "**NOT SHOWN**"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one test. `case`: the case that it belongs to by its name; `figures`: what it recorded."""

    case: int
    module: str
    name: str
    passed: bool
    figures: tuple[str, ...]


def results(junit: str) -> list[Result]:
    """Return the results of the tests of cases from a JUnit report, which pytest has just written for us."""
    found = []
    for test in ElementTree.fromstring(junit).iter("testcase"):  # noqa: S314  # nosec B314
        name = test.get("name", "")
        if (match := NAME.match(name)) is None:
            continue
        properties = [(one.get("name"), one.get("value", "")) for one in test.iter("property")]
        cases = {int(value) for key, value in properties if key == "case"}
        case = int(match[1])
        passed = cases == {case} and not any(test.find(tag) is not None for tag in ("failure", "error", "skipped"))
        figures = tuple(value for key, value in properties if key == "figure")
        found.append(Result(case, test.get("classname", "").replace(".", "/") + ".py", name, passed, figures))
    return found


def figure_of(tests: Sequence[Result]) -> str:
    """Return what the tests of a case measured; if one of them failed or there are none, a text that says so."""
    if not tests:
        return NOT_SHOWN
    failed = [test.name for test in tests if not test.passed]
    if failed:
        return f"{NOT_SHOWN}: {', '.join(f'`{name}`' for name in failed)} did not pass"
    return "<br>".join(figure for test in tests for figure in test.figures)


def markdown(cases: Iterable[Case], tests: Sequence[Result], head: str) -> str:
    """Return the text of the document."""
    rows = []
    for case in cases:
        own = [test for test in tests if test.case == case.number]
        modules = "<br>".join(f"`{module}`" for module in sorted({test.module for test in own}))
        command = f"`make reliability ARGS={case.number}`"
        shown_by = f"{command}<br>{modules}" if modules else command
        cells = (str(case.number), case.fault, case.expected, shown_by, figure_of(own))
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n")
    return TEXT.format(head=head, rows="".join(rows))


TEXT = """# What happens when things fail

{head}

Each case is a fault that is really caused. A proxy between the server and Elasticsearch delays, cuts or refuses
connections, never answers, or answers with a status that the test chooses. Processes are stopped (SIGSTOP) or killed
(`kill -9`). Elasticsearch and Redis are real and started by the test, except in cases 14 and 15 and a part of 13:
there the proxy imitates hundreds and thousands of indices. Calls are counted by the proxy or by Elasticsearch itself,
never only by our own counters.

A case counts as shown if each of its tests has passed. The figures are those of the run that is named at the top.
`make reliability` runs all cases and writes this page. What happened with all kinds of faults together, for ten
minutes, is in [soak.md](soak.md).

| # | what happens | what is expected | shown by | last figure |
|---|---|---|---|---|
{rows}"""


def head() -> str:
    """Return the first lines of the document: when and with what it was made."""
    version = subprocess.run([redis_server(), "--version"], capture_output=True, text=True, check=True).stdout
    redis = re.search(r"v=([\d.]+)", version)
    parts = (
        f"Python {platform.python_version()}",
        f"Django {importlib.metadata.version('django')}",
        f"Elasticsearch {DEFAULT_VERSION}",
        f"elasticsearch-py {importlib.metadata.version('elasticsearch')}",
        f"Redis {redis[1] if redis else 'unknown'}",
        f"{os.cpu_count()} processors",
    )
    return f"Measured on {datetime.now(UTC):%Y-%m-%d}, with {', '.join(parts)}."


def run(wanted: Sequence[int]) -> tuple[int, list[Result]]:
    """Run the tests of these cases and show their output. Return pytest's exit code, and what they recorded."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        chosen = " or ".join(f"test_case_{number}_" for number in wanted)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", "-k", chosen]
        command += ["-m", "minutes or not minutes"]
        code = subprocess.run([*command, "tests"], cwd=ROOT, check=False).returncode
        return code, results(report.read_text()) if report.exists() else []


def main(arguments: Sequence[str], document: Path = DOCUMENT) -> int:
    numbers = [case.number for case in CASES]
    parser = argparse.ArgumentParser(
        prog="python -m dev.reliability", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", type=int, metavar="CASE", help=f"1 to {numbers[-1]}; default: all")
    chosen: list[int] = parser.parse_args(arguments).cases
    if unknown := set(chosen) - set(numbers):
        parser.error(f"there is no case {min(unknown)}; docs/reliability.md lists them")
    wanted = chosen or numbers
    code, tests = run(wanted)
    if chosen:
        for number in wanted:
            figures = figure_of([test for test in tests if test.case == number])
            print(f"case {number}: {figures.replace('<br>', chr(10) + '    ')}")
        return code
    document.write_text(markdown(CASES, tests, head()))
    print(f"wrote {os.path.relpath(document)}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
