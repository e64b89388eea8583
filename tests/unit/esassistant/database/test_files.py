"""A file of SQLite that isn't there is made by `serve` and `migrate` alone; all others say which one is missing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from esassistant.database.failures import database_trouble
from esassistant.database.sqlite3.files import MISSING, MissingFile, check_there, make_missing
from tests.support.settings import GOOD, run

ADA = ("--noinput", "--username", "ada", "--email", "ada@example.org")


@pytest.fixture
def _makes_none() -> Iterator[None]:
    make_missing(False)
    yield
    make_missing()


@pytest.mark.usefixtures("_makes_none")
def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is told apart from every other failure; what is an address of SQLite's own is its business."""
    with pytest.raises(MissingFile) as raised:
        check_there(tmp_path / "absent.sqlite3")
    assert database_trouble(raised.value) is MISSING
    check_there(":memory:")
    check_there("file:memorydb_default?mode=memory&cache=shared")
    (tmp_path / "there.sqlite3").touch()
    check_there(str(tmp_path / "there.sqlite3"))
    make_missing()
    check_there(tmp_path / "absent.sqlite3")


def test_commands(tmp_path: Path) -> None:
    """`createsuperuser` and `showmigrations` name the file and make none; `migrate` makes it, and then they work."""
    path = tmp_path / "new.sqlite3"
    environment = {**GOOD, "DATABASE_URL": f"sqlite:///{path}", "DJANGO_SUPERUSER_PASSWORD": "a-long-password"}
    for command in (("createsuperuser", *ADA), ("showmigrations",)):
        ended = run("manage.py", *command, "--skip-checks", **environment)
        assert ended.returncode == 1
        assert f"The database {path} isn't there. `manage.py serve` and `manage.py migrate` make it. (" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
        assert not path.exists()
    assert run("manage.py", "migrate", "--skip-checks", **environment).returncode == 0
    assert path.exists()
    assert run("manage.py", "createsuperuser", *ADA, "--skip-checks", **environment).returncode == 0
