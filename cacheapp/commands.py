"""What the commands that refresh share: open what a pass needs, run one, publish, report, exit."""

import asyncio
import sys
from argparse import ArgumentParser
from typing import Any

import msgspec
from django.core.management.base import BaseCommand

from cacheapp.passes import Answer
from cacheapp.refresh import Refresher
from cacheapp.stats import Outcome, RefreshReport
from esassistant.registry import registry

EXIT_CODES = {Outcome.COMPLETED: 0, Outcome.UNCHANGED: 0, Outcome.FAILED: 1, Outcome.PARTIAL: 3}
EXIT_UNPUBLISHED = 1
EXIT_NOT_NOW = 75
"""sysexits.h's EX_TEMPFAIL: try again later."""


class RefreshCommand(BaseCommand):
    """A full pass in a process of its own. Exit: 0 completed, 1 failed or not published, 3 partial, 75 not now."""

    trigger: str
    limited: bool

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=("table", "json"), default="table", help="how to print the result")

    def handle(self, *_args: Any, **options: Any) -> None:
        answer, report = asyncio.run(self._refresh())
        if report is None:
            seconds = round(answer.retry_after_seconds or 0)
            result = {"outcome": answer.outcome, "retry_after_seconds": seconds}
            reason = "another process refreshes" if answer.outcome is Outcome.OVERLAP else "refreshed a moment ago"
            self._print(options["format"], result, f"{answer.outcome.value}: {reason}; try again in {seconds} s")
            sys.exit(EXIT_NOT_NOW)
        self._print(options["format"], report, _sentence(report))
        code = EXIT_CODES[report.outcome]
        sys.exit(code if code or report.published else EXIT_UNPUBLISHED)

    async def _refresh(self) -> tuple[Answer, RefreshReport | None]:
        async with registry.open(only=["refresher"]):
            refresher: Refresher = registry.get("refresher")
            # What is published replaces everything: an index that can't be read now must be known from before, to stay.
            await refresher.take_over()
            answer = await refresher.ask(self.trigger, limited=self.limited)
            return answer, None if answer.id is None else await refresher.wait(answer.id)

    def _print(self, form: str, result: object, sentence: str) -> None:
        self.stdout.write(msgspec.json.encode(result).decode() if form == "json" else sentence)


def _sentence(report: RefreshReport) -> str:
    summary = (
        f"{report.outcome.value} in {report.duration_seconds:.2f} s: {report.read_total} mappings read with "
        f"{report.requests_total} requests, {report.changed_total} changed, {report.removed_total} removed, "
        f"{report.failed_total} failed; {'published' if report.published else 'not published'}"
    )
    lines = [summary]
    if report.error:
        lines.append(report.error)
    lines += [f"  {failed.index}: {failed.error}" for failed in report.errors]
    return "\n".join(lines)
