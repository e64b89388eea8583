"""`manage.py refresh_cache`: the same on a schedule, from cron."""

from argparse import ArgumentParser
from typing import Any

from cacheapp.commands import RefreshCommand


class Command(RefreshCommand):
    help = "Read every mapping from Elasticsearch and publish them to the store; running servers take them over. Made for cron."
    trigger = "refresh_cache"
    limited = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--force", action="store_true", help="refresh even within MIN_REFRESH_INTERVAL of the last time"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.limited = not options["force"]
        super().handle(*args, **options)
