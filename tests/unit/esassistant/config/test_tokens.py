"""The file of tokens: what it may say, and what is said of one that can't be used."""

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.config.tokens import (
    Right,
    ScopedToken,
    digest_of,
    load_tokens,
    parse_tokens,
)
from esassistant.config.toml_file import MAX_FILE_BYTES, BadFile

DIGEST = digest_of(b"one")
ENTRY = f"""
[[token]]
name = "logs-agent"
sha256 = "{DIGEST.upper()}"
may = ["read", "search", "read"]
indices = ["logs-*", ".ds-*x*", "Upper"]
expires = 2027-01-31T18:00:00+02:00
max_in_flight = 4
"""


def entry(**changed: str) -> str:
    """An entry with other values, as TOML; empty: without that key."""
    values = {
        "name": '"a"',
        "sha256": f'"{DIGEST}"',
        "may": '["read"]',
        "indices": '["*"]',
        **changed,
    }
    return "[[token]]\n" + "".join(f"{key} = {value}\n" for key, value in values.items() if value)


def test_an_entry() -> None:
    """Everything that an entry may say; the digest in lower case, the end in UTC."""
    assert parse_tokens(ENTRY) == (
        ScopedToken(
            "logs-agent",
            DIGEST,
            frozenset({Right.READ, Right.SEARCH}),
            ("logs-*", ".ds-*x*", "Upper"),
            datetime(2027, 1, 31, 16, tzinfo=UTC),
            4,
        ),
    )


def test_what_may_be_left_out() -> None:
    """A token without an end or a bound; a file without tokens; an end that is a day, which is its first moment."""
    assert parse_tokens(entry()) == (ScopedToken("a", DIGEST, frozenset({Right.READ}), ("*",)),)
    assert parse_tokens("") == parse_tokens("# nobody yet\n") == ()
    assert parse_tokens(entry(expires="2027-01-31"))[0].expires == datetime(2027, 1, 31, tzinfo=UTC)


def test_digests_are_not_shown() -> None:
    """Of an entry everything is shown but what it is compared with."""
    assert DIGEST not in repr(parse_tokens(ENTRY))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[token]\n", r"^is not TOML: .*line 1"),
        ("tokens = []", "has the unknown key 'tokens'; write entries as"),
        ("[token]\nname = 'a'", "is no .*two brackets on each side"),
        ("token = [1]", "is no .*two brackets on each side"),
        (entry(colour="1"), r"^token 1 'a' \(line 1\): there is no key 'colour'; use name, sha256, may,"),
        *((entry(**{key: ""}), rf"\(line 1\): {key} is missing") for key in ("name", "sha256", "may", "indices")),
        (entry(name='""'), r"^token 1 \(line 1\): a name has 1 to 64 of letters"),
        (entry(name='"a b"'), "a name has 1 to 64"),
        (entry(name='"' + "x" * 65 + '"'), "a name has 1 to 64"),
        (entry(name="1"), "a name has 1 to 64"),
        (entry(name='"api"'), "is neither 'api' nor 'other'"),
        (entry(name='"other"'), "is neither 'api' nor 'other'"),
        (entry(sha256='"abc"'), "sha256 is the SHA-256 of the token in 64 hexadecimal digits"),
        (entry(sha256="1"), "64 hexadecimal digits"),
        (entry(may='"read"'), 'may is a list of some of "read", "search", "refresh"'),
        (entry(may="[]"), "may is a list"),
        (entry(may='["read", "write"]'), "there is no right 'write'; use some of"),
        (entry(may="[[1]]"), r"there is no right '\[1\]'"),
        (entry(indices='"*"'), r'indices is a list of names and patterns, such as \["logs-\*"\]'),
        (entry(indices="[]"), "indices is a list"),
        (entry(indices="[1]"), "indices is a list"),
        *(
            (entry(indices=f"[{pattern!r}]"), "can't be the name of an index, alias or data stream, nor a pattern")
            for pattern in ("", "a,b", "a b", "-logs-*", "_all", "**", "a/b", "cluster:index", "a?")
        ),
        (entry(expires='"2027-01-31"'), "expires is a date without quotes"),
        (entry(expires="12:00:00"), "expires is a date without quotes"),
        (entry(expires="2027-01-31T18:00:00"), "needs an offset, such as Z for UTC: 2027-01-31T18:00:00Z"),
        (entry(max_in_flight="0"), "max_in_flight is a whole number from 1"),
        (entry(max_in_flight="true"), "max_in_flight is a whole number"),
        (entry(max_in_flight="1.5"), "max_in_flight is a whole number"),
        (
            entry() + entry(sha256=f'"{digest_of(b"two")}"'),
            r"token 2 'a' \(line 6\): token 1 'a' \(line 1\) has the same name",
        ),
        (entry() + entry(name='"b"'), r"token 2 'b' \(line 6\): token 1 'a' \(line 1\) has the same sha256"),
        (f'token = [{{name = "a", sha256 = "{DIGEST}", may = ["read"]}}]', "^token 1 'a': indices is missing"),
    ],
)
def test_what_is_wrong(text: str, message: str) -> None:
    """It is said of which entry, on which line, and what to write; no digest is repeated."""
    with pytest.raises(BadFile, match=message) as caught:
        parse_tokens(text)
    assert DIGEST not in str(caught.value)


def test_nothing_is_narrowed_that_may_do_everything() -> None:
    """A token of ESASSISTANT_API_TOKENS has no entry: one of the two would be without effect."""
    with pytest.raises(BadFile, match="this token is in ESASSISTANT_API_TOKENS too"):
        parse_tokens(entry(), ["zero", "one"])


@given(st.text())
def test_no_text_is_a_crash(text: str) -> None:
    """Whatever the file has in it is a list of tokens, or an error that says so."""
    with suppress(BadFile):
        parse_tokens(text)


def test_a_pipe_is_no_file_of_tokens(tmp_path: Path) -> None:
    """It is refused unopened, as that would wait for somebody to write to it; so is a folder."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(BadFile, match="is no regular file"):
            load_tokens(path)


def test_files(tmp_path: Path) -> None:
    """A file is read whole; one that can't be, is too large or no text is said to be so."""
    path = tmp_path / "tokens.toml"
    with pytest.raises(BadFile, match=r"can't be read \(No such file or directory\)"):
        load_tokens(path)
    path.write_text(ENTRY)
    assert load_tokens(path) == parse_tokens(ENTRY)
    path.write_bytes(b"\xff")
    with pytest.raises(BadFile, match="is not UTF-8"):
        load_tokens(path)
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(BadFile, match="has more than 1000000 bytes"):
        load_tokens(path)
