"""Fail if the tests of units and stores cover less than 100 % of branches in the kernel, or 95 % in the whole."""

import subprocess
import sys

FLOORS = {
    "the kernel": (100, ["--include=esassistant/*", "--omit=esassistant/settings.py,esassistant/management/*"]),
    "the whole": (95, []),
}


def main() -> int:
    failed = 0
    for name, (percent, scope) in FLOORS.items():
        command = [sys.executable, "-m", "coverage", "report", f"--fail-under={percent}", "--precision=1", *scope]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            failed = 1
            print(f"coverage of {name} is below {percent} %:\n{ended.stdout}{ended.stderr}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
