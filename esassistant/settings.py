"""Django's settings, and the only reader of the environment.

Order of strength: the process's environment, the file named by `ESASSISTANT_ENV_FILE` (`.env` beside `manage.py` unless
told), the profile that `ESASSISTANT_PROFILE` names, the default. docs/settings.md describes each setting.
"""

import importlib.util
import logging
import os
import secrets
import ssl
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import environ
from django.core.exceptions import ImproperlyConfigured
from redis.asyncio.connection import parse_url as parse_redis_url

from esassistant.config.model import (
    LONGEST_NEGATIVE_TTL_SECONDS,
    MOST_CACHE_BYTES,
    NO_PROFILE,
    Config,
    Details,
    ElasticsearchConfig,
    HealthConfig,
    MappingCacheConfig,
    Origin,
)
from esassistant.config.pools import LARGEST_POOL, parse_pools, with_default_pool
from esassistant.config.reader import BadSettings, Reader, bad_lines, parse_node_urls
from esassistant.config.secrets import secrets_of
from esassistant.masking import remember_secrets

BASE_DIR = Path(__file__).resolve().parent.parent


# It logs a line that it can't read as it stands, secrets included; such lines are reported below instead.
logging.getLogger("environ.environ").setLevel(logging.ERROR)
read = Reader([(Origin.ENVIRONMENT, os.environ)])


def _fall_back_on(origin: Origin, path: Path) -> None:
    """Read a file of `NAME=value` lines as the weakest source so far. What can't be read in it is refused."""

    class EnvFile(environ.Env):  # type: ignore[misc]  # (it has no types)
        # Of its own, or it would write into the environment: the origin of each value must stay known.
        ENVIRON: ClassVar[dict[str, str]] = {}

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        read.refuse(path.name, f"can't be read ({type(error).__name__})")
        return
    for number in bad_lines(text):
        read.refuse(f"{path.name}, line {number}", "is neither NAME=value nor a comment")
    EnvFile.read_env(StringIO(text))
    read.fall_back_on(origin, EnvFile.ENVIRON)


_env_path = BASE_DIR / read.text("ESASSISTANT_ENV_FILE", ".env")
if _env_path.exists():
    _fall_back_on(Origin.FILE, _env_path)
elif read.settings["ESASSISTANT_ENV_FILE"].origin is not Origin.DEFAULT:
    read.refuse("ESASSISTANT_ENV_FILE", "names no file that exists")

_profiles = {
    path.stem: path for path in sorted((Path(__file__).resolve().parent / "config" / "profiles").glob("*.env"))
}
_profile = read.profile("ESASSISTANT_PROFILE", tuple(_profiles))
if _profile != NO_PROFILE:
    _fall_back_on(Origin.PROFILE, _profiles[_profile])


DATABASE_HINT = "use a URL such as postgres://user:password@host:5432/name or sqlite:////var/lib/db.sqlite3"


def _database(url: str) -> dict[str, Any]:
    if url.startswith("sqlite:") and not url.startswith(("sqlite:///", "sqlite://:memory:")):
        # Whatever else it has would be ignored, with a warning that shows it: a password too.
        raise ValueError("a SQLite URL is a path and nothing else: sqlite:////var/lib/db.sqlite3")
    if url.partition(":")[0] not in environ.Env.DB_SCHEMES:  # of which environ would only warn, with the password
        raise ValueError(DATABASE_HINT)
    try:
        database: dict[str, Any] = environ.Env.db_url_config(url)
    except Exception:  # noqa: BLE001  (whatever it stumbles over, the URL is bad)
        raise ValueError(DATABASE_HINT) from None
    if not database.get("ENGINE", "").startswith("django.db.backends.") or not database.get("NAME"):
        raise ValueError(DATABASE_HINT)
    if database["ENGINE"].endswith("postgresql"):
        if importlib.util.find_spec("psycopg") is None:
            raise ValueError("PostgreSQL needs its driver: pip install 'psycopg[binary]'")
        database["OPTIONS"] = {"connect_timeout": 5, **database.get("OPTIONS", {})}
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
elif _ca_certs and Path(_ca_certs).is_file():
    try:
        ssl.create_default_context(cafile=_ca_certs)
    except (ssl.SSLError, OSError):
        read.refuse("ELASTICSEARCH_CA_CERTS", "names a file that has no certificates in PEM form")

_pool_maxsize = read.integer("ELASTICSEARCH_POOL_MAXSIZE", 50, minimum=1, maximum=LARGEST_POOL)

DATABASES = {
    "default": read.parsed("DATABASE_URL", f"sqlite:///{BASE_DIR / 'esassistant.sqlite3'}", _database, secret=True)
    | {"CONN_MAX_AGE": 0}
}


def _redis(url: str) -> str:
    try:
        options = parse_redis_url(url) if url else {"host": ""}
    except Exception:  # noqa: BLE001  (whatever it stumbles over, the URL is bad)
        options = {}
    if not options.keys() & {"host", "path"}:
        raise ValueError("use a URL such as redis://:password@host:6379/0, rediss://… or unix:///run/redis.sock")
    return url


ESASSISTANT = Config(
    elasticsearch=ElasticsearchConfig(
        urls=_nodes.urls,
        api_key=_api_key,
        username=_username or _nodes.username,
        password=_password or _nodes.password,
        ca_certs=_ca_certs,
        verify_certs=read.boolean("ELASTICSEARCH_VERIFY_CERTS", default=True),
        pool_block=read.boolean("ELASTICSEARCH_POOL_BLOCK", default=False),
        pool_overflow=read.integer("ELASTICSEARCH_POOL_OVERFLOW", 50, minimum=0, maximum=LARGEST_POOL),
        pools=with_default_pool(read.parsed("ELASTICSEARCH_POOLS", "", parse_pools), _pool_maxsize),
        request_timeout=read.seconds("ELASTICSEARCH_REQUEST_TIMEOUT", 30, minimum=0.1, maximum=3600),
        connect_timeout=read.seconds("ELASTICSEARCH_CONNECT_TIMEOUT", 10, minimum=0.1, maximum=3600),
        max_retries=read.integer("ELASTICSEARCH_MAX_RETRIES", 3, minimum=0, maximum=20),
    ),
    mapping_cache=MappingCacheConfig(
        ttl=read.seconds("MAPPING_CACHE_TTL", 300, minimum=0.1),
        negative_ttl=read.seconds("MAPPING_CACHE_NEGATIVE_TTL", 5, minimum=0, maximum=LONGEST_NEGATIVE_TTL_SECONDS),
        max_bytes=read.integer("MAPPING_CACHE_MAX_BYTES", 268_435_456, minimum=1_000_000, maximum=MOST_CACHE_BYTES),
        max_stale=read.seconds("MAPPING_CACHE_MAX_STALE", 86_400, minimum=0),
        batch_size=read.integer("MAPPING_CACHE_BATCH_SIZE", 5, minimum=1, maximum=1000),
        fetch_timeout=read.seconds("MAPPING_CACHE_FETCH_TIMEOUT", 15, minimum=0.1, maximum=3600),
        indices_timeout=read.seconds("ELASTICSEARCH_INDICES_TIMEOUT", 10, minimum=0.1, maximum=3600),
        min_refresh_interval=read.seconds("MIN_REFRESH_INTERVAL", 60, minimum=0),
        refresh_interval=read.seconds("MAPPING_CACHE_REFRESH_INTERVAL", 240, minimum=0),
        watch=read.boolean("MAPPING_CACHE_WATCH", default=True),
        adaptive=read.boolean("MAPPING_CACHE_ADAPTIVE", default=True),
        include=read.words("MAPPING_CACHE_INCLUDE", ("*",)),
        exclude=read.words("MAPPING_CACHE_EXCLUDE"),
    ),
    health=HealthConfig(
        ttl=read.seconds("HEALTH_CACHE_TTL", 30, minimum=0.1, maximum=3600),
        timeout=read.seconds("HEALTH_TIMEOUT", 5, minimum=0.1, maximum=300),
    ),
    api_tokens=read.words("ESASSISTANT_API_TOKENS", secret=True),
    details=read.choice("ESASSISTANT_DETAILS", Details.ALWAYS if DEBUG else Details.AUTHORIZED),
    cors_origins=read.words("ESASSISTANT_CORS_ORIGINS"),
    redis_url=read.parsed("REDIS_URL", "", _redis, secret=True),
    search_scripts=read.boolean("ESASSISTANT_SEARCH_SCRIPTS", default=False),
    hot_path=read.boolean("ESASSISTANT_HOT_PATH", default=True),
    access_log=read.boolean("ESASSISTANT_ACCESS_LOG", default=False),
    max_in_flight=read.integer("ESASSISTANT_MAX_IN_FLIGHT", 2000, minimum=1, maximum=1_000_000),
    drain_seconds=read.seconds("ESASSISTANT_DRAIN_SECONDS", 5, minimum=0, maximum=600),
)
if ESASSISTANT.health.timeout > ESASSISTANT.health.ttl:
    read.refuse("HEALTH_TIMEOUT", "must not be above HEALTH_CACHE_TTL, or a round of checks would outlive its report")
if any(len(token) < 16 or not token.isascii() or not token.isprintable() for token in ESASSISTANT.api_tokens):
    read.refuse(
        "ESASSISTANT_API_TOKENS",
        "has a token that is not plain ASCII of at least 16 characters; make one by `openssl rand -hex 32`",
    )

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
    "corsheaders",
    "django_htmx",
]

MIDDLEWARE = [
    "esassistant.http.security_headers.SecurityHeadersMiddleware",
    "healthapp.probes.ProbeMiddleware",
    "esassistant.http.problems.ProblemMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    *(["corsheaders.middleware.CorsMiddleware"] if ESASSISTANT.cors_origins else []),
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

CORS_ALLOWED_ORIGINS = list(ESASSISTANT.cors_origins)
CORS_URLS_REGEX = r"^/api/"
CORS_EXPOSE_HEADERS = ("Age", "ETag", "Location", "Retry-After", "X-Cache-Source", "X-Cache-State", "X-Request-ID")

ROOT_URLCONF = "esassistant.urls"

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
    "formatters": {
        "line": {
            "()": "esassistant.masking.MaskingFormatter",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "django.server": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        # Anybody can cause it, at any length and with a traceback each time; the answer says what is wrong.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # One line per request would drown everything else, and one with a traceback per retry: statistics count both.
        "elastic_transport.transport": {"level": "ERROR"},
        # Says "node has failed" with a traceback for each attempt of an outage; health says it once.
        "elastic_transport.node_pool": {"level": "ERROR"},
    },
}

# Security

# Off by default: with it, nobody can log in over plain HTTP. `manage.py check --deploy` says what that means.
_https = read.boolean("ESASSISTANT_HTTPS", default=False)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
# Prometheus asks each server itself, not the proxy; and a redirect would come after it had sent its token.
SECURE_REDIRECT_EXEMPT = ["^metrics$"]
# There is no SECURE_PROXY_SSL_HEADER: it would be believed from anybody. `serve --forwarded-allow-ips` believes
# X-Forwarded-Proto from the proxies that it names.
_hsts_seconds = read.integer("ESASSISTANT_HSTS_SECONDS", 3600, minimum=0, maximum=63_072_000)
SECURE_HSTS_SECONDS = _hsts_seconds if _https else 0
# Subdomains and preload lists bind the whole domain, of which this service is a part.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
CSRF_TRUSTED_ORIGINS = list(read.words("CSRF_TRUSTED_ORIGINS"))
# What is larger is refused before Django reads it; the admin's forms are the largest bodies there are.
DATA_UPLOAD_MAX_MEMORY_SIZE = read.integer("ESASSISTANT_MAX_BODY_BYTES", 65_536, minimum=1024, maximum=16_777_216)
DEFAULT_EXCEPTION_REPORTER = "esassistant.error_reports.MaskingReporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "esassistant.error_reports.MaskingFilter"
remember_secrets({SECRET_KEY, *secrets_of(read.settings.values())})

try:
    read.finish()
except BadSettings as error:
    raise ImproperlyConfigured(str(error)) from None
ESASSISTANT_SETTINGS = read.settings
