"""`manage.py warm_cache`: bring the mappings that processes share up to date, for example before a deployment."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from cacheapp.management.refresh_command import RefreshCommand
from cacheapp.state.names import check_name
from cacheapp.sync.pass_record import CHANGES, EVERYTHING, PassScope
from esassistant.errors import BadRequest


class Command(RefreshCommand):
    help = (
        "Read what is new or changed from Elasticsearch (everything, when nothing was published yet) and publish it: "
        "servers that start later are warm at once. Not limited by MIN_REFRESH_INTERVAL."
    )
    trigger = "warm_cache"
    examples = "%(prog)s --full; %(prog)s --index orders --pattern 'logs-*'"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        scope = parser.add_argument_group("what to read")
        scope.add_argument("--full", action="store_true", help="everything, changed or not")
        scope.add_argument(
            "--index", action="append", default=[], metavar="NAME", help="this index, alias or data stream; repeatable"
        )
        scope.add_argument(
            "--pattern",
            action="append",
            default=[],
            help="the indices that match, with * for any characters; repeatable",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        self.refresh(options["format"], limited=False, scope=_scope(**options))


def _scope(*, full: bool, index: list[str], pattern: list[str], **_: Any) -> PassScope:
    if full and (index or pattern):
        raise CommandError("--full reads everything: use it without --index and --pattern.", returncode=2)
    try:
        for name in index:
            check_name(name.lower())  # an alias may have capitals
    except BadRequest as error:
        raise CommandError(f"--index: {error.detail}", returncode=2) from None
    if full:
        return EVERYTHING
    return PassScope(patterns=(*index, *pattern)) if index or pattern else CHANGES
