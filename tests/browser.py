"""Headless Chromium for the tests of pages, with the console messages and requests of a page."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
LACK = (
    "Chromium is not installed: apt-get install chromium (scripts/bootstrap --dev does it where "
    f"that needs no password), or any of {', '.join(NAMES)} on the PATH"
)
WITHOUT_GPU = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
"""WebGL, which the viewer draws with, calculated by the processor."""

PATIENCE = 120_000
"""Longest that anything may take, ms: the machine may be busy with other tests."""

LAPTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
SCREEN = {"width": 1920, "height": 1080}


@dataclass
class Heard:
    """What a page said on the console, and what it asked for."""

    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the browser, and end it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=WITHOUT_GPU)
        yield browser
        browser.close()


def listen(page: Page) -> Heard:
    """Record the console messages and requests of a page from now on."""
    heard = Heard()
    page.on("console", lambda message: heard.said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.said.append(f"uncaught: {error}"))
    page.on("request", lambda request: heard.asked.append(request.url))
    page.on("requestfailed", lambda request: heard.failed.append(request.url))
    return heard


def settle(page: Page) -> None:
    """Wait until what scrolls can be reached by keys: the page hears of its size a moment later."""
    scrollable_in_tab_order = (
        "Array.from(document.querySelectorAll('.pan'))"
        ".every((box) => (box.scrollWidth > box.clientWidth) === (box.tabIndex === 0))"
    )
    # not wait_for_function: its second look is eval() in the page, which the page's policy forbids
    deadline = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(scrollable_in_tab_order):
        assert time.monotonic() < deadline, "a scrolling box stayed out of the tab order"
        page.wait_for_timeout(20)


def opened(browser: Browser, path: Path, viewport: dict[str, int]) -> tuple[Page, Heard]:
    """Open a page from disk and unfold all that is folded."""
    page = browser.new_page(viewport=viewport, reduced_motion="reduce")
    page.set_default_timeout(PATIENCE)
    heard = listen(page)
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    settle(page)
    return page, heard
