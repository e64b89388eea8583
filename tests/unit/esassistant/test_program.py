"""Messages name the command by which this installation is called."""

import pytest

from esassistant.program import program_of


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["/venv/bin/esassistant", "serve"], "esassistant"),
        (["esassistant.exe", "serve"], "esassistant"),
        (["manage.py", "serve"], "manage.py"),
        (["/venv/bin/uvicorn", "shop.asgi:application"], "manage.py"),
        ([], "manage.py"),
    ],
)
def test_what_it_is_called(arguments: list[str], name: str) -> None:
    """A wheel installs `esassistant`; everywhere else there is a manage.py."""
    assert program_of(arguments) == name
