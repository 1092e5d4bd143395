"""A real Chromium for tests of pages: found, or asked for in vain, and watched for what it complains of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The browser itself writes these for answers that a page asked for and deals with.
PATIENCE_MS = 30_000  # a machine may be busy; what is right comes at once
EXPECTED = "Failed to load resource"


def chromium() -> str:
    """Return where Chromium is. Where there is none the test is skipped, or fails if one is required."""
    named = os.environ.get("COPYTRADE_CHROMIUM", "")
    found = named or next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
    )
    if not found:
        found = _of_playwright()
    if found:
        return found
    if os.environ.get("COPYTRADE_REQUIRE_BROWSER") == "1":
        pytest.fail("no Chromium here, and COPYTRADE_REQUIRE_BROWSER=1")
    pytest.skip("no Chromium here: install one, or name it in COPYTRADE_CHROMIUM")


def _of_playwright() -> str:
    """Return the Chromium that `playwright install chromium` left, where there is one."""
    folder = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    return next((str(path) for path in sorted(folder.glob("chromium-*/chrome-linux*/chrome"), reverse=True)), "")


@contextmanager
def running_chromium() -> Iterator[Any]:
    """Run a Chromium that Playwright drives."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """Everything that a page's console complained of: errors, warnings, breaches of the content policy."""

    def __init__(self, context: Any, expected: str = "") -> None:
        self.complaints: list[str] = []
        self._expected = (EXPECTED, expected) if expected else (EXPECTED,)
        context.on("console", self._heard)
        context.on("weberror", lambda error: self.complaints.append(f"error: {error.error}"))

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(self._expected):
            self.complaints.append(f"{message.type}: {message.text}")


@contextmanager
def watched_context(browser: Any, *, expected: str = "", **options: Any) -> Iterator[Any]:
    """Open a window's worth of browser; at the end it must not have complained, but of what is *expected*."""
    context = browser.new_context(**{"locale": "zh-CN", "viewport": {"width": 1366, "height": 768}, **options})
    context.set_default_timeout(PATIENCE_MS)
    watch = Watch(context, expected)
    try:
        yield context
    finally:
        context.close()
    assert watch.complaints == []
