"""Programs that development needs: found, installed aloud, or named with the command that installs them."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dev import packages
from dev.packages import MissingPackage
from dev.servers.prometheus import prometheus, promtool
from dev.servers.redis import redis_server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, beside the shell's."""
    shell = shutil.which("sh")
    assert shell is not None
    (tmp_path / "sh").symlink_to(shell)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(path: Path, text: str = "exit 0") -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_found(folder: Path) -> None:
    """A program that is there is taken."""
    program(folder / "redis-server")
    assert redis_server() == folder / "redis-server"


def test_one_package_may_bring_two_programs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """prometheus and promtool are looked for apart, and are of the same package."""
    program(folder / "promtool")
    assert promtool() == folder / "promtool"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    program(folder / "apt-get", "exit 1")
    with pytest.raises(MissingPackage, match=r"prometheus is missing; .* sudo apt-get install -y prometheus"):
        prometheus()


def test_not_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not install is told the exact command."""
    program(folder / "apt-get", "exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingPackage, match=r"redis-server is missing; .* sudo apt-get install -y redis-server"):
        redis_server()


def test_no_apt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no apt-get, nothing is tried."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(MissingPackage, match="for example"):
        redis_server()


def test_installed(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Root installs the package, and says so."""
    calls = folder / "calls"
    made = f"echo '#!/bin/sh' > {folder}/redis-server; $CHMOD 755 {folder}/redis-server"
    program(folder / "apt-get", f'echo "$DEBIAN_FRONTEND $*" >> {calls}; [ "$1" = update ] || {{ {made}; }}')
    monkeypatch.setenv("CHMOD", "/bin/chmod")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert redis_server() == folder / "redis-server"
    assert calls.read_text().splitlines() == [
        "noninteractive update",
        "noninteractive install -y --no-install-recommends redis-server",
    ]
    assert "installing the package redis-server by apt-get" in capsys.readouterr().err


def test_installed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several processes that miss a package one installs it; the others wait, and find it."""
    program(folder / "apt-get", "exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with ThreadPoolExecutor(1) as others:
        with packages._alone():
            other = others.submit(redis_server)
            with pytest.raises(TimeoutError):
                other.result(0.1)
            program(folder / "redis-server")
        assert other.result(5) == folder / "redis-server"


def test_failing_apt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure of apt-get shows what that said."""
    program(folder / "apt-get", "echo no network; exit 100")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(MissingPackage, match=r"(?s)apt-get could not install redis-server.*no network"):
        redis_server()


def test_wrong_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that doesn't bring the program is not called a success."""
    program(folder / "apt-get")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(MissingPackage, match="does not provide it"):
        packages.require(lambda: None, "some-package", "something is missing")
