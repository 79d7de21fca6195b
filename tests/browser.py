"""A headless Chromium for tests of what people see, or the reason why there is none.

Playwright drives it; the browser is the system's (``apt-get install chromium``) or the one that
``playwright install chromium`` fetched.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser. Skips the test, and says why, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    with playwright.sync_playwright() as driver:
        if path is None and not os.path.exists(driver.chromium.executable_path):  # noqa: PTH110
            pytest.skip("no Chromium here: install the system's, or run 'playwright install chromium'")
        # A browser started by root, as in containers, refuses its sandbox; it only opens files made here.
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
