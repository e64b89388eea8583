"""The versions that this project is said to work with. `make test-compat` tests them: noxfile.py makes a session for
each combination below. Each has an environment of its own: that of the project, with some packages replaced.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.elasticsearch.install import DEFAULT_VERSION, java_missing
from dev.pythons import find_python, python_missing

ROOT = Path(__file__).resolve().parent.parent

DJANGO_6 = "6.1.3"
"""The newest Django; needs Python 3.12. The pinned one is the long-term release."""

NODE_9 = "9.5.3"
CLIENT_9 = {"elasticsearch": "9.5.1", "elastic-transport": "9.4.2", "sniffio": "1.3.1"}
"""A newer client than the pinned one. The pinned client works with servers 8 and 9; servers 8 refuse the newer one."""
TRACING = {
    "opentelemetry-api": "1.45.2",
    "opentelemetry-sdk": "1.45.2",
    "opentelemetry-semantic-conventions": "0.66b2",
}
"""Packages of OpenTelemetry. If they are installed, the client makes spans."""

CONTRACT = ("tests/compat",)
"""The tests of what this project needs from Elasticsearch and its client."""

BASICS = (
    # All unit tests, and not a selection: they take a minute and a half, and things break where nobody looks.
    # test_lanes.py names the internals of Django that the fast lane depends on.
    "tests/unit",
    "tests/stores/test_store_contract.py",  # the ORM, transactions and threads, besides Redis
    "tests/integration/test_doors.py",  # Django's own lane and the fast one give the same answers
    "tests/integration/test_server.py",  # real processes, signals and workers
    "tests/integration/test_embedding.py",  # a project with that version of Django, which embeds this one
)
"""The tests of what this project needs from Python and Django."""


@dataclass(frozen=True, slots=True)
class Combination:
    """A combination of versions.

    Args:
        name: Its name.
        pins: The packages that replace those of the project's environment, or are added to them.
        tests: The tests that it runs.
        python: A release, such as `3.13`; None: the one that runs the other tests.
        node: A version of Elasticsearch; None: the default.
    """

    name: str
    tests: tuple[str, ...]
    pins: Mapping[str, str]
    python: str | None = None
    node: str = DEFAULT_VERSION


def combinations() -> tuple[Combination, ...]:
    own = pinned(requirements("requirements.txt"))
    return (
        _basics("3.11", own["Django"]),
        _basics("3.13", own["Django"]),
        _basics("3.13", DJANGO_6),
        _contract(DEFAULT_VERSION, own["elasticsearch"], TRACING),
        _contract(NODE_9, own["elasticsearch"], TRACING),
        _contract(NODE_9, CLIENT_9["elasticsearch"], {**TRACING, **CLIENT_9}),
    )


def _basics(python: str, django: str) -> Combination:
    return Combination(f"python-{python}-django-{django}", BASICS, {"Django": django}, python=python)


def _contract(node: str, client: str, pins: Mapping[str, str]) -> Combination:
    return Combination(f"elasticsearch-{node}-client-{client}", CONTRACT, pins, node=node)


def left_out(combination: Combination) -> str | None:
    """Return why this machine can't run these tests, and what to do about it; None if it can. Things that `make test`
    needs too aren't checked: the tests install them, or fail.
    """
    if combination.python is not None and find_python(combination.python) is None:
        return python_missing(combination.python)
    return None if combination.node == DEFAULT_VERSION else java_missing(combination.node)


def requirements(name: str) -> list[str]:
    """Return the lines of a requirements file, including those of the files that it includes."""
    lines: list[str] = []
    for line in (ROOT / name).read_text().splitlines():
        if line.startswith("-r "):
            lines.extend(requirements(line.removeprefix("-r ").strip()))
        elif line and not line.startswith("#"):
            lines.append(line)
    return lines


def pinned(lines: Iterable[str]) -> dict[str, str]:
    """Return the pinned version of each package, by name."""
    return dict(line.split("==", 1) for line in lines)


def replaced(lines: Iterable[str], pins: Mapping[str, str]) -> list[str]:
    """Return the requirements with these versions in place of their own, or in addition."""
    kept = [line for line in lines if re.split(r"[\[=<>~ ]", line, maxsplit=1)[0] not in pins]
    return [*kept, *(f"{name}=={version}" for name, version in pins.items())]
