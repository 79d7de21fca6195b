"""Races: what counts, what is void, and what is said of contenders that are not there or fail."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from cnngen import race as races
from cnngen.backends.cpu.machine import DEFAULTS
from cnngen.ops import Conv2D
from cnngen.race import Lane, Race, install_command
from cnngen.report.profile import least_seconds
from cnngen.resources import specs_folder
from tests.graphs import Builder

OWN = Lane("cnngen", "1", (0.002, 0.001, 0.004))


def test_the_ratio_is_to_the_best_that_agrees() -> None:
    wrong = Lane("onnxruntime", "1", (0.0001,), difference=0.1)
    slow, good = Lane("torch", "1", (0.02,), 1e-6), Lane("ncnn", "1", (0.006, 0.007, 0.005), 1e-6)
    result = Race("net", 1, "fast", (OWN, wrong, slow, good, Lane("openvino", problem="not installed")))
    assert result.best_peer == good
    assert result.ratio == pytest.approx(3.0)
    assert result.as_json()["best_peer"] == "ncnn"


def test_a_race_without_an_agreeing_contender_is_void() -> None:
    for other in (Lane("torch", problem="not installed"), Lane("torch", "1", (0.02,), math.inf)):
        result = Race("net", 1, "fast", (OWN, other))
        assert result.best_peer is None
        assert result.ratio is None


def test_a_missing_contender_comes_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(races.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    assert install_command("ncnn") == "pip install ncnn pnnx"
    result = races.race(specs_folder() / "lenet.yaml", ["openvino"], isa="sse4.1", rounds=1, slice_seconds=0.001)
    assert result.lanes[0].slices
    assert result.lanes[1] == Lane("openvino", problem="not installed: pip install openvino")


def test_a_contender_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise OSError('no such library')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    result = races.race(specs_folder() / "lenet.yaml", ["onnxruntime"], isa="sse4.1", rounds=1, slice_seconds=0.001)
    assert result.lanes[0].slices
    assert "no such library" in result.lanes[1].problem
    assert result.ratio is None


def test_differences_are_of_all_outputs() -> None:
    one = [np.ones(4), np.ones((2, 2))]
    assert races._difference(one, [np.ones(4), np.ones(4)]) == 0
    assert races._difference([np.ones(4), 2 * np.ones(4)], one) == pytest.approx(1.0)
    assert races._difference(one[:1], one) == math.inf
    assert races._difference([np.full(4, np.nan), np.ones(4)], one) == math.inf


def test_the_roofline_is_arithmetic_or_traffic() -> None:
    machine = DEFAULTS["avx2"]
    net = Builder((1, 16, 16, 64), name="roof")
    net.add(Conv2D(64, (3, 3), padding=(1, 1, 1, 1)))
    net.add(Conv2D(8, (1, 1), groups=8))
    graph = net.graph()
    deep, thin = graph.nodes
    macs = 16 * 16 * 64 * 64 * 9
    assert least_seconds(graph, deep, macs, machine, 1) == pytest.approx(2e-9 * macs / machine.peak)
    assert least_seconds(graph, deep, macs, machine, 2) == pytest.approx(1e-9 * macs / machine.peak)
    thin_macs = 16 * 16 * 64
    assert least_seconds(graph, thin, thin_macs, machine, 1) > 2e-9 * thin_macs / machine.peak
