"""A redis-server for development and tests: the one that is installed, or Debian's package."""

from pathlib import Path

from dev.packages import require, which


def redis_server() -> Path:
    """Where redis-server is. Installs it if it is missing and this may; else raises `MissingPackage` with the remedy."""
    return require(lambda: which("redis-server"), "redis-server", "redis-server is missing")
