"""Following the file of tokens: what it says comes into force, and what can't be read leaves the old."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from esassistant.config.tokens import Right, ScopedToken, digest_of, load_tokens
from esassistant.followed_file import LOOK_SECONDS
from esassistant.http.callers import Tokens
from esassistant.http.tokens_file import TokensFile, TokensFileReport, tokens_file_rules
from esassistant.resource import Health


def entry(name: str) -> str:
    return f'[[token]]\nname = "{name}"\nsha256 = "{digest_of(name.encode())}"\nmay = ["read"]\nindices = ["*"]\n'


def names(tokens: Tokens) -> list[str]:
    """Which of the tests' tokens are in force."""
    return [name for name in ("a", "b", "c") if tokens.find(name) is not None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.toml"
    path.write_text(entry("a"))
    return path


def following(path: Path) -> tuple[Tokens, TokensFile]:
    tokens, scoped = Tokens(), load_tokens(path)
    tokens.put_in_force(scoped)
    return tokens, TokensFile(path, scoped, tokens)


def test_what_is_written_comes_into_force(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A token that is added is found, one that was taken out isn't, whether the file was written or replaced."""
    tokens, file = following(path)
    with caplog.at_level(logging.INFO):
        asyncio.run(file.look())
        assert caplog.records == []  # nothing is new
        path.write_text(entry("a") + entry("b"))
        asyncio.run(file.look())
        assert names(tokens) == ["a", "b"]
        replacing = path.with_suffix(".new")
        replacing.write_text(entry("c") + "#" * len(entry("a") + entry("b")))
        replacing.replace(path)
        asyncio.run(file.look())
    assert names(tokens) == ["c"]
    assert [record.getMessage() for record in caplog.records] == [
        f"2 tokens of {path} are in force",
        f"1 tokens of {path} are in force",
    ]
    assert file.report() == TokensFileReport(1, readable=True, error=None, reads_total=3)
    assert list(tokens_file_rules(file.report())) == []


def test_an_unchanged_file_is_not_read(path: Path) -> None:
    """Looking costs one `stat`."""
    _, file = following(path)
    for _ in range(3):
        asyncio.run(file.look())
    assert file.report().reads_total == 1


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (
            lambda path: path.write_text(entry("b") + entry("b")),
            "token 2 'b' (line 6): token 1 'b' (line 1) has the same",
        ),
        (lambda path: path.write_text("[[token"), "is not TOML"),
        (lambda path: path.unlink(), "can't be read (No such file or directory)"),
        (lambda path: (path.unlink(), path.mkdir()), "is no regular file"),
    ],
)
def test_a_bad_file_leaves_the_old_in_force(
    path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], object], error: str
) -> None:
    """It is said once in the log, for as long as it lasts in health, advice and metrics; and over when it is."""
    tokens, file = following(path)
    spoil(path)
    for _ in range(3):
        asyncio.run(file.look())
    assert names(tokens) == ["a"]
    assert len(caplog.records) == 1
    assert error in caplog.text
    assert "stays in force" in caplog.text
    report = file.report()
    assert (report.tokens, report.readable) == (1, False)
    assert error in (report.error or "")
    [advice] = tokens_file_rules(report)
    assert error in str(advice)
    ping = asyncio.run(file.ping())
    assert ping.health is Health.DEGRADED
    assert error in (ping.detail or "")
    if path.is_dir():
        path.rmdir()
    path.write_text(entry("a"))
    asyncio.run(file.look())
    assert file.report().readable
    assert (asyncio.run(file.ping())).health is Health.HEALTHY


def test_a_file_that_becomes_readable(path: Path) -> None:
    """Also one that is what it was, and could not be read for a while."""
    tokens, file = following(path)
    asyncio.run(file.look())
    hidden = path.with_suffix(".hidden")
    path.rename(hidden)
    asyncio.run(file.look())
    assert not file.report().readable
    hidden.rename(path)
    asyncio.run(file.look())
    assert file.report().readable
    assert names(tokens) == ["a"]


async def test_it_is_followed(path: Path) -> None:
    """The task looks every five seconds, for as long as the process serves."""
    slept: list[float] = []
    tokens = Tokens()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            path.write_text(entry("b"))  # noqa: ASYNC240  (a test's own small file)
        if len(slept) == 3:
            raise asyncio.CancelledError

    scoped = (ScopedToken("a", digest_of(b"a"), frozenset({Right.READ}), ("*",)),)
    with pytest.raises(asyncio.CancelledError):
        await TokensFile(path, scoped, tokens, sleep=sleep).keep_following()
    assert slept == [LOOK_SECONDS] * 3
    assert names(tokens) == ["b"]


def test_api_tokens_stay_what_they_are(path: Path) -> None:
    """A file that would narrow a token that may do everything is refused."""
    _, file = following(path)
    path.write_text(entry("test-token-0123456789"))
    asyncio.run(file.look())
    assert "is in ESASSISTANT_API_TOKENS too" in (file.report().error or "")
