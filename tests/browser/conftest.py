"""A real Chromium, found on this machine. Without one these tests fail: a browser test that skips proves nothing."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, sync_playwright

from browser.runs import Run
from thebes import publish

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",)
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def chromium() -> str:
    """The browser to test with: THEBES_CHROMIUM, or what is on PATH."""
    wanted = os.environ.get("THEBES_CHROMIUM")
    found = [wanted] if wanted else [shutil.which(name) for name in NAMES] + [p for p in PLACES if Path(p).exists()]
    path = next((path for path in found if path), None)
    if not path or not Path(path).exists():
        pytest.fail("no Chromium found: install it (apt install chromium) or name it in THEBES_CHROMIUM", pytrace=False)
    return path


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
    yield browser
    browser.close()


class Report:
    """A report in a tab. Anything written to the console as an error, and any request, is kept."""

    def __init__(self, browser: Browser, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.url = path.as_uri()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._told)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.open("")

    def open(self, fragment: str) -> None:
        self.page.goto("about:blank")
        self.page.goto(self.url + fragment)
        self.page.wait_for_function("performance.getEntriesByName('ready').length > 0")

    def _told(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(message.text)

    def address(self) -> str:
        return self.page.evaluate("decodeURIComponent(location.hash)")  # type: ignore[no-any-return]

    def close(self) -> None:
        self.context.close()


class Reports:
    """Publishes runs and opens them; afterwards nothing may have gone wrong in any of the tabs."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self._browser = browser
        self._folder = folder
        self._open: list[Report] = []

    def __call__(self, run: Run, *, owners: str = "", **options: Any) -> Report:
        path = self._folder / f"report-{len(self._open)}.html"
        publish.html(run.db, run.verdict(), path, owners=owners)
        self._open.append(Report(self._browser, path, **options))
        return self._open[-1]

    def close(self) -> None:
        for report in self._open:
            report.close()
        assert [error for report in self._open for error in report.errors] == []
        own = {report.url for report in self._open} | {"about:blank"}
        asked = {url.partition("#")[0] for report in self._open for url in report.requests}
        assert asked <= own


@pytest.fixture
def report(browser: Browser, tmp_path: Path) -> Iterator[Reports]:
    reports = Reports(browser, tmp_path)
    yield reports
    reports.close()
