"""The audit of dependencies tells "vulnerable" from "not checked"."""

import json
import subprocess
from typing import Any

import pytest

from dev.audit_dependencies import judge, main

CLEAN = {"name": "django", "version": "5.2.19", "vulns": []}
UNKNOWN = {"name": "yarl", "version": "1.0", "skip_reason": "Dependency not found on PyPI and could not be audited"}
VULNERABLE = {"name": "yarl", "version": "1.0", "vulns": [{"id": "CVE-2020-1", "fix_versions": ["1.1", "2.0"]}]}
UNFIXED = {"name": "h11", "version": "0.1", "vulns": [{"id": "CVE-2020-2", "fix_versions": []}]}


def report(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.parametrize(
    ("output", "complaints", "lines", "vulnerable"),
    [
        (report(CLEAN), "", ["no known vulnerability in 1 packages"], False),
        (
            report(CLEAN, UNKNOWN),
            "",
            [
                "not checked: the vulnerability service that pip-audit asks has no record of 1 of 2 packages",
                "no known vulnerability in 1 packages",
            ],
            False,
        ),
        (report(CLEAN, VULNERABLE), "Found 1", ["yarl 1.0: CVE-2020-1, fixed in 1.1, 2.0"], True),
        (
            report(UNFIXED, UNKNOWN),
            "",
            [
                "h11 0.1: CVE-2020-2, fixed in no version yet",
                "not checked: the vulnerability service that pip-audit asks has no record of 1 of 2 packages",
            ],
            True,
        ),
        ("", "WARNING: x\nERROR: could not connect\n", ["not checked: ERROR: could not connect"], False),
        ("", "", ["not checked: pip-audit gave no report"], False),
        ("[]", "", ["not checked: pip-audit gave no report"], False),
    ],
)
def test_verdicts(output: str, complaints: str, lines: list[str], *, vulnerable: bool) -> None:
    """Findings fail; a service that is away, or doesn't know a package, is said and doesn't."""
    verdict = judge(output, complaints)
    assert (list(verdict.lines), verdict.vulnerable) == (lines, vulnerable)


@pytest.mark.parametrize(("package", "code"), [(CLEAN, 0), (VULNERABLE, 1)])
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], package: dict[str, Any], code: int
) -> None:
    """1 for findings, 0 otherwise."""
    answer = subprocess.CompletedProcess([], code, report(package), "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert main() == code
    assert package["name"] in capsys.readouterr().out or code == 0


def test_a_service_that_hangs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that never answers counts as not checked."""

    def hang(*_: Any, **__: Any) -> None:
        raise subprocess.TimeoutExpired("pip-audit", 1)

    monkeypatch.setattr(subprocess, "run", hang)
    assert main() == 0
    assert capsys.readouterr().out.startswith("not checked: no answer within")
