"""What the access log shows of a request, in both its forms; and that nobody's path tells secrets, or disturbs."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esassistant import masking
from esassistant.http.access_log import MAX_PATH_CHARACTERS, STANDARD_OUTPUT, AccessLog
from esassistant.masking import MASK, remember_secrets
from tests.support.access_logs import a_line, on_pipe, on_terminal

SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests know one secret; those of the settings come back afterwards."""
    monkeypatch.setattr(masking, "_known", None)
    remember_secrets([SECRET])
    yield
    monkeypatch.undo()


def test_lines_for_programs() -> None:
    """Where no terminal is, each request is one line of JSON with all that is known of it."""
    lines = on_pipe(a_line(), a_line("/x", status=None, client=None, route=None, door="django")).splitlines()
    assert list(map(json.loads, lines)) == [
        {
            "time": "2026-03-04T05:06:07.891000Z",
            "request_id": "r-1",
            "client": "10.0.0.1",
            "method": "GET",
            "path": "/api/mappings",
            "route": "/api/mappings",
            "door": "hot",
            "status": 200,
            "duration_ms": 0.123,
            "bytes": 17,
        },
        {
            "time": "2026-03-04T05:06:07.891000Z",
            "request_id": "r-1",
            "client": None,
            "method": "GET",
            "path": "/x",
            "route": None,
            "door": "django",
            "status": None,
            "duration_ms": 0.123,
            "bytes": 17,
        },
    ]


def test_lines_for_people() -> None:
    """On a terminal a line is short, and says of who left before the answer that there was none."""
    shown = on_terminal(a_line(), a_line("/ä", status=None, method="POST", duration_ms=1234.56, door="django"))
    assert shown.splitlines() == [
        "05:06:07 200 GET /api/mappings 0.1 ms (hot)",
        "05:06:07 --- POST /\\xe4 1234.6 ms (django)",
    ]


def test_a_file_is_no_terminal(tmp_path: Path) -> None:
    """A log that goes to a file is JSON, and is added to it."""
    with (tmp_path / "log").open("wb") as file:
        log = AccessLog(file.fileno())
        for path in ("/a", "/b"):
            log.write(a_line(path))
            asyncio.run(log.write_waiting())
    assert [json.loads(line)["path"] for line in (tmp_path / "log").read_bytes().splitlines()] == ["/a", "/b"]


def test_standard_output() -> None:
    """The log of the process is what it writes to standard output, and to nothing else."""
    code = (
        "import asyncio; from datetime import datetime; from esassistant.http.access_log import *;"
        "access_log.write(Line(datetime.min, 'r', None, 'GET', '/a', None, 'hot', 200, 1.0, 0));"
        "asyncio.run(access_log.write_waiting())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=20)
    assert json.loads(done.stdout)["path"] == "/a"
    assert done.stderr == b""
    assert STANDARD_OUTPUT == sys.__stdout__.fileno() == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (f"/login/{SECRET}/x", f"/login/{MASK}/x"),
        ("/password=hunter2/x", f"/password={MASK}"),
        ("/go/https://me:hunter2@host/", "/go/https://host/"),
    ],
)
def test_secrets_are_masked(path: str, shown: str) -> None:
    """No secret of this process gets into the log by a path, nor what has the form of one; in neither form of the log."""
    assert json.loads(on_pipe(a_line(path)))["path"] == shown
    assert f" GET {shown} 0.1 ms" in on_terminal(a_line(path))


@pytest.mark.parametrize("before", range(MAX_PATH_CHARACTERS - len(SECRET) - 2, MAX_PATH_CHARACTERS + 2))
def test_the_end_cuts_through_no_secret(before: int) -> None:
    """Where a path is cut in the middle of a secret, its beginning isn't shown either."""
    path = "/".ljust(before, "x") + SECRET + "/more" * 100
    shown = json.loads(on_pipe(a_line(path)))["path"]
    assert shown.rstrip("*/more") == "/".ljust(min(before, MAX_PATH_CHARACTERS), "x")


@pytest.mark.parametrize("length", [MAX_PATH_CHARACTERS - 1, MAX_PATH_CHARACTERS, MAX_PATH_CHARACTERS + 1, 100_000])
def test_long_paths_are_cut(length: int) -> None:
    """A path is shown up to a number of characters, whole as long as it is no longer."""
    path = "/".ljust(length, "ä")
    assert json.loads(on_pipe(a_line(path)))["path"] == path[:MAX_PATH_CHARACTERS]
    assert path[:MAX_PATH_CHARACTERS].replace("ä", "\\xe4") in on_terminal(a_line(path))


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters() | st.sampled_from('\n\r\t\x1b\x9b\x7f\u2028\u202e\ud800"\\%€'), max_size=80))
def test_no_path_breaks_a_line_or_a_terminal(path: str) -> None:
    """Whatever a path is made of, it makes one line, with nothing in it that would steer the terminal that shows it; what
    can be shown is.
    """
    as_json = on_pipe(a_line(f"/{path}")).decode()
    assert as_json.endswith("}\n")
    assert as_json[:-1].isprintable()
    shown = json.loads(as_json)["path"]
    if MASK not in shown:
        assert shown == "/" + "".join(each if each.isprintable() else "?" for each in path)
    for_people = on_terminal(a_line(f"/{path}"))
    assert for_people.endswith(" 0.1 ms (hot)\r\n")
    assert for_people[:-2].isprintable()
    assert len(for_people.splitlines()) == 1
