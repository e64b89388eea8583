"""A file of entries that is followed: what is written there is in force a few seconds later, in each process, without a
restart.
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
    """What a file is told from another one by, and from itself before it was changed. `changed_ns`: when its mode or
    owner last did, too, as it may have become readable by that.
    """

    device: int
    inode: int
    size_bytes: int
    written_ns: int
    changed_ns: int


def kept_entries(setting: str, error: str) -> str:
    """Say what is wrong with a file, and what that means."""
    return f"{setting} {error}. What it said before stays in force, also what was taken out since."


class FollowedFile(Generic[E]):
    """One per file and process. `keep_following` is its background task."""

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
            entries: what the file said when the settings were read; they are in force already.
            load: reads the file, in a thread; raises `BadFile`.
            put_in_force: is called with what the file says, whenever that is something else.
            noun: what its entries are, for people, such as `tokens`.
            setting: what names the file.
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
        """Why what the file says now isn't in force; None: it is."""
        self.reads_total = 0

    @property
    def kept(self) -> str | None:
        """For people: what is wrong with the file, and what that means; None: nothing is."""
        if self.error is None:
            return None
        return kept_entries(self._setting, self.error)

    @property
    def written_at(self) -> float | None:
        """When the file was last written, by the wall clock in seconds since 1970; None: it isn't known."""
        return None if self._mark is None else self._mark.written_ns / 1e9

    async def ping(self) -> PingResult:
        """Say whether what the file says is in force."""
        health = Health.HEALTHY if self.error is None else Health.DEGRADED
        return PingResult(health, self.kept, {self._noun: len(self.entries)})

    async def keep_following(self) -> None:
        """Background task: look every few seconds."""
        while True:
            await self._sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Put in force what the file says, if it was changed since the last look and can be used."""
        try:
            mark, found = await asyncio.to_thread(self._read, self._mark)
        except BadFile as error:
            # Read again at the next look, whatever its mark: a disk may be there again.
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
        """Return the mark of the file and what it says; None where it has the mark that is `known`. Raises `BadFile`.

        The mark is taken before: what is written meanwhile is found at the next look.
        """
        try:
            found = self._path.stat()
        except OSError as error:
            raise BadFile(f"can't be read ({error.strerror or type(error).__name__})") from None
        mark = Mark(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        return (mark, None) if mark == known else (mark, self._load(self._path))
