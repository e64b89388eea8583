"""The settings with every logger at DEBUG, and a view that fails: for the test that greps for secrets."""

from esassistant.settings import *  # noqa: F403
from esassistant.settings import LOGGING

LOGGING = {
    **LOGGING,
    "root": {"handlers": ["stderr"], "level": "DEBUG"},
    "loggers": {"django": {"handlers": ["stderr"], "level": "DEBUG", "propagate": False}},
}
ROOT_URLCONF = "tests.faults.broken_urls"
