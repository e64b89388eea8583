"""What the wheel asks for and what the requirements pin are the same packages, and each pin is a version it accepts."""

import re
import tomllib

from packaging.requirements import Requirement

import esassistant
from dev.compat import ROOT, pinned, requirements

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = pinned(requirements("requirements-dev.txt"))


def named(lines: list[str]) -> dict[str, Requirement]:
    return {requirement.name: requirement for requirement in map(Requirement, lines)}


def test_direct_dependencies_are_pinned() -> None:
    """The first part of requirements.txt, up to what those need themselves, is the dependencies of the wheel."""
    direct = (ROOT / "requirements.txt").read_text().partition("# What those need.")[0]
    assert list(named(PROJECT["dependencies"])) == re.findall(r"^([\w-]+)==", direct, re.MULTILINE)


def test_every_pin_is_accepted() -> None:
    """What everything is tested with is what the wheel permits, extras included."""
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    for name, requirement in named([*PROJECT["dependencies"], *extras]).items():
        suffix = "[binary]" if name == "psycopg" else ""
        assert PINS[f"{name}{suffix}"] in requirement.specifier, name


def test_one_version() -> None:
    """The version stands in one place; the changelog has it, and it is on top."""
    assert "version" in PROJECT["dynamic"]
    latest = re.search(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert latest is not None
    assert latest[1] == esassistant.__version__
