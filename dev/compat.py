"""`make test-compat`: the contract tests (`tests/compat`) for each client of elasticsearch-py on each Elasticsearch.

What this machine's Java can't run is left out, and said. Arguments go to pytest: `-k watch`, or further tests such as
`tests/integration`.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.elasticsearch.install import DEFAULT_VERSION, NodeError, java_missing, require_java

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "compat"

NODE_9 = "9.5.3"
CLIENT_9 = {"elasticsearch": "9.5.1", "elastic-transport": "9.4.2", "sniffio": "1.3.1"}
"""Newer than the pinned client, which works with servers 8 and 9; this one is refused by servers 8."""
TRACING = {
    "opentelemetry-api": "1.45.2",
    "opentelemetry-sdk": "1.45.2",
    "opentelemetry-semantic-conventions": "0.66b2",
}
"""Where it is installed, the client makes spans."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A client on a node. `pins` are the packages that its environment has in place of the project's own, or beside
    them.
    """

    client: str
    node: str
    pins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Result:
    pair: Pair
    verdict: str
    """What the table says; begins with `passed`, `failed` or `left out`."""

    @property
    def failed(self) -> bool:
        return self.verdict.startswith("failed")


class CompatError(Exception):
    """Why the tests of a pair could not even begin."""


def main(arguments: Sequence[str]) -> int:
    own = pinned(requirements("requirements.txt"))["elasticsearch"]
    pairs = (
        Pair(own, DEFAULT_VERSION, TRACING),
        Pair(own, NODE_9, TRACING),
        Pair(CLIENT_9["elasticsearch"], NODE_9, {**TRACING, **CLIENT_9}),
    )
    try:
        require_java(DEFAULT_VERSION)
    except NodeError as error:
        print(f"make test-compat: {error}", file=sys.stderr)
        return 1
    try:
        results = [run(pair, arguments) for pair in pairs]
    except KeyboardInterrupt:
        return 130
    print("\n" + table(results))
    return int(any(result.failed for result in results))


def run(pair: Pair, arguments: Sequence[str]) -> Result:
    """Run the tests for one pair, whose output is seen meanwhile."""
    if reason := java_missing(pair.node):
        return Result(pair, f"left out: {reason}")
    print(f"\n== client {pair.client}, Elasticsearch {pair.node}", flush=True)
    try:
        python = environment(pair)
    except CompatError as error:
        return Result(pair, f"failed: {error}")
    started_at = time.monotonic()
    code = subprocess.run(
        [python, "-m", "pytest", "-p", "no:cacheprovider", "--no-header", "tests/compat", *arguments],
        cwd=ROOT,
        env={**os.environ, "ESASSISTANT_TEST_ELASTICSEARCH": pair.node},
        check=False,
    ).returncode
    seconds = time.monotonic() - started_at
    return Result(pair, f"passed in {seconds:.0f} s" if code == 0 else f"failed: pytest ended with {code}")


def environment(pair: Pair) -> Path:
    """The Python of a virtual environment with this client, which is kept for the next time."""
    home = CACHE / pair.client
    python = home / "bin" / "python"
    wanted = "".join(f"{line}\n" for line in replaced(requirements("requirements-dev.txt"), pair.pins))
    stamp = home / "requirements.txt"
    done = f"# {sys.version}\n{wanted}"
    if stamp.exists() and stamp.read_text() == done:
        return python
    print(f"making the virtual environment in {home.relative_to(ROOT)}", flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(home)])
    listed = home / "wanted.txt"
    listed.write_text(wanted)
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(listed)])
    stamp.write_text(done)  # last: an environment without it is not complete
    return python


def _run(command: Sequence[str]) -> None:
    if (code := subprocess.run(command, cwd=ROOT, check=False).returncode) != 0:
        raise CompatError(f"`{' '.join(command[1:4])}` ended with {code}")


def requirements(name: str) -> list[str]:
    """The lines of a requirements file, those of the files that it includes among them."""
    lines: list[str] = []
    for line in (ROOT / name).read_text().splitlines():
        if line.startswith("-r "):
            lines.extend(requirements(line.removeprefix("-r ").strip()))
        elif line and not line.startswith("#"):
            lines.append(line)
    return lines


def pinned(lines: Iterable[str]) -> dict[str, str]:
    """Version by name."""
    return dict(line.split("==", 1) for line in lines)


def replaced(lines: Iterable[str], pins: Mapping[str, str]) -> list[str]:
    """The same requirements with these versions in place of their own, or beside them."""
    kept = [line for line in lines if re.split(r"[\[=<>~ ]", line, maxsplit=1)[0] not in pins]
    return [*kept, *(f"{name}=={version}" for name, version in pins.items())]


def table(results: Iterable[Result]) -> str:
    """One line for each pair."""
    rows = [("client", "Elasticsearch", "")]
    rows += [(result.pair.client, result.pair.node, result.verdict) for result in results]
    return "\n".join(f"{client:<8}  {node:<13}  {verdict}".rstrip() for client, node, verdict in rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
