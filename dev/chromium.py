"""Chromium and its driver for tests in a real browser: those that are installed, or Debian's packages."""

from dataclasses import dataclass
from pathlib import Path

from dev.packages import require, which


@dataclass(frozen=True)
class Chromium:
    """Where the browser and its driver are."""

    browser: Path
    driver: Path


def chromium() -> Chromium:
    """Installs what is missing if this may; else raises `MissingPackage` with the remedy."""
    return Chromium(
        require(lambda: which("chromium") or which("google-chrome"), "chromium", "Chromium is missing"),
        require(lambda: which("chromedriver"), "chromium-driver", "Chromium's driver is missing"),
    )
