"""The note that `make run` writes in its folder, so that commands there reach the node that it started, and no other.

`make run` holds a lock on the note while it lives, and the kernel releases the lock however the process ends. So nobody
has to trust a process id, or a port that another node may use by now.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NOTE = Path(".cache") / "make-run"
STARTING = "starting"
ELSEWHERE = "elsewhere"
LOCK_SECONDS = 1.0
"""How long to try to lock the note. A reader locks it too, but only for a moment."""

NOT_RUNNING = (
    "ELASTICSEARCH_URL is not set, and `make run`, whose node this folder uses, isn't running: "
    "start it, or set ELASTICSEARCH_URL (in .env, for example)."
)
IS_STARTING = "`make run` is still starting its Elasticsearch node: try again in a moment."
IS_ELSEWHERE = "`make run` serves a cluster that ELASTICSEARCH_URL names in its environment alone: set it here too."


class RunsAlready(Exception):
    """Another `make run` already holds the note of this folder."""


@dataclass(frozen=True, slots=True)
class RunNote:
    """The URL of the node that `make run` started. If `url` is empty, `problem` says why there is none."""

    url: str
    problem: str


def read_note(folder: Path) -> RunNote | None:
    """Return the note of the latest `make run` in a folder, or None if there never was one."""
    try:
        with (folder / NOTE).open("rb") as note:
            is_running = not _is_free(note.fileno())
            text = note.read(200).decode(errors="replace").strip()
    except OSError:
        return None
    if not is_running:
        return RunNote("", NOT_RUNNING)
    if text.startswith("http://"):
        return RunNote(text, "")
    return RunNote("", IS_ELSEWHERE if text == ELSEWHERE else IS_STARTING)


@contextmanager
def hold_note(folder: Path) -> Iterator[Callable[[str], None]]:
    """Hold the note of a folder during the block, and give the block a function that writes it.

    Raise `RunsAlready` if another process holds it. The note stays after the block; from then on it says that `make
    run` isn't running.
    """
    path = folder / NOTE
    path.parent.mkdir(exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def write(text: str) -> None:
        # Write in place, as the lock belongs to the open file and not to its name. A reader who comes in between is
        # told that the node is starting.
        os.ftruncate(file, 0)
        os.pwrite(file, text.encode(), 0)

    try:
        _lock(file)
        write(STARTING)
        yield write
    finally:
        os.close(file)


def _is_free(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock(file: int) -> None:
    ends_at = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > ends_at:
                raise RunsAlready from None
            time.sleep(0.05)
