"""The contract tests use the application in the test's own loop, like the integration tests."""

from tests.integration.conftest import open_app

__all__ = ["open_app"]
