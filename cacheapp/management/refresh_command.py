"""What the commands that make a pass have in common: open what it needs, run it, publish, report, exit."""

import asyncio
import logging
import math
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cacheapp.reports import PassOutcome, RefreshReport
from cacheapp.sync.pass_record import EVERYTHING, PassScope, RefreshAnswer
from cacheapp.sync.refresher import REFRESHER, Refresher
from cacheapp.sync.sharing import SHARING
from esassistant.clock import monotonic
from esassistant.elasticsearch.client import check_there_is_a_node
from esassistant.registry import registry
from esassistant.units import as_duration

EXIT_CODES = {PassOutcome.COMPLETED: 0, PassOutcome.UNCHANGED: 0, PassOutcome.FAILED: 1, PassOutcome.PARTIAL: 3}
EXIT_UNPUBLISHED = 1
EXIT_NOT_NOW = 75
"""EX_TEMPFAIL of sysexits.h: try again later."""
EXITS = """\
Exit status: 0 completed or unchanged; 1 failed, or not published; 2 wrong usage; 3 partial: some mappings could not be
read and stay as they were; 75 not now: another process refreshes, or one did a moment ago."""
PROGRESS_SECONDS = 0.1


class RefreshCommand(BaseCommand):
    """A command that makes a pass in a process of its own. The result goes to stdout, logs and progress to stderr."""

    trigger: str
    examples: str

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return super().create_parser(prog_name, subcommand, epilog=f"{EXITS} Examples: {self.examples}", **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--format", choices=("text", "json"), default="text", help="how to print the result (default: text)"
        )

    def refresh(self, form: str, *, limited: bool, scope: PassScope = EVERYTHING, wait_seconds: float = 0.0) -> None:
        """Make a pass, print the result, and exit. `wait_seconds`: how long to wait while another process makes one."""
        check_there_is_a_node(settings.ESASSISTANT.elasticsearch)
        with _results_unlogged():
            answer, report = asyncio.run(self._refresh(limited, scope, wait_seconds))
        if report is None:
            seconds = math.ceil(answer.retry_after_seconds or 0)
            result = {"outcome": answer.outcome, "retry_after_seconds": seconds}
            reason = "another process refreshes" if answer.outcome is PassOutcome.OVERLAP else "refreshed a moment ago"
            self._print(form, result, f"{answer.outcome.value}: {reason}; try again in {as_duration(seconds)}")
            sys.exit(EXIT_NOT_NOW)
        self._print(form, report, report)
        code = EXIT_CODES[report.outcome]
        sys.exit(code if code or report.published else EXIT_UNPUBLISHED)

    async def _refresh(
        self, limited: bool, scope: PassScope, wait_seconds: float
    ) -> tuple[RefreshAnswer, RefreshReport | None]:
        ends_at = monotonic() + wait_seconds
        async with registry.open(only=[REFRESHER]):
            refresher = registry.get(REFRESHER)
            while True:
                # What is published replaces everything. An index that can't be read now stays only if it is known from
                # before.
                await registry.get(SHARING).take_over()
                answer = await refresher.ask(self.trigger, limited=limited, scope=scope)
                left = ends_at - monotonic()
                if answer.outcome is not PassOutcome.OVERLAP or left <= 0:
                    break
                await asyncio.sleep(min(left, answer.retry_after_seconds or 1.0))
            return answer, None if answer.id is None else await self._watched(refresher, answer.id)

    async def _watched(self, refresher: Refresher, refresh_id: str) -> RefreshReport:
        """Wait for the pass; on a terminal, show how far it is."""
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("reading mappings", total=None)
            waiting = asyncio.ensure_future(refresher.wait(refresh_id))
            while not waiting.done():
                now = refresher.refresh_report(refresh_id)
                progress.update(bar, total=now.indices_total, completed=now.read_total)
                await asyncio.wait((waiting,), timeout=PROGRESS_SECONDS)
            return waiting.result()

    def _print(self, form: str, result: object, shown: str | RefreshReport) -> None:
        if form == "json":
            self.stdout.write(msgspec.json.encode(result).decode())
        elif isinstance(shown, str):
            self.stdout.write(shown)
        else:
            self.stdout.write(_sentence(shown))
            if shown.errors:
                width = None if sys.stdout.isatty() else 160
                console = Console(file=self.stdout, width=width)  # type: ignore[arg-type]
                console.print(_errors(shown))


@contextmanager
def _results_unlogged() -> Iterator[None]:
    """Keep the result of a pass out of the log, because it is printed."""
    logger = logging.getLogger("cacheapp.sync")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _sentence(report: RefreshReport) -> str:
    summary = (
        f"{report.outcome.value} in {as_duration(report.duration_seconds)}: "
        f"{_counted(report.read_total, 'mapping')} read with {_counted(report.requests_total, 'request')}, "
        f"{report.changed_total} changed, {report.removed_total} removed, {report.failed_total} failed; "
        f"{'published' if report.published else 'not published'}"
    )
    return f"{summary}\n{report.error}" if report.error else summary


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _errors(report: RefreshReport) -> Table:
    more = report.failed_total - len(report.errors)
    table = Table("Index", "Error", caption=f"and {more} more" if more else None)
    for failed in report.errors:
        table.add_row(failed.index, failed.error)
    return table


def seconds_argument(raw: str) -> float:
    """Return a command-line argument as a number of seconds. Raise `ArgumentTypeError` if it isn't one
    from 0 to 86400.
    """
    try:
        value = float(raw)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86_400:
        raise ArgumentTypeError("use a number of seconds from 0 to 86400")
    return value
