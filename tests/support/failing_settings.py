"""The settings, and a view that fails whoever asks for it."""

from esassistant.settings import *  # noqa: F403

ROOT_URLCONF = "tests.support.broken_urls"
