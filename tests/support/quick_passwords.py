"""The settings, with passwords that are quick to check, because a test tries hundreds of them."""

from esassistant.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
