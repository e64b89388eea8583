"""Prometheus and promtool for the tests: those that are installed, or Debian's package, which brings both."""

from pathlib import Path

from dev.packages import require, which

PACKAGE = "prometheus"


def prometheus() -> Path:
    """Where prometheus is. Installs it if it is missing and this may; else raises `MissingPackage` with the remedy."""
    return require(lambda: which("prometheus"), PACKAGE, "prometheus is missing")


def promtool() -> Path:
    """Where promtool is, likewise."""
    return require(lambda: which("promtool"), PACKAGE, "promtool is missing")
