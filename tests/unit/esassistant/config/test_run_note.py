"""What `make run` notes for commands in its folder, and what they make of it once it has ended, however it did."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from esassistant.config import read
from esassistant.config.model import NodeUrls, Origin
from esassistant.config.run_note import (
    ELSEWHERE,
    IS_ELSEWHERE,
    IS_STARTING,
    NOT_RUNNING,
    NOTE,
    RunNote,
    RunsAlready,
    hold_note,
    read_note,
)
from esassistant.config.shown import shown_settings
from esassistant.elasticsearch.client import sync_client

DEBUG = {"DEBUG": "true"}
NODE = "http://127.0.0.1:23456"
HOLDER = """
import sys, time
from pathlib import Path
from esassistant.config.run_note import hold_note
with hold_note(Path(sys.argv[1])) as note:
    note(sys.argv[2])
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holding(folder: Path, text: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process holds the note."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder), text], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_none_without_make_run(tmp_path: Path) -> None:
    """Where `make run` never started a node the default holds."""
    assert read_note(tmp_path) is None
    config, settings = read(DEBUG, tmp_path)
    assert (config.elasticsearch.urls, config.elasticsearch.no_node) == (("http://127.0.0.1:9200",), "")
    assert settings["ELASTICSEARCH_URL"].origin is Origin.DEFAULT


def test_each_folder_has_its_own_node(tmp_path: Path) -> None:
    """Commands of two checkouts side by side each reach their own node."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with holding(tmp_path / "one", NODE), holding(tmp_path / "two", "http://127.0.0.1:9200"):
        for name, url in (("one", NODE), ("two", "http://127.0.0.1:9200")):
            config, settings = read(DEBUG, tmp_path / name)
            assert (config.elasticsearch.urls, config.elasticsearch.no_node) == ((url,), "")
            assert settings["ELASTICSEARCH_URL"].origin is Origin.RUN


def test_a_note_of_one_that_was_killed(tmp_path: Path) -> None:
    """After `kill -9` the note is still there, and says that nothing runs: nobody is sent to port 9200 instead."""
    with holding(tmp_path, NODE) as process:
        process.kill()
        process.wait()
        assert (tmp_path / NOTE).read_text() == NODE
        assert read_note(tmp_path) == RunNote("", NOT_RUNNING)
    config, settings = read(DEBUG, tmp_path)
    assert (config.elasticsearch.urls, config.elasticsearch.no_node) == ((), NOT_RUNNING)
    [shown] = [each for each in shown_settings(settings) if each.name == "ELASTICSEARCH_URL"]
    assert shown.cells() == ("ELASTICSEARCH_URL", "not set", "http://127.0.0.1:9200", "make run")
    with pytest.raises(ImproperlyConfigured, match="isn't running"):
        sync_client(config.elasticsearch)


@pytest.mark.parametrize("where", ["environment", "file"])
@pytest.mark.parametrize("is_running", [True, False])
def test_a_url_of_your_own_wins(tmp_path: Path, where: str, is_running: bool) -> None:
    """In the environment or in `.env`, whether `make run` runs or has ended."""
    own = {"ELASTICSEARCH_URL": "https://es.example.org"}
    if where == "file":
        (tmp_path / ".env").write_text("ELASTICSEARCH_URL=https://es.example.org\n")
    with hold_note(tmp_path) as note:
        note(NODE)
        if is_running:
            config, settings = read(DEBUG | (own if where == "environment" else {}), tmp_path)
    if not is_running:
        config, settings = read(DEBUG | (own if where == "environment" else {}), tmp_path)
    assert (config.elasticsearch.urls, config.elasticsearch.no_node) == (("https://es.example.org:443",), "")
    assert settings["ELASTICSEARCH_URL"].value == NodeUrls(("https://es.example.org:443",))


def test_what_runs_without_a_node_of_its_own(tmp_path: Path) -> None:
    """While the node starts, and where `make run` got its cluster from its environment, the problem says so."""
    with hold_note(tmp_path) as note:
        assert read_note(tmp_path) == RunNote("", IS_STARTING)
        note(ELSEWHERE)
        assert read_note(tmp_path) == RunNote("", IS_ELSEWHERE)
        note("")
        assert read_note(tmp_path) == RunNote("", IS_STARTING)


def test_one_at_a_time(tmp_path: Path) -> None:
    """A second `make run` in a folder is refused, and the note of the first stays; after its end the note is free."""
    with hold_note(tmp_path) as note:
        note(NODE)
        with pytest.raises(RunsAlready), hold_note(tmp_path):
            pass
        assert read_note(tmp_path) == RunNote(NODE, "")
    with hold_note(tmp_path):
        assert read_note(tmp_path) == RunNote("", IS_STARTING)
