"""`/livez` and `/readyz`, through the whole of Django, under any Host."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from esassistant.asgi import application
from esassistant.registry import Registry
from healthapp import probes
from healthapp.probes import ProbeMiddleware

HOSTILE_HOSTS = ["testserver", "evil.example", "10.1.2.3:8000", "[::1]", "bad host!", "x" * 300]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


class Cache:
    """What readiness reads of the mapping cache."""

    def __init__(self) -> None:
        self.warm = False


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, cache: Cache) -> Registry:
    """A registry in the place of the process's own, with nothing but a mapping cache."""

    @asynccontextmanager
    async def opened(_: Registry) -> AsyncIterator[Cache]:
        yield cache

    registry = Registry()
    registry.register("mapping_cache", opened, stats=lambda value: SimpleNamespace(warm=value.warm))
    monkeypatch.setattr(probes, "registry", registry)
    return registry


@pytest.mark.parametrize("host", HOSTILE_HOSTS)
async def test_livez_under_any_host(client: httpx.AsyncClient, host: str) -> None:
    """Liveness answers whoever asks under whatever name, and may not be stored."""
    response = await client.get("/livez", headers={"Host": host})
    assert (response.status_code, response.text) == (200, "ok\n")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-length"] == "3"
    assert response.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("host", HOSTILE_HOSTS)
async def test_readyz_not_open(client: httpx.AsyncClient, host: str) -> None:
    """A process whose registry isn't open is not ready, under any Host, and says why."""
    response = await client.get("/readyz", headers={"Host": host})
    assert (response.status_code, response.text) == (503, "not ready: the registry is closed\n")
    assert response.headers["cache-control"] == "no-store"


async def test_other_addresses_check_host(client: httpx.AsyncClient) -> None:
    """Only the probes are exempt from the check of the Host."""
    assert (await client.get("/api/health", headers={"Host": "evil.example"})).status_code != 200
    assert (await client.get("/livez/", headers={"Host": "testserver"})).status_code == 404


async def test_readiness_follows_registry(client: httpx.AsyncClient, registry: Registry, cache: Cache) -> None:
    """Ready is who is open, has mappings, and isn't about to end."""
    async with registry.open():
        cold = await client.get("/readyz")
        assert cold.status_code == 503
        assert "no mappings yet" in cold.text
        cache.warm = True
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.text) == (200, "ok\n")
        registry.start_draining()
        draining = await client.get("/readyz")
        assert (draining.status_code, draining.text) == (503, "not ready: the registry is draining\n")
        assert (await client.get("/livez")).status_code == 200


async def test_verbose_lists_conditions(client: httpx.AsyncClient, registry: Registry, cache: Cache) -> None:
    """`?verbose` lists each condition with what is missing."""
    assert (await client.get("/readyz?verbose")).text == (
        "not ready: the registry is closed\n[-] registry: the registry is closed\n"
    )
    async with registry.open():
        lines = (await client.get("/readyz?verbose")).text.splitlines()
        assert lines[1:] == ["[+] registry: ok", f"[-] mappings: {lines[0].removeprefix('not ready: ')}"]
        cache.warm = True
        assert (await client.get("/readyz?verbose")).text == "ok\n[+] registry: ok\n[+] mappings: ok\n"


async def test_readyz_without_cache(monkeypatch: pytest.MonkeyPatch, client: httpx.AsyncClient) -> None:
    """A registry that can't be read makes this process not ready, and nothing breaks."""
    registry = Registry()
    monkeypatch.setattr(probes, "registry", registry)
    async with registry.open():
        response = await client.get("/readyz")
    assert response.status_code == 503
    assert "mapping_cache" in response.text


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_methods(client: httpx.AsyncClient, path: str) -> None:
    """HEAD has the status of GET; other methods are 405 with Allow, also under a hostile Host."""
    expected = (await client.get(path)).status_code
    assert (await client.head(path)).status_code == expected
    response = await client.post(path, headers={"Host": "evil.example"})
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"
    assert response.headers["content-type"] == "application/problem+json"


def test_sync_lane() -> None:
    """Under a synchronous server the middleware answers directly, and passes on what isn't a probe."""

    def beyond(_: HttpRequest) -> HttpResponse:
        return HttpResponse("beyond")

    middleware: Any = ProbeMiddleware(beyond)
    requests = RequestFactory()
    assert middleware(requests.get("/livez")).content == b"ok\n"
    assert middleware(requests.get("/readyz")).status_code == 503
    assert middleware(requests.put("/livez")).status_code == 405
    assert middleware(requests.get("/api/health")).content == b"beyond"
