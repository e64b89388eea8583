"""Follows the file of tokens: what is written there is in force a few seconds later, in each process, without a
restart.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings

from esassistant.advice import Advice, Recommendation
from esassistant.clock import Sleep
from esassistant.config.tokens import BadTokens, ScopedToken, load_tokens
from esassistant.http.callers import Tokens
from esassistant.metrics import Kind, Metric
from esassistant.resource import Handle, Health, PingResult, ReportHandle

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0

Mark = tuple[int, ...]
"""What a file is told from another one by, and from itself before it was changed."""


@dataclass(frozen=True, slots=True)
class TokensFileReport:
    """`tokens`: how many of the file are in force. `readable`: what the file says now is in force, or there is none;
    else `error` says why not. `reads_total`: how often it was read since the start.
    """

    tokens: int
    readable: bool
    error: str | None
    reads_total: int


TOKENS_FILE_METRICS = (
    Metric(Kind.GAUGE, "tokens", "Tokens of the file that are in force, expired ones included.", "tokens"),
    Metric(
        Kind.GAUGE,
        "tokens_file_readable",
        "0 while the file of tokens can't be used, and what it said before is in force.",
        "readable",
    ),
)


def tokens_file_rules(report: TokensFileReport) -> Iterable[Advice]:
    """The rule for the file: what it says has to be in force."""
    if report.error is not None:
        yield Recommendation(
            "tokens_file.readable", 0, 1, report.reads_total, "reads", _kept(report.error), setting=None
        )


def _kept(error: str) -> str:
    return f"ESASSISTANT_TOKENS_FILE {error}. What it said before stays in force, also what was taken out since."


class TokensFile:
    """One per process, owned by the registry. `keep_following` is its background task."""

    def __init__(
        self,
        path: Path,
        scoped: tuple[ScopedToken, ...],
        in_force: Tokens,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`scoped`: what the file said when the settings were read. `in_force`: where tokens are looked up."""
        self._path = path
        self._scoped = scoped
        self._in_force = in_force
        self._sleep = sleep
        self._mark: Mark | None = None
        self._error: str | None = None
        self._reads_total = 0

    def report(self) -> TokensFileReport:
        return TokensFileReport(len(self._scoped), self._error is None, self._error, self._reads_total)

    async def ping(self) -> PingResult:
        """Say whether what the file says is in force."""
        if self._error is None:
            return PingResult(Health.HEALTHY, facts={"tokens": len(self._scoped)})
        return PingResult(Health.DEGRADED, _kept(self._error), {"tokens": len(self._scoped)})

    async def keep_following(self) -> None:
        """Background task: look every few seconds."""
        while True:
            await self._sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Put in force what the file says, if it was changed since the last look and can be used."""
        try:
            mark, found = await asyncio.to_thread(_read, self._path, self._mark)
        except BadTokens as error:
            # Read again at the next look, whatever its mark: a disk may be there again.
            self._mark = None
            self._note_error(str(error))
            return
        if found is None:
            return
        self._mark = mark
        self._reads_total += 1
        if found != self._scoped or self._error is not None:
            self._scoped = found
            self._in_force.put_in_force(found)
            logger.info("%d tokens of %s are in force", len(found), self._path)
        self._error = None

    def _note_error(self, error: str) -> None:
        self._reads_total += 1
        if error != self._error:
            logger.error("%s %s", self._path, _kept(error))
        self._error = error


def _read(path: Path, known: Mark | None) -> tuple[Mark, tuple[ScopedToken, ...] | None]:
    """Return the mark of the file and what it says; None where it has the mark that is `known`. Raises `BadTokens`.

    The mark is taken before: what is written meanwhile is found at the next look.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise BadTokens(f"can't be read ({error.strerror or type(error).__name__})") from None
    # The time of the last change of mode or owner, too: it may have become readable by that.
    mark = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    if mark == known:
        return mark, None
    return mark, load_tokens(path, settings.ESASSISTANT.api_tokens)


TOKENS_FILE: Handle[TokensFile | None] = Handle("tokens_file")
TOKENS_FILE_REPORT: ReportHandle[TokensFileReport] = ReportHandle("tokens_file")
NO_FILE: Final = TokensFileReport(0, readable=True, error=None, reads_total=0)
