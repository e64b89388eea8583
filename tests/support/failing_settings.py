"""The settings, with a view that always fails."""

from esassistant.settings import *  # noqa: F403

ROOT_URLCONF = "tests.support.broken_urls"
