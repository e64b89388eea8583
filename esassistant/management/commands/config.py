"""`manage.py config`: the settings in force, and where each comes from."""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from django.conf import settings
from django.core.management.base import BaseCommand

from esassistant.config import ROLLBACK_VARIABLES, Origin, Setting
from esassistant.masking import mask_setting

EXAMPLES = """examples:
  manage.py config --changed
  ESASSISTANT_PROFILE=high-traffic manage.py config --changed     what a profile would change
  manage.py config --format json | jq '.[] | select(.origin == "environment")'

`manage.py check` says which settings contradict each other, have no effect or are dangerous.
"""
NOT_SET = "not set"


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as it is shown, secrets masked; `default` is None when it is in force.

    Numbers and truth values stay what they are, all else is text.
    """

    name: str
    value: bool | float | str
    origin: str
    default: bool | float | str | None

    @classmethod
    def of(cls, setting: Setting, profile: str) -> Self:
        default = _shown(replace(setting, value=setting.default)) if _is_changed(setting) else None
        return cls(setting.name, _shown(setting), _source(setting.origin, profile), default)

    def cells(self) -> tuple[str, ...]:
        default = "" if self.default is None else _text(self.default)
        return (self.name, _text(self.value), default, self.origin)


class Command(BaseCommand):
    help = "Show every setting in force: its value, where it comes from, and the default where it differs. Secrets are masked."
    # It is what one looks at when the checks fail.
    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        kwargs.update(epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter)
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--changed", action="store_true", help="only settings that differ from their default")
        parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")

    def handle(self, *_args: Any, **options: Any) -> None:
        known: Mapping[str, Setting] = settings.ESASSISTANT_SETTINGS
        profile = known["ESASSISTANT_PROFILE"].value
        rows = [Row.of(known[name], profile) for name in sorted(known)]
        if options["changed"]:
            rows = [row for row in rows if row.default is not None]
        if options["format"] == "json":
            self.stdout.write(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
        else:
            self.stdout.write(_table([("Setting", "Value", "Default", "From"), *(row.cells() for row in rows)]))


def _is_changed(setting: Setting) -> bool:
    return bool(setting.value != setting.default)


def _shown(setting: Setting) -> bool | float | str:
    value = setting.value
    return value if isinstance(value, bool | int | float) and not setting.secret else mask_setting(setting)


def _source(origin: Origin, profile: str) -> str:
    if origin is Origin.PROFILE:
        return f"profile {profile}"
    if origin is Origin.IMPLIED:
        return f"implied by {', '.join(ROLLBACK_VARIABLES)}"
    return str(origin.value)


def _text(value: bool | float | str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return (value or NOT_SET) if isinstance(value, str) else f"{value:g}"


def _table(lines: Iterable[tuple[str, ...]]) -> str:
    """Lines of cells in columns as wide as their widest cell."""
    cells = list(lines)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )
