"""A real browser on a real server. Whatever a page writes to the browser's console as an error fails the test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dev.chromium import chromium
from dev.packages import MissingPackage
from tests.support.browser import Browser, OpenBrowser, open_window


@pytest.fixture
def open_browser(tmp_path: Path) -> OpenBrowser:
    """`with open_browser(url) as browser`: a new window; `javascript=False` switches that off."""

    @contextmanager
    def opened(url: str, *, javascript: bool = True) -> Iterator[Browser]:
        try:
            chromium()
        except MissingPackage as missing:
            pytest.skip(str(missing))
        with open_window(url, tmp_path / "profile", javascript=javascript) as browser:
            yield browser
            assert browser.console_errors() == []

    return opened
