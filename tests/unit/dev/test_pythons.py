"""Which Python of another release is taken."""

import sys
from pathlib import Path

import pytest

from dev import pythons
from dev.pythons import find_python

OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a PATH with nothing in them."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    return tmp_path


def python(path: Path, says: str) -> Path:
    """A program that answers as a Python would, or as a shim."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


def test_our_own(places: Path) -> None:
    """The Python that runs this is taken when it is of that release."""
    assert find_python(OWN) == Path(sys.executable)


@pytest.mark.parametrize(
    "where",
    ["bin/python9.7", ".pyenv/versions/9.7.1/bin/python3", ".local/share/uv/python/cpython-9.7.1-x/bin/python3"],
)
def test_where_it_may_be(places: Path, where: str) -> None:
    """On the PATH, or where pyenv and uv put it."""
    assert find_python("9.7") is None
    found = python(places / where, "echo 9.7")
    assert find_python("9.7") == found


@pytest.mark.parametrize("says", ["echo no such version >&2; exit 127", "echo 9.6"])
def test_a_shim_is_not_enough(places: Path, says: str) -> None:
    """One that only says that nothing is behind it, or can't make environments, or is of another release, isn't taken;
    the next one is.
    """
    python(places / "bin/python9.7", says)
    assert find_python("9.7") is None
    found = python(places / ".pyenv/versions/9.7.1/bin/python3", "echo 9.7")
    assert find_python("9.7") == found


def test_one_that_is_broken(places: Path) -> None:
    """One that can't be started is passed over, and the remedy is named."""
    (places / "bin").mkdir()
    broken = places / "bin" / "python9.7"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    assert find_python("9.7") is None
    assert "python9.7-venv" in pythons.python_missing("9.7")
