"""What `make release-check` finds: versions that differ, a changelog that isn't finished, a wheel that isn't whole."""

import json
from typing import Any

import pytest

from dev.release_check import version_problems, wheel_problems

STATED = {
    "version": "2.0.0",
    "changelog": "# Changelog\n\n## [2.0.0] - 2026-12-01\n\n### Added\n\n## [1.0.0] - 2026-11-26\n",
    "openapi": json.dumps({"info": {"version": "2.0.0"}}),
    "kubernetes": 'images:\n  - name: esassistant\n    newTag: "2.0.0"\n',
    "tags": "v1.0.0\n",
}
DIST = "esassistant-2.0.0.dist-info"
WHEEL = ["esassistant/asgi.py", f"{DIST}/METADATA", f"{DIST}/entry_points.txt", f"{DIST}/licenses/LICENSE"]


def test_what_can_be_released() -> None:
    """One version everywhere, a section with a date, and no tag of it: nothing to say."""
    assert list(version_problems(**STATED)) == []


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        ({"changelog": "# Changelog\n"}, "has no section"),
        ({"changelog": "## [2.1.0] - 2026-12-01\n"}, "has version 2.0.0, the first section of CHANGELOG.md is 2.1.0"),
        ({"changelog": "## [2.0.0] (unreleased)\n"}, "has no date: it ends with '(unreleased)'"),
        ({"changelog": "## [2.0.0] - 2026-13-01\n"}, "is none: 2026-13-01"),
        ({"openapi": '{"info": {"version": "1.0.0"}}'}, "openapi.json says 1.0.0: run python -m dev.openapi"),
        ({"kubernetes": '    newTag: "1.0.0"\n'}, "names another image than 2.0.0"),
        ({"kubernetes": "images: []\n"}, "names another image than 2.0.0"),
        ({"tags": "v1.0.0\nv2.0.0\n"}, "v2.0.0 is a tag of git already"),
    ],
)
def test_what_can_not(stated: dict[str, Any], problem: str) -> None:
    """Each thing that doesn't fit is said once, with what to do."""
    [found] = version_problems(**{**STATED, **stated})
    assert problem in found


def test_a_whole_wheel() -> None:
    """The files of git, the licence and the command: nothing to say."""
    assert list(wheel_problems(WHEEL, ["esassistant/asgi.py"])) == []


@pytest.mark.parametrize(
    ("names", "tracked", "problem"),
    [
        (WHEEL, ["esassistant/asgi.py", "esassistant/static/a.css"], "lacks esassistant/static/a.css"),
        (WHEEL, ["esassistant/asgi.py", *(f"x/{n}" for n in range(7))], "lacks x/0, x/1, x/2, x/3, x/4 and 2 more"),
        ([*WHEEL, "tests/a.py"], ["esassistant/asgi.py"], "has what git hasn't: tests/a.py"),
        ([name for name in WHEEL if "LICENSE" not in name], ["esassistant/asgi.py"], "has no licenses/LICENSE"),
        ([name for name in WHEEL if "entry" not in name], ["esassistant/asgi.py"], "has no entry_points.txt"),
    ],
)
def test_a_wheel_that_is_not(names: list[str], tracked: list[str], problem: str) -> None:
    """What is missing, and what doesn't belong there, is named."""
    [found] = wheel_problems(names, tracked)
    assert problem in found
