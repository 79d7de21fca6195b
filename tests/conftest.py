"""Options of the test run, and what every test can rely on."""

from __future__ import annotations

import os
from collections.abc import Iterator
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


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with a GPU, as far as this process can tell: the driver of tests/cuda_stub, as in a new process."""
    from cnngen.backends.cuda import device
    from tests import cuda_stub

    stub = cuda_stub.install()
    for name in list(os.environ):
        if name.startswith("CUDA_"):
            monkeypatch.delenv(name)
    stub.cuda_stub_reset()
    monkeypatch.setattr(device, "_devices", {})
    yield
    for opened in device._devices.values():
        opened.close()
    stub.cuda_stub_reset()
