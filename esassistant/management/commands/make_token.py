"""`manage.py make_token`: makes a new token with a scope, and its entry for the file of tokens."""

import json
import secrets
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from esassistant.config.tokens import Right, digest_of, parse_tokens
from esassistant.config.toml_file import BadFile
from esassistant.masking import TOKEN_PREFIX

RANDOM_BYTES = 32

EXAMPLES = """examples:
  %(prog)s logs-agent --indices 'logs-*' >> tokens.toml         the token is shown, its entry is added
  %(prog)s ci --may read search --indices 'logs-*' metrics --expires 2027-06-30 --max-in-flight 8

The token itself is shown this once, on standard error; the file has its SHA-256 alone. Name the file by
ESASSISTANT_TOKENS_FILE; servers that run look at it every five seconds.
"""


class Command(BaseCommand):
    help = "Make a token with a scope. Prints its entry for the file of tokens, and the token on standard error."
    # The settings don't matter here: a token may be made before anything runs.
    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        kwargs.update(epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter)
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="stands in the access log and in metrics")
        parser.add_argument(
            "--indices",
            nargs="+",
            required=True,
            metavar="PATTERN",
            help="names of indices, aliases and data streams that exist for it, with * for any characters",
        )
        parser.add_argument(
            "--may", nargs="+", choices=[right.value for right in Right], default=["read"], help="default: read"
        )
        parser.add_argument("--expires", metavar="DATE", help="such as 2027-06-30 or 2027-06-30T18:00:00Z")
        parser.add_argument("--max-in-flight", type=int, metavar="N", help="requests at once in each process")

    def handle(self, *_args: Any, **options: Any) -> None:
        token = TOKEN_PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
        entry = entry_of(digest_of(token.encode()), **options)
        try:
            parse_tokens(entry)
        except BadFile as error:
            where, _, wrong = str(error).partition(": ")
            if not where.startswith("token"):  # entry_of writes all values but the date in a form that can be read
                wrong = "expires is a date such as 2027-06-30 or 2027-06-30T18:00:00Z"
            raise CommandError(wrong, returncode=2) from None
        self.stdout.write(entry)
        self.stderr.write(f"The token, shown this once: {token}")


def entry_of(
    digest: str,
    *,
    name: str,
    may: list[str],
    indices: list[str],
    expires: str | None = None,
    max_in_flight: int | None = None,
    **_: Any,
) -> str:
    """Return the entry as TOML. Texts and lists of texts are written as in JSON, which TOML can read too."""
    lines = [
        "[[token]]",
        f"name = {json.dumps(name)}",
        f'sha256 = "{digest}"',
        f"may = {json.dumps(may)}",
        f"indices = {json.dumps(indices)}",
    ]
    if expires is not None:
        lines.append(f"expires = {expires}")
    if max_in_flight is not None:
        lines.append(f"max_in_flight = {max_in_flight}")
    return "\n".join(lines) + "\n"
