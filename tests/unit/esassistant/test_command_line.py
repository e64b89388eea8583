"""Commands end with one line where no bug is to blame: a bad setting, a database that is away, output that can't be
written.
"""

import errno
import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, ProgrammingError

from esassistant.command_line import installed, main
from tests.support.settings import GOOD, ROOT, run

AWAY = {**GOOD, "DATABASE_URL": "postgres://somebody:hunter2@127.0.0.1:9/nothing", "ESASSISTANT_API_TOKENS": "x" * 32}
ADA = ("--noinput", "--username", "ada", "--email", "ada@example.org")


@pytest.fixture(autouse=True)
def _loud_outages() -> Iterator[None]:
    """Commands that say themselves that the database is away keep the log from it, for as long as their process."""
    outages = logging.getLogger("esassistant.database.outage")
    level = outages.level
    yield
    outages.setLevel(level)


@pytest.mark.parametrize("arguments", [("migrate",), ("showmigrations",), ("createsuperuser", *ADA), ("flush",)])
def test_a_database_that_is_away(arguments: tuple[str, ...]) -> None:
    """A command that needs the database says in one line where it is, what is wrong and what to do."""
    ended = run("manage.py", *arguments, "--skip-checks", **AWAY)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("The database at 127.0.0.1:9 could not be reached. Start it, or correct DATABASE_URL.")
    assert "hunter2" not in ended.stdout + ended.stderr


def test_where_it_failed() -> None:
    """Who wants the traceback gets it."""
    ended = run("manage.py", "migrate", "--traceback", **AWAY)
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr


def test_a_database_without_tables(tmp_path: object) -> None:
    """A database that was not migrated is told from one that is away."""
    Path(f"{tmp_path}/empty.sqlite3").touch()
    empty = {**GOOD, "DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3"}
    ended = run("manage.py", "createsuperuser", "--skip-checks", *ADA, **empty)
    assert ended.returncode == 1
    assert "The database lacks a table or a column. Run `manage.py migrate`." in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [("config",), ("config", "--format", "json"), ("help",), ("refresh_cache",)])
def test_output_that_cannot_be_written(arguments: tuple[str, ...]) -> None:
    """Where the output can't be written, the exit code and one line say so, whatever the command itself says."""
    environment = {**AWAY, "DATABASE_URL": "sqlite://:memory:", "ELASTICSEARCH_URL": "http://127.0.0.1:9"}
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "The output can't be written: No space left on device."
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_a_reader_that_has_enough() -> None:
    """A pipe that is closed, as `head` does, is not worth a word."""
    command = f"{sys.executable} manage.py config --format json | true; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=AWAY, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (1, "")


def test_no_output() -> None:
    """A command whose output is closed, as in some crontabs, runs to its end."""
    command = ["bash", "-c", f"{sys.executable} manage.py config >&-"]
    ended = subprocess.run(command, cwd=ROOT, env=AWAY, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_other_errors_stay_what_they_are() -> None:
    """A file that can't be read is told by the command, and an unknown command by Django."""
    unread = run("manage.py", "validate", "orders", "/nowhere/search.json", **AWAY)
    assert (unread.returncode, unread.stderr) == (2, "CommandError: /nowhere/search.json: No such file or directory\n")
    assert "Unknown command" in run("manage.py", "nonsense", **AWAY).stderr


class Output(io.StringIO):
    """Standard output as a file, whose flush may fail."""

    def __init__(self, path: Path, failure: OSError | None = None) -> None:
        super().__init__()
        self.file = path.open("w")
        self.failure = failure

    def fileno(self) -> int:
        return self.file.fileno()

    def flush(self) -> None:
        if self.failure is not None:
            raise self.failure


@pytest.mark.parametrize(
    ("raised", "flush", "code"),
    [
        (None, None, None),
        (SystemExit(3), None, 3),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            None,
            "The output can't be written: No space left on device.",
        ),
        (None, OSError(errno.EFBIG, "File too large"), "The output can't be written: File too large."),
        (SystemExit(2), BrokenPipeError(errno.EPIPE, "Broken pipe"), 1),
    ],
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    raised: BaseException | None,
    flush: OSError | None,
    code: int | str | None,
) -> None:
    """The command's own code, unless its output can't be written, be that told at once or when it is flushed."""
    output = Output(tmp_path / "output", flush)
    monkeypatch.setattr("esassistant.command_line._run", Mock(side_effect=raised))
    monkeypatch.setattr("sys.stdout", output)
    with pytest.raises(SystemExit) as ended:
        main(["manage.py", "config"])
    output.file.close()
    assert ended.value.code == code


def test_an_error_that_is_not_of_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other error of the system is a bug, or told by the command itself."""
    monkeypatch.setattr("esassistant.command_line._run", Mock(side_effect=PermissionError(errno.EACCES, "denied")))
    with pytest.raises(PermissionError):
        main(["manage.py", "config"])


def test_no_output_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where standard output is closed, what is printed goes nowhere."""
    run_command = Mock(side_effect=lambda _: print("heard by nobody"))  # noqa: T201  (what a command does)
    monkeypatch.setattr("esassistant.command_line._run", run_command)
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(SystemExit) as ended:
        main(["manage.py", "config"])
    assert sys.stdout is not None
    sys.stdout.close()
    assert ended.value.code is None


def test_the_installed_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a wheel installs runs with the words it was called with."""
    called = Mock()
    monkeypatch.setattr("esassistant.command_line._run", called)
    monkeypatch.setattr("sys.argv", ["esassistant", "config"])
    with pytest.raises(SystemExit):
        installed()
    called.assert_called_once_with(["esassistant", "config"])


def test_the_first_start(tmp_path: Path) -> None:
    """The installed `serve` writes the settings that it can't start without, once, and says where; no other command
    does.
    """
    code = "import sys; sys.argv[0] = 'esassistant'; from esassistant.command_line import installed; installed()"
    home = {"ESASSISTANT_HOME": str(tmp_path)}
    for words, written in ((("config", "--help"), False), (("serve", "--help"), True), (("serve", "--help"), False)):
        ended = run("-c", code, *words, **home)
        assert ("Wrote " in ended.stderr) is written, ended.stderr
        assert (tmp_path / ".env").exists() is (words[0] == "serve")


@pytest.mark.parametrize(
    ("program", "command", "writes"),
    [("esassistant", "serve", True), ("esassistant", "migrate", False), ("manage.py", "serve", False)],
)
def test_who_writes_the_first_settings(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    program: str,
    command: str,
    writes: bool,
) -> None:
    """The installed `serve` alone: it writes a `.env`, says where, and leaves one that is there as it is."""
    monkeypatch.setattr("esassistant.command_line.make_missing", Mock())
    monkeypatch.setattr("django.core.management.execute_from_command_line", Mock())
    for name in ("SECRET_KEY", "ESASSISTANT_ENV_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ESASSISTANT_HOME", str(tmp_path))
    written = tmp_path / ".env"
    for is_first in (True, False):
        with pytest.raises(SystemExit):
            main([program, command])
        assert written.exists() is writes
        assert (str(written) in capsys.readouterr().err) is (writes and is_first)


@pytest.mark.parametrize("words", [("flush",), ("serve",), ("migrate", "--traceback")])
def test_bugs_stay_what_they_are(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    """An error of the database that says nothing of it is a bug, and has a traceback; so has any, on demand."""
    error = OperationalError("away") if "--traceback" in words else ProgrammingError("syntax error")
    monkeypatch.setattr("django.core.management.execute_from_command_line", Mock(side_effect=error))
    monkeypatch.setattr("esassistant.command_line.make_missing", Mock())
    with pytest.raises(type(error)):
        main(["manage.py", *words])


def test_what_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad settings, and a database that can't be used."""
    run_command = Mock(side_effect=[ImproperlyConfigured("SECRET_KEY: is missing"), OperationalError("away")])
    monkeypatch.setattr("django.core.management.execute_from_command_line", run_command)
    for said in ("SECRET_KEY: is missing", "(--traceback shows where it failed.)"):
        with pytest.raises(SystemExit) as ended:
            main(["manage.py", "flush"])
        assert said in str(ended.value.code)
