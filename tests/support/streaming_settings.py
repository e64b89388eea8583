"""The settings, with an app that owns a stream."""

from esassistant.settings import *  # noqa: F403
from esassistant.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.support.streaming.StreamingConfig"]
