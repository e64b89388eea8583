"""The settings with every logger at DEBUG, and a view that fails: for the test that searches for secrets."""

import os

from esassistant.settings import *  # noqa: F403
from esassistant.settings import DATABASES, LOGGING

LOGGING = {
    **LOGGING,
    # A file, because nobody reads the output of a server under test before its end; so much output would block the
    # server.
    "handlers": {"stderr": {"class": "logging.FileHandler", "filename": os.environ["LOUD_LOG"], "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "DEBUG"},
    "loggers": {"django": {"handlers": ["stderr"], "level": "DEBUG", "propagate": False}},
}
ROOT_URLCONF = "tests.support.broken_urls"
# SQLite needs no password; this stands for a database that does.
DATABASES["default"]["PASSWORD"] = os.environ["LOUD_DATABASE_PASSWORD"]
