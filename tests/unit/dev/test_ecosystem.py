"""The files for GitHub and pre-commit are right by their schemas, and call what anybody calls."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[3]
WORKFLOW: dict[str, Any] = YAML(typ="safe").load(ROOT / ".github" / "workflows" / "ci.yml")
HOOKS: dict[str, Any] = YAML(typ="safe").load(ROOT / ".pre-commit-config.yaml")
DEPENDABOT: dict[str, Any] = YAML(typ="safe").load(ROOT / ".github" / "dependabot.yml")


@pytest.mark.parametrize(
    ("schema", "path"),
    [("github-workflows", ".github/workflows/ci.yml"), ("dependabot", ".github/dependabot.yml")],
)
def test_the_schemas(schema: str, path: str) -> None:
    """GitHub would take them."""
    command = [sys.executable, "-m", "check_jsonschema", "--quiet", "--builtin-schema", f"vendor.{schema}", path]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_workflow_runs_what_anybody_runs() -> None:
    """Its last step is `.ci/run`, in a clone with the whole history; actions are pinned, and may only read."""
    [job] = WORKFLOW["jobs"].values()
    assert job["steps"][-1]["run"].splitlines()[-1] == ".ci/run"
    used = [step for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]) for step in used)
    assert {step["uses"].partition("@")[0]: step["with"] for step in used} == {
        "actions/checkout": {"fetch-depth": 0, "persist-credentials": False}
    }
    assert WORKFLOW["permissions"] == {"contents": "read"}


def test_the_hooks_are_the_linters() -> None:
    """They run what `make lint` installs, by commands that exist there; so versions stand in one place."""
    [local] = HOOKS["repos"]
    assert local["repo"] == "local"
    for hook in local["hooks"]:
        program = hook["entry"].split()[0]
        assert hook["language"] == "system"
        assert Path(program).parts[:2] == (".venv", "bin")
        assert Path(sys.executable).with_name(Path(program).name).exists()


def test_updates_look_where_versions_stand() -> None:
    """Each folder that dependabot is to look into has what it looks for there."""
    looked_for = {
        "pip": "requirements*.txt",
        "docker": "Dockerfile",
        "docker-compose": "compose.yml",
        "github-actions": ".github/workflows/*.yml",
    }
    assert {each["package-ecosystem"] for each in DEPENDABOT["updates"]} == looked_for.keys()
    for each in DEPENDABOT["updates"]:
        folder = ROOT / each["directory"].lstrip("/")
        assert list(folder.glob(looked_for[each["package-ecosystem"]]))
