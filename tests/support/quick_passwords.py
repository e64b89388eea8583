"""The settings, with passwords that are checked at once: a test tries hundreds."""

from esassistant.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
