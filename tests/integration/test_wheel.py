"""The wheel has everything, and is all that a fresh environment needs: `esassistant serve` alone gives answers."""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from elasticsearch import Elasticsearch

import esassistant
from dev.elasticsearch.node import Node
from dev.servers.process import Process
from dev.servers.service import ROOT

PACKAGES = ("esassistant", "cacheapp", "healthapp")
SERVE_SECONDS = 120.0
"""On a machine that others crowd; what it took is in the JUnit report as `first_answer_seconds`."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution, which so has all that is needed; in a copy, as building leaves traces."""
    source, target = Path(tmp_path_factory.mktemp("source")), Path(tmp_path_factory.mktemp("dist"))
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-m", "build", "--outdir", target, source, folder=source)
    assert [path.name for path in target.glob("*.tar.gz")] == [f"esassistant-{esassistant.__version__}.tar.gz"]
    [wheel] = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in a fresh environment, with the versions that everything is tested with."""
    folder = Path(tmp_path_factory.mktemp("environment"))
    run(sys.executable, "-m", "venv", folder, folder=folder)
    pip = (folder / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
    run(*pip, wheel, "--constraint", ROOT / "requirements.txt", folder=folder)
    return folder / "bin" / "esassistant"


def environment(**settings: str) -> dict[str, str]:
    """Nothing of this process but what any terminal has."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **settings}


def run(*command: str | Path, folder: Path) -> None:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert ended.returncode == 0, ended.stderr


class Service(Process):
    """`esassistant serve` in a folder, with nothing set but where the cluster is."""

    start_seconds = SERVE_SECONDS

    def __init__(self, command: Path, folder: Path, **settings: str) -> None:
        super().__init__("esassistant", cwd=folder, env=environment(**settings))
        self._command = command
        self.url = ""

    def command_line(self) -> Sequence[str | Path]:
        return [self._command, "serve", "--port", "0"]

    def answers(self) -> bool:
        self.url = self.printed_url() or ""
        try:
            return bool(self.url) and httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def orders(node: Node) -> Iterator[Node]:
    with Elasticsearch(node.url, request_timeout=30) as client:
        client.indices.create(
            index="orders", settings={"number_of_replicas": 0}, mappings={"properties": {"total": {"type": "long"}}}
        )
        yield node
        client.indices.delete(index="orders")


def files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def test_everything_is_in_it(wheel: Path) -> None:
    """Each file of the packages: templates, static files, profiles, migrations; and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    own = {name for name in names if not name.startswith(f"esassistant-{esassistant.__version__}.dist-info/")}
    assert own == set().union(*(files(ROOT / package) for package in PACKAGES))


def test_the_first_answer(
    installed: Path, orders: Node, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """In an empty folder `serve` alone writes a key and a token, makes the database and answers from the cluster."""
    started_at = time.monotonic()
    with Service(installed, tmp_path, ELASTICSEARCH_URL=orders.url) as service, httpx.Client() as http:
        settings = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines() if line[0] != "#")
        known = {"Authorization": f"Bearer {settings['ESASSISTANT_API_TOKENS']}"}
        answer = http.get(f"{service.url}/api/mappings/orders", headers=known)
        assert answer.json() == {"orders": {"mappings": {"properties": {"total": {"type": "long"}}}}}
        record_property("first_answer_seconds", round(time.monotonic() - started_at, 1))
        assert http.get(f"{service.url}/api/mappings/orders").status_code == 401
        # Pages, and their files, ours and those of packages, as in a checkout.
        for name in ("esassistant/pages.css", "esassistant/icon.svg", "cacheapp/browse.css"):
            served = http.get(f"{service.url}/static/{name}")
            assert served.content == (ROOT / name.partition("/")[0] / "static" / name).read_bytes()
        for address in ("/", "/api/docs", "/admin/login/", "/static/admin/css/base.css", "/problems/"):
            assert http.get(f"{service.url}{address}").status_code == 200, address
        ended = command(installed, tmp_path, "health", "--url", service.url)
        assert (ended.returncode, ended.stdout.startswith("healthy")) == (0, True), ended.stdout
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} >= {".env", "esassistant.sqlite3"}


def command(installed: Path, folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [installed, *arguments],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_commands_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """They say what is missing and by which command it comes, and leave nothing behind."""
    assert "SECRET_KEY: is missing" in command(installed, tmp_path, "check").stderr
    ended = command(installed, tmp_path, "createsuperuser", "--noinput", "--username", "ada", SECRET_KEY="x" * 50)
    assert f"The database {tmp_path}/esassistant.sqlite3 isn't there. `esassistant serve` and" in ended.stderr
    shown = command(installed, tmp_path, "config", "--format", "json", SECRET_KEY="x" * 50)
    assert shown.returncode == 0
    assert "examples:\n  esassistant serve" in command(installed, tmp_path, "serve", "--help", SECRET_KEY="x").stdout
    assert list(tmp_path.iterdir()) == []


def test_a_home_elsewhere(installed: Path, tmp_path: Path) -> None:
    """ESASSISTANT_HOME is the folder of `.env` and of the SQLite file, wherever the command is called."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (home / ".env").write_text("SECRET_KEY=only-for-tests\n")
    assert command(installed, elsewhere, "migrate", ESASSISTANT_HOME=str(home)).returncode == 0
    assert (home / "esassistant.sqlite3").exists()
    assert list(elsewhere.iterdir()) == []
