"""Django's settings, and the only reader of the process's environment."""

import os
import secrets
from pathlib import Path

from corsheaders.defaults import default_headers

from esassistant.config import read
from esassistant.config.home import home_of
from esassistant.config.reader import remembering_outages
from esassistant.http.middleware import middleware

BASE_DIR = home_of(os.environ)

ESASSISTANT, ESASSISTANT_SETTINGS = read(os.environ, BASE_DIR, django=True)
_values = {name: setting.value for name, setting in ESASSISTANT_SETTINGS.items()}

DEBUG = _values["DEBUG"]
# Without a key, which only DEBUG permits, all sessions end with the process: good enough to try things out.
SECRET_KEY = _values["SECRET_KEY"] or secrets.token_urlsafe(50)
ALLOWED_HOSTS = list(_values["ALLOWED_HOSTS"])
DATABASES = {"default": remembering_outages(_values["DATABASE_URL"]) | {"CONN_MAX_AGE": 0}}

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
    "corsheaders",
    "django_htmx",
]

MIDDLEWARE = middleware(cors=bool(ESASSISTANT.cors_origins))

CSRF_FAILURE_VIEW = "esassistant.views.csrf_failed"
SESSION_ENGINE = "esassistant.http.sessions"
LOGIN_REDIRECT_URL = "admin:index"  # after a login whose `next` leads elsewhere

CORS_ALLOWED_ORIGINS = list(ESASSISTANT.cors_origins)
CORS_URLS_REGEX = r"^/(api/|mcp$)"
CORS_ALLOW_HEADERS = (
    *default_headers,
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "mcp-method",
    "mcp-name",
)
CORS_EXPOSE_HEADERS = ("Age", "ETag", "Location", "Retry-After", "X-Cache-Source", "X-Cache-State", "X-Request-ID")

ROOT_URLCONF = "esassistant.root_urls"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Only our own server uses these templates; the admin of another project stays unchanged.
        "DIRS": [Path(__file__).parent / "admin_templates"],
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
DATE_FORMAT, TIME_FORMAT, DATETIME_FORMAT = "Y-m-d", "H:i:s", "Y-m-d H:i:s e"

STATIC_URL = "static/"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "esassistant.masking.MaskingFormatter",
            "format": "{asctime} {levelname} [{process}] {name}: {message}",
            "style": "{",
        }
    },
    "filters": {"server errors": {"()": "esassistant.log_handler.ServerErrors"}},
    "handlers": {"stderr": {"()": "esassistant.log_handler.standard_error", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "django.server": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "django.request": {"filters": ["server errors"]},
        # Anybody can cause these records, of any length and with a traceback each; the answer itself says what is
        # wrong.
        "django.security": {"level": "CRITICAL"},
        # One line per request, and a traceback per retry, would drown everything else; statistics count both.
        "elastic_transport.transport": {"level": "ERROR"},
        # It logs the beginning and the end of each call, and the mistakes of callers.
        "mcp": {"level": "ERROR"},
        # It logs "node has failed" with a traceback for each attempt during an outage; health says it once.
        "elastic_transport.node_pool": {"level": "ERROR"},
    },
}

# Security

_https = _values["ESASSISTANT_HTTPS"]
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
# Prometheus calls each server directly, not through the proxy. A redirect would come too late: its token is sent by
# then.
SECURE_REDIRECT_EXEMPT = ["^metrics$"]
# SECURE_PROXY_SSL_HEADER isn't set, as Django would trust that header from anybody. `serve --forwarded-allow-ips`
# trusts X-Forwarded-Proto only from the proxies that it names.
SECURE_HSTS_SECONDS = _values["ESASSISTANT_HSTS_SECONDS"] if _https else 0
SILENCED_SYSTEM_CHECKS = [
    # These ask to include subdomains and to join preload lists, which affects the whole domain; this service is only a
    # part of it.
    *("security.W005", "security.W021"),
    # These are about HSTS, the redirect, the key, the hosts, and the cookies of sessions and CSRF. All follow from
    # ESASSISTANT_HTTPS, ESASSISTANT_HSTS_SECONDS, SECRET_KEY and ALLOWED_HOSTS, which our own audit checks.
    *("security.W004", "security.W008", "security.W009", "security.W020"),
    *("security.W010", "security.W011", "security.W012", "security.W016"),
]
CSRF_TRUSTED_ORIGINS = list(_values["CSRF_TRUSTED_ORIGINS"])
# Larger bodies are refused before Django reads them. The largest allowed bodies are the forms of the admin.
DATA_UPLOAD_MAX_MEMORY_SIZE = ESASSISTANT.max_body_bytes
DEFAULT_EXCEPTION_REPORTER = "esassistant.error_reports.MaskingReporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "esassistant.error_reports.MaskingFilter"
