"""Find Pythons of other releases than the one that runs this, or say what to install."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dev.packages import which


def find_python(release: str) -> Path | None:
    """Return a Python of this release (`3.13`) that can make virtual environments. A program on the PATH may be a shim
    without a Python behind it, so each candidate is tried.
    """
    return next((candidate for candidate in _candidates(release) if _serves(candidate, release)), None)


def python_missing(release: str) -> str:
    """Return why no such Python is found, and what to do about it."""
    return (
        f"Python {release} with its venv module is missing; install it, for example: "
        f"sudo apt-get install python{release}-venv, pyenv install {release}, or uv python install {release}"
    )


def _candidates(release: str) -> Iterator[Path]:
    yield Path(sys.executable)
    if found := which(f"python{release}"):
        yield found
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv")) / "versions"
    uv = home / ".local" / "share" / "uv" / "python"
    for folder, pattern in ((pyenv, f"{release}.*"), (uv, f"cpython-{release}.*")):
        yield from (installed / "bin" / "python3" for installed in sorted(folder.glob(pattern)))


def _serves(candidate: Path, release: str) -> bool:
    try:
        asked = subprocess.run(
            [candidate, "-c", "import ensurepip, venv, sys; print('%d.%d' % sys.version_info[:2])"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0 and asked.stdout.strip() == release
