"""Weights of a large library move into huge pages: the same bytes at the same addresses, whatever fails on the way."""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from cnngen import pipeline
from cnngen.backends.cpu import huge_pages, loader
from cnngen.backends.cpu.compiler import find_compiler
from cnngen.cache import library
from cnngen.interface import Interface, Stages
from cnngen.ir import Array
from cnngen.network import Network
from cnngen.ops import Dense
from tests.graphs import Builder
from tests.native import planned

pytestmark = pytest.mark.skipif(
    not huge_pages.MODES.exists() or "[never]" in huge_pages.MODES.read_text(),
    reason="the system has no transparent huge pages",
)


class Large(NamedTuple):
    """A network of 16 MiB of weights, an input, and its output with the weights in the pages of the file."""

    path: Path
    net: Network
    x: Array
    y: Array


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Large]:
    monkeypatch.setenv(huge_pages.SWITCH, "0")
    net = Builder((1, 2048), name="large")
    net.add(Dense(2048), "x")
    graph = net.graph()
    plan = planned(graph, "native")
    tree = pipeline.sources(plan)
    # A file of its own: what is moved stays so until the process ends.
    path = tmp_path / "large.so"
    path.write_bytes(library(tree, find_compiler()).read_bytes())
    stages = Stages(graph, plan)
    x = np.random.default_rng(0).standard_normal((1, 2048), np.float32)
    with Network(Interface.of(stages), loader.load(path, tree.name, 1, 1), stages) as network:
        y = network(x)
        monkeypatch.delenv(huge_pages.SWITCH)
        monkeypatch.setattr(huge_pages, "_seen", set())
        yield Large(path, network, x, y)


def mapped(path: Path) -> int:
    """Bytes of the file that are mapped as read-only data."""
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(path))]
    ranges = [re.match(r"(\w+)-(\w+) r--p", line) for line in lines]
    return sum(int(found[2], 16) - int(found[1], 16) for found in ranges if found)


def test_weights_move_and_results_stay(large: Large) -> None:
    before = mapped(large.path)
    moved = huge_pages.move(large.path)
    assert moved >= 12 << 20
    assert moved % huge_pages.HUGE == 0
    assert before - mapped(large.path) == moved
    np.testing.assert_array_equal(large.net(large.x), large.y)


def test_they_move_once(large: Large) -> None:
    assert huge_pages.move(large.path) > 0
    assert huge_pages.move(large.path) == 0


def test_calls_go_on_meanwhile(large: Large) -> None:
    results: list[Array] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            results.append(large.net(large.x))

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    while not results:
        pass
    assert huge_pages.move(large.path) > 0
    count = len(results)
    while len(results) < count + 4:
        pass
    stop.set()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, large.y)


@pytest.mark.parametrize("fails", ["mmap", "madvise", "mprotect", "mremap"])
def test_what_the_system_refuses_leaves_everything_as_it_is(
    large: Large, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ctypes.CDLL(None)

    def refuse(*_: Any) -> Any:
        return huge_pages.FAILED

    class Refusing:
        """The system's functions, one of which refuses; their types are set by who calls them."""

        def __init__(self) -> None:
            setattr(self, fails, refuse)

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    monkeypatch.setattr(huge_pages.ctypes, "CDLL", lambda *_, **__: Refusing())
    before = mapped(large.path)
    assert huge_pages.move(large.path) == 0
    assert mapped(large.path) == before
    np.testing.assert_array_equal(large.net(large.x), large.y)


def test_not_without_room(large: Large, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(huge_pages, "LIMITS", (limit, tmp_path / "missing"))
    limit.write_text(f"{32 << 20}\n")  # of a container
    assert huge_pages.move(large.path) == 0
    monkeypatch.setattr(huge_pages, "_seen", set())
    limit.write_text("max\n")
    assert huge_pages.move(large.path) > 0


def test_not_where_the_system_has_none(large: Large, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    modes = tmp_path / "enabled"
    modes.write_text("always madvise [never]\n")
    monkeypatch.setattr(huge_pages, "MODES", modes)
    assert huge_pages.move(large.path) == 0
    monkeypatch.setattr(huge_pages, "_seen", set())
    monkeypatch.setattr(huge_pages, "MODES", tmp_path / "missing")
    assert huge_pages.move(large.path) == 0


def test_not_where_it_is_switched_off(large: Large, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(huge_pages.SWITCH, "0")
    assert huge_pages.move(large.path) == 0


def test_small_libraries_stay(tmp_path: Path) -> None:
    path = tmp_path / "small.so"
    path.write_bytes(bytes(1 << 20))
    assert huge_pages.move(path) == 0


def test_loading_moves(large: Large) -> None:
    loader.load(large.path, "large", 1, 1)
    assert huge_pages.move(large.path) == 0
    assert mapped(large.path) < 4 << 20
