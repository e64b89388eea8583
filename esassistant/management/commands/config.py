"""`manage.py config`: the settings in force, and where each comes from."""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from esassistant.config.shown import shown_settings

EXAMPLES = """examples:
  %(prog)s --changed
  ESASSISTANT_PROFILE=high-traffic %(prog)s --changed     what a profile would change
  %(prog)s --format json | jq '.[] | select(.origin == "environment")'

The command `check` says which settings contradict each other, have no effect or are dangerous.
"""


class Command(BaseCommand):
    help = (
        "Show every setting in force: its value, where it comes from, and the default where it differs. "
        "Secrets are masked."
    )
    # Operators use this command to find out why the checks fail.
    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        kwargs.update(epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter)
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--changed", action="store_true", help="only settings that differ from their default")
        parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")

    def handle(self, *_args: Any, **options: Any) -> None:
        rows = shown_settings(settings.ESASSISTANT_SETTINGS)
        if options["changed"]:
            rows = [row for row in rows if row.default is not None]
        if options["format"] == "json":
            self.stdout.write(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
        else:
            self.stdout.write(_table([("Setting", "Value", "Default", "From"), *(row.cells() for row in rows)]))


def _table(lines: Iterable[tuple[str, ...]]) -> str:
    """Return lines of cells as a table; each column is as wide as its widest cell."""
    cells = list(lines)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )
