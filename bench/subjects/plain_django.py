"""A Django project with one view and nothing else, for comparison in bench/http.py: what `startproject` makes, in one
module. `BENCH_MIDDLEWARE=none` leaves out the middleware.
"""

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings

_folder = Path(os.environ["BENCH_FOLDER"])

settings.configure(
    SECRET_KEY="only-for-benches",  # noqa: S106
    DEBUG=False,
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]
    if os.environ["BENCH_MIDDLEWARE"] == "stock"
    else [],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": _folder / "plain.sqlite3"}},
    USE_TZ=True,
    STATIC_URL="static/",
)

from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402

from bench.subjects.saved_answers import HEALTH, read_answers  # noqa: E402

_health: dict[str, Any] = json.loads(read_answers(_folder)[HEALTH].body)


async def health(_: HttpRequest) -> JsonResponse:
    response = JsonResponse(_health)
    # CommonMiddleware would set it. Without it, uvicorn sends chunks, which the load generator doesn't read.
    response["Content-Length"] = str(len(response.content))
    return response


urlpatterns = [path("api/health", health), path("api/indices", health)]
application = get_asgi_application()
