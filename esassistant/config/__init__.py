"""The settings of this service: `read` gives the configuration in force, and each setting with its origin."""

from esassistant.config.reader import read

__all__ = ["read"]
