"""Case 70: `make run` in a copy of this checkout, with ports taken; commands beside it, during and after it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from dev.elasticsearch.node import DEFAULT_VERSION, install
from dev.ports import HOST, free_port
from dev.servers.process import Process, wait_until
from dev.servers.service import ROOT
from tests.support.fixtures import Figure

OURS = ("ELASTICSEARCH_", "ESASSISTANT_", "MAPPING_CACHE_", "HEALTH_", "REDIS_", "DJANGO_", "DATABASE_")
SAMPLES = 11


def clean_environment(**more: str) -> dict[str, str]:
    """As a developer's terminal has it: nothing of the tests' own settings."""
    gone = ("SECRET_KEY", "DEBUG", "ALLOWED_HOSTS", "PORT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS) and name not in gone}
    return {**kept, **more}


class MakeRun(Process):
    """What `make run` runs, in `folder`."""

    start_seconds = 120

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__("make-run", cwd=folder, env=clean_environment(PORT=str(port), MAPPING_CACHE_TLL="9"))
        self.url = f"http://{HOST}:{port}"

    def command_line(self) -> Sequence[str]:
        return [sys.executable, "-m", "dev.run"]

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def children(self) -> list[int]:
        return [int(child) for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this checkout in which nothing ever ran; the installed node is shared."""
    folder = tmp_path / "checkout"
    for name in ("esassistant", "cacheapp", "healthapp", "dev"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", folder)
    cache = folder / ".cache" / "elasticsearch"
    cache.mkdir(parents=True)
    (cache / DEFAULT_VERSION).symlink_to(install(DEFAULT_VERSION))
    return folder


def manage(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=folder,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run_to_its_end(folder: Path, **environment: str) -> tuple[int, str]:
    """Exit code and errors of a `make run` that can't start."""
    ended = subprocess.run(
        [sys.executable, "-m", "dev.run"],
        cwd=folder,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stderr


def elasticsearch_url(folder: Path, **environment: str) -> tuple[str, str]:
    """The URL in force for commands, and where it comes from."""
    shown = manage(folder, "config", "--format", "json", **environment)
    assert shown.returncode == 0, shown.stderr
    [setting] = [each for each in json.loads(shown.stdout) if each["name"] == "ELASTICSEARCH_URL"]
    return setting["value"], setting["origin"]


@contextmanager
def stranger_at(port: int) -> Iterator[list[float]]:
    """Something listens at `port`, which may have been so before; the moments at which this one was connected to."""
    connected: list[float] = []
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            listener.bind((HOST, port))
        listener.listen()

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connected.append(time.monotonic())
                    connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield connected
        listener.shutdown(socket.SHUT_RDWR)


def test_case_70_commands_reach_the_node_of_make_run(checkout: Path, figure: Figure) -> None:
    """With port 9200 taken, commands in the folder reach the node that `make run` started, and nobody at 9200. When the
    node is killed `make run` says so and ends, with nothing left; after that commands say that nothing runs.
    """
    with stranger_at(9200) as connected, MakeRun(checkout, free_port()) as run:
        asked = len(connected)  # by whoever looked whether the port is taken
        [node] = run.children()
        value, origin = elasticsearch_url(checkout)
        assert (value != "http://127.0.0.1:9200", origin) == (True, "make run")
        assert f"Port 9200 is taken; the embedded Elasticsearch is at {value} instead." in run.output()
        assert "MAPPING_CACHE_TLL has no effect: did you mean MAPPING_CACHE_TTL?" in run.output()  # (the system checks)
        warmed = manage(checkout, "warm_cache", "--format", "json")
        assert warmed.returncode == 0, warmed.stdout + warmed.stderr
        result = json.loads(warmed.stdout)
        assert (result["published"], result["indices_total"]) == (True, SAMPLES)
        code, said = run_to_its_end(checkout, PORT=str(free_port()))
        assert (code, value in said) == (1, True)
        assert "it runs in this folder already" in said
        own = elasticsearch_url(checkout, ELASTICSEARCH_URL="http://127.0.0.1:9")
        assert own == ("http://127.0.0.1:9", "environment")

        os.kill(node, signal.SIGKILL)
        seconds = wait_until(lambda: run.has_ended, 20)
        assert run.process.returncode == 1
        assert "the node ended by itself (exit code -9)" in run.output()
        assert "Traceback" not in run.output()
        assert not Path(f"/proc/{node}").exists()
        for command in ("warm_cache", "refresh_cache", "load_samples", "serve"):
            refused = manage(checkout, command)
            assert (refused.returncode, "`make run`" in refused.stderr) == (1, True), command
            assert "isn't running" in refused.stderr
            assert "Traceback" not in refused.stderr
        assert elasticsearch_url(checkout) == ("", "make run")
        assert manage(checkout, "migrate").returncode == 0
        assert len(connected) == asked
    figure(70, f"commands read {SAMPLES} indices from the node of `make run`, 0 connections to port 9200")
    figure(70, f"node killed: `make run` ended {seconds:.1f} s later with exit code 1; commands said that nothing runs")


def test_case_70_ports_that_cannot_be_served_on(checkout: Path, figure: Figure) -> None:
    """A taken port is said before anything starts, with the remedy; so is a port that is none."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        code, said = run_to_its_end(checkout, PORT=str(port))
    assert (code, f"port {port} is taken" in said, "PORT=8080 make run" in said) == (1, True, True)
    for wrong in ("x", "0", "70000"):
        code, said = run_to_its_end(checkout, PORT=wrong)
        assert (code, f"PORT={wrong} is no port" in said) == (1, True)
    figure(70, "the service's port taken: said with the remedy, exit code 1")
