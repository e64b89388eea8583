"""The wrapper of another project's application: whose request it is, and two lifespans in one."""

from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.urls import include, path
from pytest_django import Settings

from esassistant.asgi_types import ASGIApp, Message, Receive, Scope, Send
from esassistant.embedding import Embedded, HostLifespan
from tests.support.asgi import Asked, ask

urlpatterns = [path("assistant/", include("esassistant.urls"))]


@pytest.fixture(autouse=True)
def _embedded(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Django's own application: it has no lifespan, and says so by an error."""
    if scope["type"] != "http":
        raise ValueError("Django can only handle ASGI/HTTP connections, not lifespan.")
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"theirs"})


class Host:
    """An application with a lifespan, that notes what happens; `fails` at that."""

    def __init__(self, fails: str = "") -> None:
        self.seen: list[str] = []
        self.fails = fails

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for part in ("startup", "shutdown"):
            self.seen.append((await receive())["type"])
            outcome = "failed" if self.fails == part else "complete"
            await send({"type": f"lifespan.{part}.{outcome}", "message": "no place"})


async def lived(app: ASGIApp) -> list[Message]:
    """What an application sends that is started and ended."""
    sent: list[Message] = []
    received = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]

    async def receive() -> Any:
        return received.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)
    return sent


async def test_whose_request_it_is() -> None:
    """Below the prefix it is ours, under every wrapper that a server of our own has; else it is theirs."""
    app = Embedded(silent)
    assert (await ask(app, Asked("/api/health"))).body == b"theirs"
    own = await ask(app, Asked("/assistant/livez"))
    assert own.header("x-request-id") is not None


@pytest.mark.parametrize("host", [silent, Host()])
async def test_both_live(host: Any) -> None:
    """The server hears of one start and one end; an application without a lifespan is none the worse."""
    assert [message["type"] for message in await lived(Embedded(host))] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    if isinstance(host, Host):
        assert host.seen == ["lifespan.startup", "lifespan.shutdown"]


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ("startup", ["lifespan.startup.failed"]),
        ("shutdown", ["lifespan.startup.complete", "lifespan.shutdown.failed"]),
    ],
)
async def test_theirs_fails(fails: str, said: list[str]) -> None:
    """The server is told what their application said."""
    sent = await lived(Embedded(Host(fails)))
    assert [message["type"] for message in sent] == said
    assert sent[-1]["message"] == "no place"


async def test_theirs_ends_by_itself() -> None:
    """An application whose lifespan returns early is taken for one that has none; what it said counts."""

    async def early(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})

    host = HostLifespan(early, {"type": "lifespan"})
    assert await host.start({"type": "lifespan.startup"}) is None
    assert await host.stop() is None
    await host.drop()


async def test_nothing_is_left() -> None:
    """A lifespan that was never started leaves nothing to end."""
    await HostLifespan(silent, {"type": "lifespan"}).drop()


def test_without_a_prefix(settings: Settings) -> None:
    """Who includes our addresses nowhere, or at the root, is told what to write."""
    settings.ROOT_URLCONF = "tests.support.no_urls"
    with pytest.raises(ImproperlyConfigured, match=r'path\("assistant/"'):
        Embedded(silent)


def test_before_django_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wraps something else than Django's application, before it is made, is told so."""
    monkeypatch.setattr(apps, "ready", False)
    with pytest.raises(ImproperlyConfigured, match="get_asgi_application"):
        Embedded(silent)
