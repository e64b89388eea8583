"""Django's settings, and the only reader of the environment.

Order of strength: the process's environment, the file named by `ESASSISTANT_ENV_FILE` (`.env` beside `manage.py` unless
told), the default. docs/settings.md describes each setting.
"""

import logging
import os
import secrets
from pathlib import Path
from typing import Any, ClassVar

import environ
from django.core.exceptions import ImproperlyConfigured

from esassistant.config import (
    BadSettings,
    Config,
    ElasticsearchConfig,
    HealthConfig,
    MappingCacheConfig,
    Origin,
    Reader,
    bad_lines,
    parse_node_urls,
)

BASE_DIR = Path(__file__).resolve().parent.parent


class _EnvFile(environ.Env):  # type: ignore[misc]  # (it has no types)
    """django-environ's parser of `.env` files, kept from writing into the environment: the origin of each value must
    stay known.
    """

    ENVIRON: ClassVar[dict[str, str]] = {}


_env_path = BASE_DIR / os.environ.get("ESASSISTANT_ENV_FILE", ".env")
# It logs a line that it can't read as it stands, secrets included; such lines are reported below instead.
logging.getLogger("environ.environ").setLevel(logging.ERROR)
_EnvFile.read_env(_env_path)

read = Reader([(Origin.ENVIRONMENT, os.environ), (Origin.FILE, _EnvFile.ENVIRON)])
if "ESASSISTANT_ENV_FILE" in os.environ and not _env_path.exists():
    read.refuse("ESASSISTANT_ENV_FILE", "names no file that exists")
if _env_path.is_file():
    for _number in bad_lines(_env_path.read_text()):
        read.refuse(f"{_env_path.name}, line {_number}", "is neither NAME=value nor a comment")


def _database(url: str) -> dict[str, Any]:
    try:
        database: dict[str, Any] = environ.Env.db_url_config(url)
    except Exception:  # noqa: BLE001  (whatever it stumbles over, the URL is bad)
        raise ValueError(
            "use a URL such as postgres://user:password@host:5432/name or sqlite:////var/lib/db.sqlite3"
        ) from None
    if not database.get("ENGINE") or not database.get("NAME"):
        raise ValueError("use a URL such as postgres://user:password@host:5432/name or sqlite:////var/lib/db.sqlite3")
    if database["ENGINE"].endswith("sqlite3"):
        # Writers queue for the lock at BEGIN instead of failing at the first write of a transaction that began by
        # reading.
        database["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
    return database


DEBUG = read.boolean("DEBUG", default=False)
SECRET_KEY = read.text("SECRET_KEY", secret=True)
ALLOWED_HOSTS = list(read.words("ALLOWED_HOSTS"))
if not SECRET_KEY:
    if DEBUG:
        SECRET_KEY = secrets.token_urlsafe(50)  # sessions end with the process; good enough to try things out
    else:
        read.refuse("SECRET_KEY", "is missing; set a long random text (with DEBUG=true one is made up at each start)")

_nodes = read.parsed("ELASTICSEARCH_URL", "http://127.0.0.1:9200", parse_node_urls, secret=True)
_username = read.text("ELASTICSEARCH_USERNAME")
_password = read.text("ELASTICSEARCH_PASSWORD", secret=True)
_api_key = read.text("ELASTICSEARCH_API_KEY", secret=True)
_ca_certs = read.text("ELASTICSEARCH_CA_CERTS")
if _nodes.username and _username:
    read.refuse("ELASTICSEARCH_USERNAME", "is set while ELASTICSEARCH_URL has credentials in it; use one of the two")
if _api_key and (_username or _nodes.username):
    read.refuse("ELASTICSEARCH_API_KEY", "is set beside a user name; use one of the two")
if bool(_username) != bool(_password):
    read.refuse("ELASTICSEARCH_USERNAME", "needs ELASTICSEARCH_PASSWORD, and the other way round")
if _ca_certs and not Path(_ca_certs).exists():
    read.refuse("ELASTICSEARCH_CA_CERTS", "names no file or folder that exists")

DATABASES = {
    "default": read.parsed("DATABASE_URL", f"sqlite:///{BASE_DIR / 'esassistant.sqlite3'}", _database, secret=True)
    | {"CONN_MAX_AGE": 0}
}

ESASSISTANT = Config(
    elasticsearch=ElasticsearchConfig(
        urls=_nodes.urls,
        api_key=_api_key,
        username=_username or _nodes.username,
        password=_password or _nodes.password,
        ca_certs=_ca_certs,
        verify_certs=read.boolean("ELASTICSEARCH_VERIFY_CERTS", default=True),
        pool_maxsize=read.integer("ELASTICSEARCH_POOL_MAXSIZE", 50, minimum=1, maximum=10_000),
        request_timeout=read.seconds("ELASTICSEARCH_REQUEST_TIMEOUT", 30, minimum=0.1, maximum=3600),
        connect_timeout=read.seconds("ELASTICSEARCH_CONNECT_TIMEOUT", 10, minimum=0.1, maximum=3600),
        max_retries=read.integer("ELASTICSEARCH_MAX_RETRIES", 3, minimum=0, maximum=20),
    ),
    mapping_cache=MappingCacheConfig(
        ttl=read.seconds("MAPPING_CACHE_TTL", 300, minimum=0.1),
        max_stale=read.seconds("MAPPING_CACHE_MAX_STALE", 86_400, minimum=0),
        batch_size=read.integer("MAPPING_CACHE_BATCH_SIZE", 5, minimum=1, maximum=1000),
        fetch_timeout=read.seconds("MAPPING_CACHE_FETCH_TIMEOUT", 15, minimum=0.1, maximum=3600),
        indices_timeout=read.seconds("ELASTICSEARCH_INDICES_TIMEOUT", 10, minimum=0.1, maximum=3600),
        min_refresh_interval=read.seconds("MIN_REFRESH_INTERVAL", 60, minimum=0),
        refresh_interval=read.seconds("MAPPING_CACHE_REFRESH_INTERVAL", 240, minimum=0),
    ),
    health=HealthConfig(
        ttl=read.seconds("HEALTH_CACHE_TTL", 30, minimum=0.1, maximum=3600),
        timeout=read.seconds("HEALTH_TIMEOUT", 5, minimum=0.1, maximum=300),
    ),
    api_tokens=read.words("ESASSISTANT_API_TOKENS", secret=True),
    drain_seconds=read.seconds("ESASSISTANT_DRAIN_SECONDS", 5, minimum=0, maximum=600),
)
if ESASSISTANT.health.timeout > ESASSISTANT.health.ttl:
    read.refuse("HEALTH_TIMEOUT", "must not be above HEALTH_CACHE_TTL, or a round of checks would outlive its report")
if any(len(token) < 16 or not token.isascii() or not token.isprintable() for token in ESASSISTANT.api_tokens):
    read.refuse(
        "ESASSISTANT_API_TOKENS",
        "has a token that is not plain ASCII of at least 16 characters; make one by `openssl rand -hex 32`",
    )

try:
    read.finish()
except BadSettings as error:
    raise ImproperlyConfigured(str(error)) from None

INSTALLED_APPS = [
    "esassistant",
    "cacheapp",
    "healthapp",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "servestatic",
]

MIDDLEWARE = [
    "healthapp.probes.ProbeMiddleware",
    "esassistant.problems.ProblemMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "esassistant.urls"
ASGI_APPLICATION = "esassistant.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"
# Straight from the installed apps: no `collectstatic` step to forget.
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = DEBUG

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        # One line per request would drown everything else; statistics count them.
        "elastic_transport.transport": {"level": "WARNING"},
        # Says "node has failed" with a traceback for each attempt of an outage; health says it once.
        "elastic_transport.node_pool": {"level": "ERROR"},
    },
}
