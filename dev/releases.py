"""Make past releases from the project's own history, so that upgrades from them can be tested."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dev.compat import pinned, requirements

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "releases"

COMMITS = {"1.0.0": "b8f3397cb1548daa52b687748efefba083a59b00"}
"""Version → the commit that was released."""


class ReleaseMissing(Exception):
    """A release can't be made here; the text says why, and what to do about it."""


@dataclass(frozen=True)
class Release:
    """A release as it was installed then: its files, and a Python that has its requirements."""

    version: str
    folder: Path
    python: Path


def installed_release(version: str) -> Release:
    """Return a release. It is made at the first call, and kept in `.cache/releases`.

    Raises:
        ReleaseMissing: The clone has no history, or the package index can't be reached.
    """
    folder = CACHE / version
    release = Release(version, folder, folder / ".venv" / "bin" / "python")
    if not (folder / ".installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        unpack(COMMITS[version], folder)
        _install(folder)
        (folder / ".installed").touch()
    return release


def unpack(commit: str, folder: Path) -> None:
    """Write the files of a commit into a new folder. Raises `ReleaseMissing` if the clone doesn't have the commit."""
    with tempfile.TemporaryFile() as archive:
        made = subprocess.run(
            ["git", "-C", ROOT, "archive", "--format=tar", commit], stdout=archive, stderr=subprocess.PIPE, check=False
        )
        if made.returncode:
            raise ReleaseMissing(
                f"this clone hasn't commit {commit[:7]} ({made.stderr.decode().strip()}): clone the whole history, "
                "or git fetch --unshallow"
            )
        archive.seek(0)
        with tarfile.open(fileobj=archive) as files:
            files.extractall(folder, filter="data")


def _install(folder: Path) -> None:
    psycopg = pinned(requirements("requirements-dev.txt"))["psycopg[binary]"]
    commands: tuple[list[str | Path], ...] = (
        [sys.executable, "-m", "venv", folder / ".venv"],
        [
            *(folder / ".venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("-r", folder / "requirements.txt", f"psycopg[binary]=={psycopg}"),
        ],
    )
    for command in commands:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise ReleaseMissing(f"what {folder.name} needs can't be installed:\n{done.stdout[-2000:]}")
