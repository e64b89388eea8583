"""`manage.py make_token` prints an entry that the file takes, and a token that it stands for."""

import subprocess
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from esassistant.config.tokens import Right, digest_of, parse_tokens
from tests.support.settings import GOOD, run


def made(*arguments: str) -> tuple[str, str]:
    """The entry, and the token."""
    out, error = StringIO(), StringIO()
    call_command("make_token", *arguments, stdout=out, stderr=error)
    return out.getvalue(), error.getvalue().split()[-1]


def test_a_token() -> None:
    """The entry has what was asked for and the digest of the token, not the token; each token is another."""
    entry, token = made(
        *("logs-agent", "--may", "read", "search", "--indices", "logs-*", "metrics"),
        *("--expires", "2027-06-30", "--max-in-flight", "8"),
    )
    [found] = parse_tokens(entry)
    assert (found.name, found.sha256, found.indices, found.max_in_flight) == (
        "logs-agent",
        digest_of(token.encode()),
        ("logs-*", "metrics"),
        8,
    )
    assert found.may == {Right.READ, Right.SEARCH}
    assert found.expires is not None
    assert token not in entry
    assert len(token) >= 47
    assert made("logs-agent", "--indices", "*")[1] != token


def test_what_may_be_left_out() -> None:
    """A token reads, and never ends, unless told."""
    [found] = parse_tokens(made("a", "--indices", "*")[0])
    assert found.may == {Right.READ}
    assert (found.expires, found.max_in_flight) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("api", "--indices", "*"), "a name has 1 to 64"),
        (('a"\nmay = ["search"]', "--indices", "*"), "a name has 1 to 64"),
        (("a", "--indices", "-x*"), "expected at least one argument"),
        (("a", "--indices", "a,b"), "can't be the name"),
        (("a", "--indices", "*", "--expires", "soon"), "expires is a date such as"),
        (("a", "--indices", "*", "--expires", "2027-06-30T18:00:00"), "expires needs an offset"),
        (("a", "--indices", "*", "--max-in-flight", "0"), "max_in_flight is a whole number"),
        (("a", "--indices", "*", "--may", "write"), "invalid choice: 'write'"),
        (("a",), "required: --indices"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], message: str) -> None:
    """What the file would not take is said before anything is printed."""
    out = StringIO()
    with pytest.raises(CommandError, match=message):
        call_command("make_token", *arguments, stdout=out, stderr=StringIO())
    assert out.getvalue() == ""


def test_by_the_shell(tmp_path: Path) -> None:
    """What is appended to a file by the shell is an entry that the settings take; the token is on standard error."""
    done: subprocess.CompletedProcess[str] = run("manage.py", "make_token", "agent", "--indices", "logs-*", **GOOD)
    assert done.returncode == 0
    assert done.stderr.startswith("The token, shown this once: esa_")
    file = tmp_path / "tokens.toml"
    file.write_text(done.stdout)
    shown = run("manage.py", "config", "--changed", **{**GOOD, "ESASSISTANT_TOKENS_FILE": str(file)})
    assert (shown.returncode, shown.stderr) == (0, "")
    assert str(file) in shown.stdout


def test_a_bad_file_at_the_start(tmp_path: Path) -> None:
    """It is named with what is wrong, before anything starts."""
    file = tmp_path / "tokens.toml"
    file.write_text('[[token]]\nname = "a"\n')
    done = run("manage.py", "check", **{**GOOD, "ESASSISTANT_TOKENS_FILE": str(file)})
    assert done.returncode != 0
    assert f"ESASSISTANT_TOKENS_FILE: {file} token 1 'a' (line 1): sha256 is missing" in done.stderr
