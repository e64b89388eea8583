"""`manage.py validate`: check saved searches against the mappings, for CI."""

import asyncio
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError

from cacheapp.errors import BadSearch
from cacheapp.queries.findings import Finding, Severity
from cacheapp.queries.positions import line_of
from cacheapp.state.expressions import asked
from cacheapp.state.visible import ALL_VISIBLE
from cacheapp.sync.sharing import SHARING
from cacheapp.validation import VALIDATION, Validated
from esassistant.errors import EsassistantError
from esassistant.registry import registry

EXIT_WRONG = 1
EXITS = """\
Exit status: 0 no search has an error, though there may be warnings; 1 one has; 2 wrong usage, a file that can't be read
or is no JSON, an unknown name, or nothing published yet: run the command warm_cache first."""
Source = tuple[str, bytes]
"""The name of a file, and its content."""


class Command(BaseCommand):
    help = (
        "Validate search bodies against the mappings of an index, alias or data stream, as the servers published them; "
        "the cluster isn't asked."
    )
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        examples = "%(prog)s orders searches/*.json; cat search.json | %(prog)s orders -"
        return super().create_parser(prog_name, subcommand, epilog=f"{EXITS} Examples: {examples}", **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "name", help="an index, alias or data stream; or a list of them, with patterns: logs-*,-logs-old-*"
        )
        parser.add_argument("files", nargs="+", metavar="FILE", help="a search body in JSON; - for stdin")
        parser.add_argument(
            "--format", choices=("text", "json"), default="text", help="how to print the findings (default: text)"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        sources = [_read(name) for name in options["files"]]
        try:
            found = asyncio.run(_validated(options["name"], sources))
        except EsassistantError as error:
            raise CommandError(error.detail, returncode=2) from None
        if options["format"] == "json":
            self.stdout.write(msgspec.json.encode(dict(found)).decode())
        else:
            for (name, raw), (_, validated) in zip(sources, found, strict=True):
                for finding in validated.findings:
                    self.stdout.write(_line(name, raw, finding))
        total = sum(finding.severity is Severity.ERROR for _, one in found for finding in one.findings)
        warnings = sum(len(one.findings) for _, one in found) - total
        self.stderr.write(f"{len(found)} searches: {total} errors, {warnings} warnings.")
        sys.exit(EXIT_WRONG if total else 0)


async def _validated(name: str, sources: list[Source]) -> list[tuple[str, Validated]]:
    """Validate each file. Raise an `EsassistantError` that names the file."""
    async with registry.open(only=[SHARING, VALIDATION]):
        await registry.get(SHARING).take_over()
        validations = registry.get(VALIDATION)
        found = []
        for source, raw in sources:
            try:
                found.append((source, await validations.validate(asked(name, ALL_VISIBLE), raw, ALL_VISIBLE)))
            except BadSearch as error:
                raise BadSearch(f"{source}: {error.detail}") from None
        return found


def _read(name: str) -> Source:
    if name == "-":
        return "stdin", sys.stdin.buffer.read()
    try:
        return name, Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror}", returncode=2) from None


def _line(source: str, raw: bytes, finding: Finding) -> str:
    """Return one finding in the format of a compiler's message: `file:line: severity: …`."""
    meant = f" Did you mean {' or '.join(finding.did_you_mean)}?" if finding.did_you_mean else ""
    place = f"{source}:{line_of(raw, finding.path)}"
    return f"{place}: {finding.severity.value}: {finding.detail}{meant} [{finding.code.value}, {finding.path or '/'}]"
