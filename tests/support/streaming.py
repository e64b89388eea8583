"""An app with streams: one that sends something now and then, and one that sends as much as it can."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.apps import AppConfig

from esassistant.http.streams import STREAMS, StreamCall
from esassistant.registry import Registry, registry

logger = logging.getLogger(__name__)

TICKS = "/api/ticks/{name}"
POUR = "/api/pour"
LIMIT = 20
TICK_SECONDS = 0.05
CHUNK = b"x" * 65_536


async def ticks(call: StreamCall) -> None:
    """Send an event every `TICK_SECONDS`, and a last one when the server ends. A `deaf` stream goes on then."""
    await call.begin()
    number = 0
    try:
        while call.name == "deaf" or not call.ending.is_set():
            await call.write(b"id: %d\ndata: %b\n\n" % (number, call.name.encode()))
            number += 1
            await asyncio.sleep(TICK_SECONDS)
        await call.write(b"event: end\n\n")
    finally:
        logger.warning("the stream %s is closed after %d events", call.name, number)


async def pour(call: StreamCall) -> None:
    """Send as fast as the client reads."""
    await call.begin("application/octet-stream")
    while True:
        await call.write(CHUNK)


class StreamingConfig(AppConfig):
    name = "tests.support"
    label = "streaming"

    def ready(self) -> None:
        registry.register("ticks", _owner, needs=(STREAMS,))


@asynccontextmanager
async def _owner(registry: Registry) -> AsyncIterator[None]:
    streams = registry.get(STREAMS)
    streams.limit = LIMIT
    async with streams.answering(TICKS, ticks), streams.answering(POUR, pour):
        yield
