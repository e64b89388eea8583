"""Webhooks as a resource: puts together their parts, the history and a thread for the database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from django.conf import settings

from cacheapp.history import HISTORY
from cacheapp.stores.database_thread import open_database_thread
from cacheapp.webhooks.delivery import Delivery
from cacheapp.webhooks.sender import open_sender
from cacheapp.webhooks.webhooks import Webhooks
from esassistant.config.webhooks import Target, load_targets
from esassistant.followed_file import FollowedFile
from esassistant.instance import instance_name
from esassistant.registry import Registry


@asynccontextmanager
async def open_webhooks(registry: Registry) -> AsyncIterator[Webhooks | None]:
    """Send to the targets for the length of the block, whenever this process holds the lease. Yields None if
    `ESASSISTANT_WEBHOOKS` names no file.
    """
    config = settings.ESASSISTANT
    if not config.webhooks_file:
        yield None
        return
    path = Path(config.webhooks_file)
    file = FollowedFile(path, config.webhook_targets, load_targets, noun="targets", setting="ESASSISTANT_WEBHOOKS")
    async with open_database_thread("webhooks") as thread:

        def make_delivery(webhooks: Webhooks, target: Target) -> Delivery:
            return Delivery(
                target,
                registry.get(HISTORY),
                thread,
                open_sender,
                head=lambda: webhooks.head,
                written_at=lambda: file.written_at,
                instance=instance_name(),
            )

        spawn = partial(registry.flight, name="send-webhooks", owner="webhooks")
        webhooks = Webhooks(file, thread, make_delivery, spawn)
        registry.spawn(file.keep_following, name="follow-webhooks", owner="webhooks")
        registry.spawn(webhooks.run, name="keep-sending", owner="webhooks")
        yield webhooks
        await webhooks.release_lease()
