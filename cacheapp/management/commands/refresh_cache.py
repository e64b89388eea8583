"""`manage.py refresh_cache`: make a full pass, for example on a schedule from cron."""

from argparse import ArgumentParser
from typing import Any

from cacheapp.management.refresh_command import RefreshCommand, seconds_argument


class Command(RefreshCommand):
    help = (
        "Read every mapping from Elasticsearch and publish them to the store; running servers take them over. "
        "Made for cron."
    )
    trigger = "refresh_cache"
    examples = "%(prog)s; %(prog)s --force --wait-for-lease 60"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--force", action="store_true", help="refresh even within MIN_REFRESH_INTERVAL of the last time"
        )
        parser.add_argument(
            "--wait-for-lease",
            type=seconds_argument,
            default=0.0,
            metavar="SECONDS",
            help="when another process refreshes, wait at most this long, instead of exiting with 75 at once",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        self.refresh(options["format"], limited=not options["force"], wait_seconds=options["wait_for_lease"])
