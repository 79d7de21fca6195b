"""Options of the test run, and what every test can rely on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[1] / "build" / "test-cache"
"""Libraries that tests compile: kept from run to run, and never those of the user."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite the files under tests/golden/ with what is emitted now"
    )
    parser.addoption(
        "--every-fault", action="store_true", help="fail every single call in tests/faults/test_injection.py (minutes)"
    )


def pytest_configure(config: pytest.Config) -> None:
    # In the environment, not in a fixture: processes that tests start inherit it, and fixtures of modules run first.
    CACHE.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(CACHE)
    os.environ.setdefault("CNNGEN_CACHE_SIZE", "2G")
