"""Another Django project, as `startproject` makes it, with an app of its own; and this service embedded in it, as
docs/embedding.md describes.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx

from dev.ports import HOST, free_port
from dev.servers.process import Process

ROOT = Path(__file__).resolve().parents[2]
INHERITED = ("PATH", "HOME", "LANG")
VIEWS = """
import time

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"bytes": len(request.body), "token": request.headers.get("Authorization")})


def slow(request: HttpRequest) -> HttpResponse:
    time.sleep(0.02)
    return HttpResponse("slow")


async def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<!doctype html><title>Shop</title>" + "x" * 5000)


class Middleware:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response["X-Shop"] = request.path
        return response
"""
TESTS = """
from django.contrib.auth.models import User
from django.test import TestCase


class ShopTest(TestCase):
    def test_own_views(self):
        User.objects.create_user("ada")
        self.assertEqual(self.client.get("/slow").status_code, 200)
        self.assertEqual(self.client.post("/api/upload", b"x" * 10, "text/plain").json()["bytes"], 10)
        self.assertEqual(self.client.get("/api/health").status_code, 404)
"""


class Project:
    """One project in a folder."""

    def __init__(self, folder: Path, **environment: str) -> None:
        """Make the project, with its own views at `/`, `/slow` and `/api/upload`, its own middleware and its own
        test.
        """
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        self.folder = folder
        self.environment = {**inherited, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", **environment}
        self.run("-m", "django", "startproject", "shop", ".")
        (folder / "shop" / "views.py").write_text(VIEWS)
        (folder / "shop" / "tests.py").write_text(TESTS)
        self.replace("settings.py", "MIDDLEWARE = [\n", "MIDDLEWARE = [\n    'shop.views.Middleware',\n")
        self.replace("settings.py", "ALLOWED_HOSTS = []", f"ALLOWED_HOSTS = ['{HOST}']")
        self.replace(
            "urls.py",
            "urlpatterns = [\n",
            "from shop import views\n\nurlpatterns = [\n    path('', views.page),\n    path('slow', views.slow),\n"
            "    path('api/upload', views.upload),\n",
        )
        self.lines_before = self._lines()

    def embed(self, prefix: str) -> None:
        """Add what the document says to the three files."""
        document = (ROOT / "docs" / "embedding.md").read_text()
        snippets = dict(
            re.findall(r"^In `shop/(\w+\.py)`:?\n+```python\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
        )
        assert set(snippets) == {"settings.py", "urls.py", "asgi.py"}
        for file, snippet in snippets.items():
            with (self.folder / "shop" / file).open("a") as opened:
                opened.write(f"\n{snippet.replace('assistant/', prefix)}")

    def added_lines(self) -> int:
        """Return how many lines embedding has added, without blank ones."""
        return self._lines() - self.lines_before

    def _lines(self) -> int:
        files = (self.folder / "shop").glob("*.py")
        return sum(bool(line.strip()) for file in files for line in file.read_text().splitlines())

    def replace(self, file: str, old: str, new: str) -> None:
        path = self.folder / "shop" / file
        text = path.read_text()
        assert text.count(old) == 1, old
        path.write_text(text.replace(old, new))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the project's folder, and check that it succeeds."""
        ended = self.try_run(*arguments)
        assert ended.returncode == 0, ended.stderr
        return ended

    def try_run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


class Uvicorn(Process):
    """uvicorn with the project's ASGI application, started in the usual way."""

    start_seconds = 60
    stop_seconds = 30

    def __init__(self, project: Project) -> None:
        super().__init__("uvicorn", cwd=project.folder, env=project.environment)
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"

    def command_line(self) -> Sequence[str]:
        return [sys.executable, "-m", "uvicorn", "shop.asgi:application", "--port", str(self.port), "--no-access-log"]

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/", timeout=5).status_code == 200
        except httpx.TransportError:
            return False
