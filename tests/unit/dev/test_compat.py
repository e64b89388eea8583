"""`make test-compat`: which combinations it tests, in which environments, and what it says of those it can't run."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dev import compat
from dev.compat import Combination, combinations, left_out, pinned, replaced, requirements
from dev.elasticsearch import install

ROOT = Path(__file__).resolve().parents[3]
NODE_9 = Combination("n", (), {}, node="9.5.3")
PYTHON = Combination("p", (), {}, python="3.13")


def test_what_is_tested() -> None:
    """Each Python with each Django that it can have, beginning with the oldest Python and the pinned Django; each
    server with each client that it accepts.
    """
    own = pinned(requirements("requirements.txt"))
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    both = combinations()
    assert [(each.python, each.pins["Django"]) for each in both if each.python] == [
        (oldest, own["Django"]),
        ("3.13", own["Django"]),
        ("3.13", compat.DJANGO_6),
    ]
    assert [(each.node, each.pins.get("elasticsearch", own["elasticsearch"])) for each in both if not each.python] == [
        (install.DEFAULT_VERSION, own["elasticsearch"]),
        (compat.NODE_9, own["elasticsearch"]),
        (compat.NODE_9, compat.CLIENT_9["elasticsearch"]),
    ]
    assert len({each.name for each in both}) == len(both)


def test_the_tests_are_there() -> None:
    """What a combination runs exists: a test that was moved doesn't fall out of the matrix unnoticed."""
    assert [path for each in combinations() for path in each.tests if not (ROOT / path).exists()] == []


def test_what_a_combination_replaces() -> None:
    """An environment is the project's own, apart from what the combination replaces or adds."""
    own = requirements("requirements-dev.txt")
    other = replaced(own, {"elasticsearch": "9.0.0", "opentelemetry-sdk": "1.0.0"})
    assert set(other) - set(own) == {"elasticsearch==9.0.0", "opentelemetry-sdk==1.0.0"}
    assert set(own) - set(other) == {f"elasticsearch=={pinned(own)['elasticsearch']}"}
    assert all("==" in line for line in other)


@pytest.mark.parametrize(
    ("releases", "reason"),
    [
        ([17], "Elasticsearch 9.5.3 needs a JDK 21 or newer; found 17"),
        ([17, 11, 17], "Elasticsearch 9.5.3 needs a JDK 21 or newer; found 11, 17"),
        ([], "Elasticsearch 9.5.3 needs a JDK 21 or newer; found none"),
        ([17, 21], None),
        ([25, 0], None),
    ],
)
def test_what_java_cannot_run(monkeypatch: pytest.MonkeyPatch, releases: list[int], reason: str | None) -> None:
    """A node that needs a newer Java than there is is left out, and the reason says which were found; one JDK that is
    new enough is enough, wherever it stands.
    """
    candidates = [Path(f"/{number}/{release}") for number, release in enumerate(releases)]
    monkeypatch.setattr(install, "_java_candidates", lambda: iter(candidates))
    monkeypatch.setattr(
        install,
        "_inspect_java",
        lambda candidate: (candidate, int(candidate.name)) if candidate.name != "0" else (None, 0),
    )
    assert left_out(NODE_9) == reason


def test_the_usual_node_is_never_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `make test` can't do without is no reason to skip here: without any Java the tests install one, or fail."""
    monkeypatch.setattr(install, "_java_candidates", lambda: iter(()))
    assert left_out(Combination("n", (), {})) is None


def test_a_missing_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release of Python that isn't there is left out, and the reason says what installs it."""
    monkeypatch.setattr(compat, "find_python", lambda _: None)
    assert "Python 3.13 with its venv module is missing; install it, " in (left_out(PYTHON) or "")
    monkeypatch.setattr(compat, "find_python", lambda _: Path("/python"))
    assert left_out(PYTHON) is None


def test_skipping_is_said(tmp_path: Path) -> None:
    """A session that can't be run is skipped with its reason, which is no failure; one that failed is one."""
    shutil.copy(ROOT / "noxfile.py", tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "__init__.py").touch()
    (tmp_path / "dev" / "pythons.py").write_text("find_python = lambda _: None\n")
    (tmp_path / "dev" / "compat.py").write_text(
        "from types import SimpleNamespace as Combination\n"
        "def combinations(): return [Combination(name=name, python=None) for name in ('one', 'two')]\n"
        "def left_out(each): return f'no {each.name} here'\n"
        "replaced = requirements = None\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "nox"],
        cwd=tmp_path,
        env={**os.environ, "CI": "true"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "* one: skipped (no one here)" in ran.stderr
    assert "* two: skipped (no two here)" in ran.stderr
