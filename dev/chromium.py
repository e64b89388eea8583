"""Find Chromium and its driver for tests in a real browser: the installed ones, or Debian's packages."""

from dataclasses import dataclass
from pathlib import Path

from dev.packages import require, which


@dataclass(frozen=True)
class Chromium:
    """The paths of the browser and its driver."""

    browser: Path
    driver: Path


def chromium() -> Chromium:
    """Return the paths of Chromium and its driver, after installing what is missing if this process may. Otherwise
    raise `MissingPackage` with the remedy.
    """
    return Chromium(
        require(lambda: which("chromium") or which("google-chrome"), "chromium", "Chromium is missing"),
        require(lambda: which("chromedriver"), "chromium-driver", "Chromium's driver is missing"),
    )
