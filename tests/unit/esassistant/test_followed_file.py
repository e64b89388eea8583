"""Following a file of entries, whatever they are; that of tokens holds more (http/test_tokens_file.py)."""

import asyncio
import os
from pathlib import Path

from esassistant.config.toml_file import BadFile
from esassistant.followed_file import FollowedFile


def load(path: Path) -> tuple[str, ...]:
    text = path.read_text()
    if "bad" in text:
        raise BadFile("has a bad word")
    return tuple(text.split())


def test_entries(tmp_path: Path) -> None:
    """What the file says is in `entries`, and is given to who puts it in force, when it is something else."""
    path = tmp_path / "words"
    path.write_text("a b")
    given: list[tuple[str, ...]] = []
    file = FollowedFile(path, ("a", "b"), load, given.append, noun="words", setting="WORDS")
    assert (file.kept, file.written_at) == (None, None)
    os.utime(path, (1_000.0, 1_000.5))
    asyncio.run(file.look())
    assert (given, file.written_at) == ([], 1_000.5)
    path.write_text("a b c")
    asyncio.run(file.look())
    assert given == [("a", "b", "c")] == [file.entries]
    path.write_text("bad")
    asyncio.run(file.look())
    assert (file.entries, file.written_at) == (("a", "b", "c"), None)
    assert file.kept == "WORDS has a bad word. What it said before stays in force, even entries removed since."
    assert file.reads_total == 3
