"""Follows a file of entries. A change of the file is in force a few seconds later, in each process,
without a restart.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

from esassistant.clock import Sleep
from esassistant.config.toml_file import BadFile
from esassistant.resource import Health, PingResult

logger = logging.getLogger(__name__)

E = TypeVar("E")

LOOK_SECONDS: Final = 5.0


class Mark(NamedTuple):
    """Tells whether a file was replaced or changed since the last look. `changed_ns`: also the time of the last change
    of mode or owner, which may have made it readable.
    """

    device: int
    inode: int
    size_bytes: int
    written_ns: int
    changed_ns: int


def kept_entries(setting: str, error: str) -> str:
    """Return a sentence that says what is wrong with a file, and one that says that its former entries are used."""
    return f"{setting} {error}. What it said before stays in force, even entries removed since."


class FollowedFile(Generic[E]):
    """Follows one file. One per file and process. `keep_following` is its background task."""

    def __init__(
        self,
        path: Path,
        entries: tuple[E, ...],
        load: Callable[[Path], tuple[E, ...]],
        put_in_force: Callable[[tuple[E, ...]], object] = lambda _: None,
        *,
        noun: str,
        setting: str,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """
        Args:
            entries: The entries when the settings were read; they are in force already.
            load: Reads the file, in a thread; raises `BadFile`.
            put_in_force: Called with the entries whenever they have changed.
            noun: What the entries are, for people, such as `tokens`.
            setting: The setting that names the file.
        """
        self._path = path
        self._load = load
        self._put_in_force = put_in_force
        self._noun = noun
        self._setting = setting
        self._sleep = sleep
        self._mark: Mark | None = None
        self.entries = entries
        self.error: str | None = None
        """Why the present content of the file isn't in force; None if it is."""
        self.reads_total = 0

    @property
    def kept(self) -> str | None:
        """What is wrong with the file and what that means, for people; None if nothing is wrong."""
        if self.error is None:
            return None
        return kept_entries(self._setting, self.error)

    @property
    def written_at(self) -> float | None:
        """When the file was last written, by the wall clock in seconds since 1970; None if that isn't known."""
        return None if self._mark is None else self._mark.written_ns / 1e9

    async def ping(self) -> PingResult:
        """Report whether the present content of the file is in force."""
        health = Health.HEALTHY if self.error is None else Health.DEGRADED
        return PingResult(health, self.kept, {self._noun: len(self.entries)})

    async def keep_following(self) -> None:
        """Background task: look every few seconds."""
        while True:
            await self._sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Put the content of the file in force, if it has changed since the last look and can be used."""
        try:
            mark, found = await asyncio.to_thread(self._read, self._mark)
        except BadFile as error:
            # Read it again at the next look even if its mark is the same: the disk may be back by then.
            self._mark = None
            self._note_error(str(error))
            return
        if found is None:
            return
        self._mark = mark
        self.reads_total += 1
        if found != self.entries or self.error is not None:
            self.entries = found
            self._put_in_force(found)
            logger.info("%d %s of %s are in force", len(found), self._noun, self._path)
        self.error = None

    def _note_error(self, error: str) -> None:
        self.reads_total += 1
        is_news = error != self.error
        self.error = error
        if is_news:
            logger.error("%s: %s", self._path, self.kept)

    def _read(self, known: Mark | None) -> tuple[Mark, tuple[E, ...] | None]:
        """Return the mark of the file and its entries. In place of the entries return None if the mark equals `known`.
        Raise `BadFile` if the file can't be read, or if an entry is wrong.

        The mark is taken before the file is read, so a change in between is found at the next look.
        """
        try:
            found = self._path.stat()
        except OSError as error:
            raise BadFile(f"can't be read ({error.strerror or type(error).__name__})") from None
        mark = Mark(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        return (mark, None) if mark == known else (mark, self._load(self._path))
