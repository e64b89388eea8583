"""A real browser for tests and screenshots."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from dev.chromium import chromium

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PASSWORD = "a long enough password"
WIDE, NARROW = 1280, 390
WAIT_SECONDS = 20


class Browser:
    """One window. `texts` and `find` wait for what isn't there yet."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self._url = url

    def open(self, path: str) -> None:
        self.driver.get(self._url + path)

    def find(self, selector: str) -> WebElement:
        found: WebElement = self.wait(lambda: self.driver.find_elements(By.CSS_SELECTOR, selector))[0]
        return found

    def text(self, selector: str = "body") -> str:
        script = "return document.querySelector(arguments[0])?.innerText || ''"
        return self.driver.execute_script(script, selector)  # type: ignore[no-any-return]

    def wait_for_text(self, wanted: str, selector: str = "body", seconds: float = WAIT_SECONDS) -> None:
        self.wait(lambda: wanted in self.text(selector), f"{wanted!r} in {selector}", seconds)

    def wait(self, condition: Callable[[], Any], what: str = "", seconds: float = WAIT_SECONDS) -> Any:
        return WebDriverWait(self.driver, seconds).until(lambda _: condition(), what)

    def click(self, selector: str) -> None:
        self.find(selector).click()

    def log_in(self, *, create: bool = True) -> None:
        """Log in as staff. `create`: as a new user."""
        if create:
            get_user_model().objects.create_superuser("ada", "ada@example.org", PASSWORD)
        self.open("/admin/login/?next=/admin/status/")
        self.find("input[name=username]").send_keys("ada")
        self.find("input[name=password]").send_keys(PASSWORD)
        self.click("input[type=submit]")
        self.wait_for_text("Status")

    def resize(self, width: int, height: int = 900) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, scheme: str) -> None:
        """Set the preferred colour scheme: `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def console_errors(self) -> list[str]:
        """Return the errors in the console since the last call."""
        driver: Any = self.driver
        return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


OpenBrowser = Callable[..., AbstractContextManager[Browser]]


@contextmanager
def open_window(url: str, profile: Path, *, javascript: bool = True) -> Iterator[Browser]:
    """Open a new window without history. Raises `MissingPackage` if there is no browser."""
    found = chromium()
    options = webdriver.ChromeOptions()
    options.binary_location = str(found.browser)
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if not javascript:
        settings = {"profile.managed_default_content_settings.javascript": 2}
        options.add_experimental_option("prefs", settings)
    driver = webdriver.Chrome(options=options, service=Service(str(found.driver)))
    try:
        browser = Browser(driver, url)
        browser.resize(WIDE)
        yield browser
    finally:
        driver.quit()
