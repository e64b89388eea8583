"""The application in the test's own loop, with the registry open."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pytest_django import Settings

from dev.servers.service import TOKEN
from esassistant.asgi import new_application
from esassistant.registry import registry

OpenApp = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

WARM_UP_SECONDS = 5
QUIET = {"refresh_interval": 0.0, "watch": False}
"""No schedule and no watch: calls are counted."""


@pytest.fixture
def open_app(settings: Settings, transactional_db: None) -> OpenApp:
    """`async with open_app(url, cache={...}, health={...}) as http`: the application on a cluster, with settings
    replaced.
    """

    @asynccontextmanager
    async def opened(
        url: str, *, cache: dict[str, Any] | None = None, health: dict[str, Any] | None = None, **elasticsearch: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        config = settings.ESASSISTANT
        settings.ESASSISTANT = replace(
            config,
            elasticsearch=replace(config.elasticsearch, urls=(url,), **elasticsearch),
            mapping_cache=replace(config.mapping_cache, **{**QUIET, **(cache or {})}),
            health=replace(config.health, **(health or {})),
            api_tokens=(TOKEN,),
        )
        transport = httpx.ASGITransport(app=new_application())
        async with registry.open(), httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
            await _warm_up_ended()
            yield http

    return opened


def allow_origins(settings: Settings, *origins: str) -> None:
    """What ESASSISTANT_CORS_ORIGINS does at the start."""
    settings.ESASSISTANT = replace(settings.ESASSISTANT, cors_origins=origins)
    settings.CORS_ALLOWED_ORIGINS = list(origins)
    at = settings.MIDDLEWARE.index("django.middleware.common.CommonMiddleware")
    cors = "corsheaders.middleware.CorsMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE[:at], cors, *settings.MIDDLEWARE[at:]]


async def _warm_up_ended() -> None:
    """Wait for the first pass to end, in whatever way: what a test counts and asks for is then its own."""
    async with asyncio.timeout(WARM_UP_SECONDS):
        while registry.read("refresher").passes_total == 0:  # noqa: ASYNC110  (reports are read, nothing is signalled)
            await asyncio.sleep(0.01)
