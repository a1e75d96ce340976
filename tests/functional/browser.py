"""
A headless Chromium, driven as a person would drive it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import JavascriptException, StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from twisted.trial.unittest import SkipTest

__all__ = ["Browser", "Keys"]

_T = TypeVar("_T")

_SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
PATIENCE_SECONDS = 60.0
"""A page that needs a tenth of that on a machine of its own is still no failure on one that does much else."""

_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
"""


class Browser:
    """
    One browser. It keeps what every page asked for, and what the content security policy forbade.

    :raises SkipTest: There is no Chromium, or no driver for it; where services are required that is a failure.
    """

    def __init__(self) -> None:
        programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
        lacking = [name for name, path in programs.items() if path is None]
        if lacking:
            reason = f"there is no {lacking[0]} (Debian: apt install chromium chromium-driver)"
            if os.environ.get("GLANCE_TX_REQUIRE_SERVICES") == "1":
                raise AssertionError(reason)
            raise SkipTest(reason)
        self._folder = tempfile.mkdtemp(prefix="glance-tx-browser-")
        options = webdriver.ChromeOptions()
        options.binary_location = str(programs["chromium"])
        for switch in (*_SWITCHES, f"--user-data-dir={self._folder}"):
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        self.driver = webdriver.Chrome(options, Service(str(programs["chromedriver"])))
        self.driver.set_script_timeout(PATIENCE_SECONDS)
        self.run_in_browser("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)
        self.size(1280, 1600)

    def close(self) -> None:
        """
        End it, and forget all that it knew.
        """
        self.driver.quit()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run_in_browser(self, command: str, **arguments: object) -> Any:
        """
        Tell the browser itself something, by its own protocol.
        """
        return self.driver.execute_cdp_cmd(command, arguments)

    def size(self, width: int, height: int, *, mobile: bool = False) -> None:
        """
        Have a screen of that size.
        """
        self.run_in_browser(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )

    def scheme(self, name: str) -> None:
        """
        Prefer ``light`` or ``dark``.
        """
        self.run_in_browser("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def open(self, url: str) -> None:
        """
        Go to a page, with nothing left of the one before.
        """
        self.driver.get("about:blank")
        self.driver.get_log("performance")
        self.driver.get_log("browser")
        self.driver.get(url)

    def evaluate(self, expression: str, *arguments: object) -> Any:
        """
        Find out what an expression comes to on the page.
        """
        return self.driver.execute_script(f"return {expression}", *arguments)

    def find(self, selector: str) -> WebElement:
        """
        Find the one element for a selector, once there is one that shows.
        """
        return self.until(lambda: self._shown(selector), f"{selector} is not there")

    def _shown(self, selector: str) -> WebElement | None:
        found = [each for each in self.driver.find_elements("css selector", selector) if each.is_displayed()]
        return found[0] if found else None

    def text(self, selector: str) -> str:
        """
        Tell what an element says, whether it shows or not; nothing where it is not there.
        """
        said = self.evaluate("document.querySelector(arguments[0])?.textContent ?? ''", selector)
        return str(said)

    def click(self, selector: str) -> None:
        """
        Click, on what is there by then: a page that is alive may have moved it.
        """

        def clicked() -> bool:
            self.find(selector).click()
            return True

        self.until(clicked, f"{selector} cannot be clicked")

    def type(self, selector: str, text: str) -> None:
        """
        Type something into a field.
        """
        self.find(selector).send_keys(text)

    def press(self, *keys: str) -> None:
        """
        Press keys, wherever the keyboard's place on the page is.
        """
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def until(self, condition: Callable[[], _T | None], problem: str) -> _T:
        """
        Wait until something comes to more than nothing.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        last: Exception | None = None
        while time.monotonic() < deadline:
            try:
                found = condition()
                if found:
                    return found
            except (StaleElementReferenceException, JavascriptException, WebDriverException) as error:
                last = error
            time.sleep(0.2)
        raise AssertionError(f"{problem} ({last}); the page says:\n{self.evaluate('document.body.innerText')}")

    def requested(self) -> Sequence[str]:
        """
        List the URLs of everything that was asked for since the page was opened.
        """
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def forbidden(self) -> Sequence[str]:
        """
        List what the content security policy of the page did not let happen.
        """
        logged = [entry["message"] for entry in self.driver.get_log("browser")]
        return [*self.evaluate("window.violations"), *(text for text in logged if "Content Security Policy" in text)]

    def picture(self, path: Path) -> None:
        """
        Take a picture of what shows of the page.
        """
        self.driver.save_screenshot(str(path))
