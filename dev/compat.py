"""What this project is said to work with, and is tested with by `make test-compat`: noxfile.py makes a session of each
combination below. Each has an environment of its own: the project's, apart from what the combination replaces.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.elasticsearch.install import DEFAULT_VERSION, java_missing
from dev.pythons import find_python, python_missing

ROOT = Path(__file__).resolve().parent.parent

DJANGO_6 = "6.1.3"
"""The newest; needs Python 3.12. The pinned one is the long-term release."""

NODE_9 = "9.5.3"
CLIENT_9 = {"elasticsearch": "9.5.1", "elastic-transport": "9.4.2", "sniffio": "1.3.1"}
"""Newer than the pinned client, which works with servers 8 and 9; this one is refused by servers 8."""
TRACING = {
    "opentelemetry-api": "1.45.2",
    "opentelemetry-sdk": "1.45.2",
    "opentelemetry-semantic-conventions": "0.66b2",
}
"""Where it is installed, the client makes spans."""

CONTRACT = ("tests/compat",)
"""What we need of Elasticsearch and its client."""

BASICS = (
    # All units, not a choice of them: they take a minute and a half, and what breaks is not where one looks for it.
    # test_lanes.py is the one that names the inner parts of Django that the fast lane stands on.
    "tests/unit",
    "tests/stores/test_store_contract.py",  # the ORM, transactions and threads, beside Redis
    "tests/integration/test_doors.py",  # Django's own lane and the fast one answer alike
    "tests/integration/test_server.py",  # real processes, signals and workers
    "tests/integration/test_embedding.py",  # a project of that version of Django, with this one in it
)
"""What we need of Python and Django."""


@dataclass(frozen=True, slots=True)
class Combination:
    """`pins` are the packages that its environment has in place of the project's own, or beside them. `python` is a
    release, such as `3.13`; None: the one that runs the tests otherwise. `node` is a version of Elasticsearch.
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
    """Why this machine can't run these tests, and what to do about it; None: it can. What `make test` needs too is no
    reason: the tests install it themselves, or fail.
    """
    if combination.python is not None and find_python(combination.python) is None:
        return python_missing(combination.python)
    return None if combination.node == DEFAULT_VERSION else java_missing(combination.node)


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
