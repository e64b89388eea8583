"""Settings that are loaded as a process loads them: from its environment and a file."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_django import Settings

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"SECRET_KEY": "only-for-tests", "ESASSISTANT_ENV_FILE": os.devnull}
INHERITED = ("PATH", "HOME", "PYTHONDONTWRITEBYTECODE")
SHOW = """
import dataclasses, json
from esassistant import settings
print(json.dumps({
    "config": dataclasses.asdict(settings.ESASSISTANT),
    "origins": {name: setting.origin.value for name, setting in settings.ESASSISTANT_SETTINGS.items()},
    "database": settings.DATABASES["default"],
    "debug": settings.DEBUG,
    "secret_key": settings.SECRET_KEY,
    "hosts": settings.ALLOWED_HOSTS,
}))
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python process whose environment has no settings except those in `environment`."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def load(**environment: str) -> dict[str, Any]:
    done = run("-c", SHOW, **environment)
    assert done.returncode == 0, done.stderr
    settings: dict[str, Any] = json.loads(done.stdout)
    return settings


def refused(**environment: str) -> str:
    """Return the output of a process that can't use its settings."""
    done = run("manage.py", "check", **{**GOOD, **environment})
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def allow_origins(settings: Settings, *origins: str) -> None:
    """Do what ESASSISTANT_CORS_ORIGINS does at the start."""
    settings.ESASSISTANT = replace(settings.ESASSISTANT, cors_origins=origins)
    settings.CORS_ALLOWED_ORIGINS = list(origins)
    at = settings.MIDDLEWARE.index("esassistant.http.compression.CompressionMiddleware")
    cors = "corsheaders.middleware.CorsMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE[:at], cors, *settings.MIDDLEWARE[at:]]
