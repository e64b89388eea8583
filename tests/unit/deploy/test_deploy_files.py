"""The files in deploy/ fit the project: its versions, its settings, its commands and how it ends. No Docker engine is
needed; what needs a program that may be missing is skipped, with the reason.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, cast

import pytest
from django.core.management import load_command_class
from ruamel.yaml import YAML

from cacheapp.management.refresh_command import EXIT_NOT_NOW
from dev.compat import combinations, pinned, requirements
from dev.elasticsearch.install import DEFAULT_VERSION
from dev.servers.redis import redis_server
from esassistant import settings
from esassistant.management.commands.serve import GRACE_SECONDS

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
UNITS = DEPLOY / "systemd"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE_TEXT = (DEPLOY / "compose.yml").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe").load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

SETTINGS = set(settings.ESASSISTANT_SETTINGS)
OF_PYTHON = {"PATH", "PYTHONUNBUFFERED"}
OF_COMPOSE = {"REDIS_PASSWORD"}
"""Read by compose.yml itself, which makes REDIS_URL of it."""


def arguments(name: str) -> str:
    """The default of an ARG of the Dockerfile."""
    [value] = set(re.findall(rf"^ARG {name}=(\S+)$", DOCKERFILE, re.MULTILINE))
    return str(value)


def instruction(name: str) -> list[str]:
    """The words of an instruction of the Dockerfile in exec form; of HEALTHCHECK, its command."""
    options = r".*\\\n +CMD " if name == "HEALTHCHECK" else ""
    [text] = re.findall(rf"^{name} {options}(\[.*\])$", DOCKERFILE, re.MULTILINE)
    return [str(word) for word in YAML(typ="safe").load(text)]


def unit(name: str) -> list[tuple[str, str]]:
    """The lines of a unit."""
    lines = (UNITS / name).read_text().splitlines()
    return [(key, value) for line in lines if line[:1].isalpha() for key, _, value in [line.partition("=")]]


def names_in(path: Path) -> set[str]:
    """The variables that a file of `NAME=value` lines sets."""
    return set(re.findall(r"^([A-Z_]+)=", path.read_text(), re.MULTILINE))


# Versions


def test_python() -> None:
    """The image's Python is one that the project supports, and that is tested."""
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    python = arguments("PYTHON")
    assert tuple(map(int, python.split("."))) >= tuple(map(int, oldest.split(".")))
    assert python in {each.python for each in combinations()}
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["python:${PYTHON}-slim"] * 2


def test_packages() -> None:
    """The image has what requirements.txt pins, and the PostgreSQL driver that is tested."""
    assert arguments("PSYCOPG") == pinned(requirements("requirements-dev.txt"))["psycopg[binary]"]
    assert arguments("REQUIREMENTS") == "requirements.txt"
    assert '-r "/tmp/${REQUIREMENTS}"' in DOCKERFILE


def test_elasticsearch() -> None:
    """Compose's Elasticsearch is the one that the tests run on."""
    assert SERVICES["elasticsearch"]["image"] == f"docker.elastic.co/elasticsearch/elasticsearch:{DEFAULT_VERSION}"


def test_redis() -> None:
    """Compose's Redis has the major version of the one that the tests run on."""
    said = subprocess.run([redis_server(), "--version"], capture_output=True, text=True, check=True).stdout
    [major] = re.findall(r"v=(\d+)\.", said)
    assert re.fullmatch(rf"redis:{major}(\.\d+)*-\w+", SERVICES["redis"]["image"])


# Settings


def test_variables_of_the_image() -> None:
    """What the Dockerfile sets is a setting, or Python's own."""
    [block] = re.findall(r"^ENV ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    assert {word.partition("=")[0] for word in block.replace("\\\n", "").split()} == {"DATABASE_URL", *OF_PYTHON}
    assert "DATABASE_URL" in SETTINGS


def test_variables_of_the_compose_file() -> None:
    """What the service is given there is a setting; what the file reads without a default is in its example, and the
    example has nothing else than settings and what the file reads.
    """
    given = {name for service in ("app", "migrate") for name in SERVICES[service]["environment"]}
    read = set(re.findall(r"\$\{([A-Z_]+):\?", COMPOSE_TEXT))
    assert len(re.findall(r"(?<!\$)\$[{A-Za-z_]", COMPOSE_TEXT)) == len(re.findall(r"\$\{[A-Z_]+:\?", COMPOSE_TEXT))
    example = names_in(DEPLOY / "compose.env.example")
    assert given <= SETTINGS
    assert read <= example
    assert example <= SETTINGS | OF_COMPOSE
    assert read >= OF_COMPOSE


def test_variables_of_the_units() -> None:
    """What /etc/esassistant.env is to have are settings, and the units set nothing beside it."""
    assert names_in(UNITS / "esassistant.env.example") <= SETTINGS
    for name in ("esassistant.service", "esassistant-refresh.service"):
        lines = unit(name)
        assert ("EnvironmentFile", "/etc/esassistant.env") in lines
        assert "Environment" not in {key for key, _ in lines}


@pytest.mark.parametrize("path", [*DEPLOY.glob("*.example"), *UNITS.glob("*.example")], ids=lambda path: path.name)
def test_examples_have_no_secrets(path: Path) -> None:
    """A secret in an example would be taken over by somebody; what must be filled in is empty."""
    filled = set(re.findall(r"^([A-Z_]+)=.", path.read_text(), re.MULTILINE))
    assert not {name for name in filled if re.search("KEY|TOKEN|PASSWORD", name)}
    assert "@" not in "".join(line for line in path.read_text().splitlines() if not line.startswith("#"))


# Commands


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(instruction("CMD"), id="image"),
        pytest.param(SERVICES["app"]["command"], id="compose"),
        pytest.param(shlex.split(dict(unit("esassistant.service"))["ExecStart"])[2:], id="unit"),
        pytest.param(shlex.split(dict(unit("esassistant-refresh.service"))["ExecStart"])[2:], id="refresh unit"),
        pytest.param(SERVICES["migrate"]["command"], id="migrate"),
    ],
)
def test_commands_are_understood(command: list[str]) -> None:
    """Each command that a file runs exists and knows these options."""
    owner = {"serve": "esassistant", "refresh_cache": "cacheapp", "migrate": "django.core"}[command[0]]
    parser = load_command_class(owner, command[0]).create_parser("manage.py", command[0])
    chosen = vars(parser.parse_args(command[1:]))
    assert command[0] != "serve" or chosen["port"] == 8000
    assert command[0] != "refresh_cache" or dict(unit("esassistant-refresh.service"))["SuccessExitStatus"] == str(
        EXIT_NOT_NOW
    )


def test_containers_listen_to_all() -> None:
    """Inside a container, loopback would be reached by nobody; compose publishes the port to this machine only."""
    for command in (instruction("CMD"), SERVICES["app"]["command"]):
        assert command[:3] == ["serve", "--host", "0.0.0.0"]  # noqa: S104
    assert SERVICES["app"]["ports"] == ["127.0.0.1:8000:8000"]
    assert not any("ports" in SERVICES[name] for name in SERVICES.keys() - {"app"})


def test_the_process_gets_the_signal() -> None:
    """No shell stands between the engine and the process, and SIGTERM is what it sends."""
    assert instruction("ENTRYPOINT") == ["python", "manage.py"]
    assert "STOPSIGNAL SIGTERM" in DOCKERFILE


def test_there_is_time_to_drain() -> None:
    """Whoever would kill the service waits for longer than draining and the requests under way may take."""
    needed = settings.ESASSISTANT_SETTINGS["ESASSISTANT_DRAIN_SECONDS"].default + GRACE_SECONDS
    times = {
        "compose": SERVICES["app"]["stop_grace_period"].removesuffix("s"),
        "unit": dict(unit("esassistant.service"))["TimeoutStopSec"],
        "image": re.findall(r"--stop-timeout (\d+)", DOCKERFILE)[0],
    }
    assert {name: float(seconds) >= needed + 10 for name, seconds in times.items()} == dict.fromkeys(times, True)


@pytest.fixture
def answering() -> Iterator[HTTPServer]:
    """A server that answers /livez with the status in `status`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(cast("Any", self.server).status if self.path == "/livez" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_healthcheck(answering: HTTPServer) -> None:
    """The image's check, run as it stands there: 0 when /livez is 200; not 0 when it isn't, or nobody answers."""
    words = instruction("HEALTHCHECK")

    def ends_with(port: int) -> int:
        command = [sys.executable, *(word.replace("8000", str(port)) for word in words[1:])]
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode

    for status, code in ((200, 0), (503, 1)):
        cast("Any", answering).status = status
        assert ends_with(answering.server_port) == code
    assert ends_with(1) != 0


# Contents and rights


def test_what_goes_into_the_image() -> None:
    """Only what the service needs: the project's own apps, and how they are started."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")]
    assert lines[0] == "*"
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    own = {app for app in settings.INSTALLED_APPS if (ROOT / app.partition(".")[0]).is_dir()}
    assert let_in == {"manage.py", "requirements.txt", "requirements-mcp.txt", *own}


def test_files_with_secrets_are_not_committed() -> None:
    """Nor are they in the image, which lets in only what it names."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {".env", "tokens.toml", "webhooks.toml"} <= set(ignored)


def test_the_final_stage() -> None:
    """It runs as an ordinary user, who owns only the place of the database, and installs nothing."""
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\d+)$", final, re.MULTILINE) == re.findall(r"--uid (\d+)", final)
    assert not re.search(r"apt-get|pip|gcc|build-essential", final)


def test_rights_in_compose() -> None:
    """The service can write nothing but its database, and gains no rights."""
    for name in ("app", "migrate", "redis"):
        assert SERVICES[name]["read_only"]
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


def test_both_units_are_confined_alike() -> None:
    """What the service may not, the refresh may not."""
    confined = [
        lines[[key for key, _ in lines].index("StateDirectory") :]
        for lines in map(unit, ("esassistant.service", "esassistant-refresh.service"))
    ]
    assert confined[0][: len(confined[1])] == confined[1]
    assert confined[0][len(confined[1]) :] == [("WantedBy", "multi-user.target")]


# Linters


def lint(*command: str | Path) -> None:
    """Whatever it says is a complaint."""
    linted = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


def test_hadolint() -> None:
    """hadolint has nothing against the Dockerfile."""
    lint(Path(sys.executable).with_name("hadolint"), DEPLOY / "Dockerfile")


def test_the_compose_schema() -> None:
    """The compose file is one by the Compose Specification."""
    lint(
        *(sys.executable, "-m", "check_jsonschema", "--quiet", "--builtin-schema", "vendor.compose-spec"),
        DEPLOY / "compose.yml",
    )


def test_docker_compose_reads_it(tmp_path: Path) -> None:
    """`docker compose config` accepts the file with its example filled in. It needs no engine."""
    if not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed here (apt-get install docker-compose-plugin, from Docker)")
    shutil.copy(DEPLOY / "compose.yml", tmp_path)
    filled = re.sub(r"=$", "=0123456789abcdef", (DEPLOY / "compose.env.example").read_text(), flags=re.MULTILINE)
    (tmp_path / ".env").write_text(filled)
    lint("docker", "compose", "-f", tmp_path / "compose.yml", "config", "--quiet")


def test_systemd_reads_them(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing against the units, with a Python that is there."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed here (apt-get install systemd)")
    for path in (*UNITS.glob("*.service"), *UNITS.glob("*.timer")):
        text = path.read_text().replace("/opt/esassistant/.venv/bin/python", sys.executable)
        (tmp_path / path.name).write_text(text)
    lint("systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir()))


def test_the_documentation_names_every_file() -> None:
    """docs/operations.md says what each file is for."""
    document = (ROOT / "docs" / "operations.md").read_text()
    files = [DEPLOY / "Dockerfile", *DEPLOY.glob("compose*"), *UNITS.iterdir()]
    assert [path.name for path in files if f"`{path.name}`" not in document] == []


def test_the_role() -> None:
    """The role that the documents show, as it is and for an API key, is the file with which the tests run."""
    role = json.loads((DEPLOY / "elasticsearch" / "role.json").read_text())
    shown = (ROOT / "docs" / "operations.md").read_text().split("```json\n")[1].split("```")[0]
    commands = re.findall(r"-d '\n(\{.*?\n\})'", (ROOT / "docs" / "security.md").read_text(), re.DOTALL)
    assert json.loads(shown) == role
    assert json.loads(commands[0]) == role
    assert json.loads(commands[1])["role_descriptors"]["esassistant"] == role
