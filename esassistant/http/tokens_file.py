"""The file of tokens as a resource: follows it, and reports it to health, advice and metrics."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from django.conf import settings

from esassistant.advice import Advice, Recommendation
from esassistant.clock import Sleep
from esassistant.config.tokens import ScopedToken, load_tokens
from esassistant.followed_file import FollowedFile, kept_entries
from esassistant.http.callers import Tokens
from esassistant.metrics import Kind, Metric
from esassistant.resource import Handle, ReportHandle

SETTING: Final = "ESASSISTANT_TOKENS_FILE"


@dataclass(frozen=True, slots=True)
class TokensFileReport:
    """The file of tokens. `tokens`: how many of its tokens are in force. `readable`: the present content of the file is
    in force, or there is no file; otherwise `error` says why it isn't. `reads_total`: how often the file was read since
    the start.
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
    """Give the advice for the file: its present content must be in force."""
    if report.error is not None:
        why = kept_entries(SETTING, report.error)
        yield Recommendation("tokens_file.readable", 0, 1, report.reads_total, "reads", why, setting=None)


class TokensFile(FollowedFile[ScopedToken]):
    """Follows the file of tokens. One per process, owned by the registry. `keep_following` is its background task."""

    def __init__(
        self, path: Path, scoped: tuple[ScopedToken, ...], in_force: Tokens, *, sleep: Sleep = asyncio.sleep
    ) -> None:
        """
        Args:
            scoped: The tokens in the file when the settings were read.
            in_force: Where tokens are looked up.
        """
        load = partial(load_tokens, api_tokens=settings.ESASSISTANT.api_tokens)
        super().__init__(path, scoped, load, in_force.put_in_force, noun="tokens", setting=SETTING, sleep=sleep)

    def report(self) -> TokensFileReport:
        return TokensFileReport(len(self.entries), self.error is None, self.error, self.reads_total)


TOKENS_FILE: Handle[TokensFile | None] = Handle("tokens_file")
TOKENS_FILE_REPORT: ReportHandle[TokensFileReport] = ReportHandle("tokens_file")
NO_FILE: Final = TokensFileReport(0, readable=True, error=None, reads_total=0)
