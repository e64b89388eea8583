"""Shared by the unit tests: time that a test owns, and a cluster that says what a test wants."""

import runpy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import esassistant.settings
from dev.faults.proxy import FaultProxy
from esassistant.config.model import Config
from esassistant.registry import Registry
from tests.support.clients import Certificate
from tests.support.fakes import FakeClock
from tests.support.fixtures import LoadSettings


@pytest.fixture
def fake_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def load_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadSettings:
    """`load_settings(*lines)`: the configuration of a process whose `.env` has these lines. Fails where they are
    refused.
    """

    def load(*lines: str | None) -> Config:
        assert None not in lines
        file = tmp_path / "settings.env"
        file.write_text("".join(f"{line}\n" for line in lines))
        monkeypatch.setenv("ESASSISTANT_ENV_FILE", str(file))
        config: Config = runpy.run_path(esassistant.settings.__file__)["ESASSISTANT"]
        return config

    return load


@pytest.fixture
def own_registry() -> Registry:
    """A registry apart from the process's own."""
    return Registry()


@pytest.fixture
def stub() -> Iterator[FaultProxy]:
    """A fault proxy with nothing behind it: each test says by `respond` what it answers."""
    with FaultProxy("http://127.0.0.1:9") as proxy:
        yield proxy


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    made = Certificate(folder / "key.pem", folder / "certificate.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", made.key, "-out", made.certificate),
        ],
        check=True,
        capture_output=True,
    )
    return made
