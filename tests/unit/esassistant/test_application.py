"""How the parts of the application are put together, where a setting changes it."""

from pathlib import Path

from pytest_django import Settings

from esassistant.application import new_application
from tests.support.asgi import Asked, ask


async def test_static_files_while_developing(settings: Settings, tmp_path: Path) -> None:
    """With DEBUG a static file that changes, or is added, is answered as it is now."""
    settings.DEBUG = True
    settings.STATICFILES_DIRS = [tmp_path]
    app = new_application()
    for content in (b"a { color: red }", b"a { color: blue }"):
        (tmp_path / "added.css").write_bytes(content)
        got = await ask(app, Asked("/static/added.css"))
        assert (got.status, got.body) == (200, content)
