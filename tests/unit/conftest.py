"""Shared by the unit tests: time that a test owns, and a cluster that says what a test wants."""

import runpy
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import esassistant.settings
from dev.faults.proxy import FaultProxy
from esassistant.breaker import NEVER_TRIPS
from esassistant.config.model import Config, ElasticsearchConfig
from esassistant.config.pools import PoolRule
from esassistant.elasticsearch.pools import PoolLimits, Pools, one_pool
from esassistant.registry import Registry

LoadSettings = Callable[..., Config]


@dataclass
class FakeClock:
    """A clock that stands still until a test moves it."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1."""

    key: Path
    certificate: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def elasticsearch_config(url: str, **changes: Any) -> ElasticsearchConfig:
    """A configuration for one node at `url`, without credentials and with short timeouts."""
    config = ElasticsearchConfig(
        urls=(url,),
        api_key="",
        username="",
        password="",
        ca_certs="",
        verify_certs=True,
        pool_block=False,
        pool_overflow=0,
        pools=(PoolRule("default", ("*",), 5),),
        request_timeout=2.0,
        connect_timeout=2.0,
        max_retries=0,
    )
    return replace(config, **changes)


def pools(name: str = "default", **limits: Any) -> Pools:
    """One pool of five connections, whose breaker never trips, unless told otherwise."""
    return one_pool(name, PoolLimits(**{"maxsize": 5, **limits}), NEVER_TRIPS)


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
