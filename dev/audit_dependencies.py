"""Audit what `requirements.txt` pins for known vulnerabilities; exits with 1 if there are any.

pip-audit also succeeds if its service is away, or doesn't know a package. In that case this says what was *not
checked*, and exits with 0, so that linting works without a network.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"
TIMEOUT_SECONDS = 120
COMMAND = (sys.executable, "-m", "pip_audit", "--requirement", str(REQUIREMENTS))
# Everything is pinned, so there is nothing to resolve or install.
OPTIONS = ("--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "10")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of an audit: the lines to print, and whether something is wrong."""

    lines: tuple[str, ...]
    vulnerable: bool = False


def judge(output: str, complaints: str) -> Verdict:
    """Tell findings from an audit that could not be made. `output`: pip-audit's JSON; `complaints`: its stderr."""
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = complaints.strip().splitlines()[-1:] or ["pip-audit gave no report"]
        return Verdict((f"not checked: {reason[0][:200]}",))
    findings = tuple(_findings(packages))
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    lines = findings
    if unknown:
        asked = f"{len(unknown)} of {len(packages)} packages"
        lines += (f"not checked: the vulnerability service that pip-audit asks has no record of {asked}",)
    if not findings and len(packages) > len(unknown):
        lines += (f"no known vulnerability in {len(packages) - len(unknown)} packages",)
    return Verdict(lines, vulnerable=bool(findings))


def _findings(packages: Iterable[dict[str, Any]]) -> Iterable[str]:
    for package in packages:
        for vulnerability in package.get("vulns", ()):
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            yield f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}"


def main() -> int:
    try:
        audit = subprocess.run(
            [*COMMAND, *OPTIONS], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        verdict = Verdict((f"not checked: no answer within {TIMEOUT_SECONDS} s",))
    else:
        verdict = judge(audit.stdout, audit.stderr)
    print("\n".join(verdict.lines))
    return 1 if verdict.vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
