"""Tuning for a GPU, on the driver of tests/cuda_stub, whose events say what a test wants them to say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

import cnngen
from cnngen import pipeline, tuning
from cnngen.backends.cuda import device
from cnngen.backends.cuda.choices import TileChoices, fields_of, tile_of
from cnngen.backends.cuda.kernels import GemmConvKernel
from cnngen.backends.cuda.kernels.convolution import Tile
from cnngen.backends.cuda.launcher import Launcher
from cnngen.backends.cuda.plan import CudaPlan
from cnngen.backends.cuda.target import resolve
from cnngen.errors import DeviceError, PlanError, TargetError, ToolchainError, TuningError
from cnngen.ir import Graph
from cnngen.ops import Activation, Conv2D
from cnngen.tuning import cuda
from cnngen.tuning.file import TuningFile
from cnngen.tuning.trials import key_of
from tests import cuda_stub, cuda_tiles
from tests.graphs import SAME3, Builder

linux = pytest.mark.skipif(sys.platform != "linux", reason="the driver for tests is written for Linux")


def network() -> Graph:
    """Two layers that are the same to compute, and a depthwise one, which has no tile."""
    net = Builder((1, 6, 5, 40), weights="integers", name="tuned")
    relu = Activation("relu")
    net.add(Conv2D(40, (3, 3), padding=SAME3, activation=relu))
    net.add(Conv2D(40, (3, 3), padding=SAME3, activation=relu))
    net.add(Conv2D(40, (3, 3), padding=SAME3, groups=40))
    return net.graph()


def tiles(plan: CudaPlan) -> list[Tile]:
    return [call.kernel.tile for step in plan.steps for call in step.calls if isinstance(call.kernel, GemmConvKernel)]


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few trials of few turns, with the kernels of the emulation in place of what a compiler makes."""
    monkeypatch.setattr(cuda, "MOST_TRIALS", 2)
    monkeypatch.setattr(cuda, "ROUNDS", 2)
    monkeypatch.setattr(cuda, "REPEATS", 1)
    monkeypatch.setattr(pipeline, "find_compiler", lambda target="cpu": "nvcc")
    monkeypatch.setattr(cuda, "build", lambda plan, compiler, number: cuda_stub.launcher(plan, number))


@linux
@pytest.mark.usefixtures("gpu", "_short")
class TestOnAGpu:
    OPTIONS: ClassVar[dict[str, Any]] = {"target": "cuda", "precision": "fp16"}

    def test_the_quickest_tile_is_kept_and_planned(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file, graph = tmp_path / "t.json", network()
        gpu = device.open_device(0).properties
        target = resolve("sm_90", "fp16", gpu=gpu)
        product, planned = cuda.product_of(graph, graph.nodes[0], target) or pytest.fail("no product")
        other = cuda.variants(product, planned, target)[1]
        shape = f"_t{other.pixels}x{other.channels}"
        assert (other.pixels, other.channels) != (planned.pixels, planned.channels)
        monkeypatch.setenv("CUDA_STUB_TIMES", f"{shape}=2e-6;conv2d=5e-6")
        told: list[tuple[str, int, int]] = []
        tuned = tuning.tuned_choices(graph, file, progress=lambda *said: told.append(said), **self.OPTIONS)
        assert tuned.complete
        assert tuned.device == f"{gpu.name}, sm_90, 132 multiprocessors, fp16"
        assert [said[1:] for said in told] == [(0, 1), (1, 1)]
        key = key_of(graph, graph.nodes[0])
        assert tile_of(tuned.choices[key]) == other
        entry = json.loads(file.read_text())["devices"][tuned.device][key]
        assert (entry["microseconds"], entry["planned_microseconds"], entry["measured"]) == (2.0, 5.0, 2)
        plan = pipeline.cuda_plan_for(
            graph, target="cuda", architectures="sm_90", precision="fp16", gpu=gpu, choices=tuned.choices
        )
        assert tiles(plan)[:2] == [other, other]
        # Nothing is measured again, and what is right stays right.
        monkeypatch.setattr(cuda, "measure", lambda *_: pytest.fail("measured again"))
        assert tuning.tuned_choices(graph, file, **self.OPTIONS) == tuned
        with cuda_stub.launched(plan, graph) as net:
            report = cnngen.verify(net)
            assert report.ok, report.summary()

    def test_where_nothing_is_quicker_the_plan_stays(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUDA_STUB_TIMES", "conv2d=5e-6")
        tuned = tuning.tuned_choices(network(), tmp_path / "t.json", **self.OPTIONS)
        assert tuned.complete
        assert set(map(len, tuned.choices.values())) == {0}

    def test_no_time_nothing_measured(self, tmp_path: Path) -> None:
        tuned = tuning.tuned_choices(network(), tmp_path / "t.json", seconds=-1.0, **self.OPTIONS)
        assert (tuned.complete, dict(tuned.choices)) == (False, {})

    def test_tiles_that_the_gpu_will_not_have_are_left_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[CudaPlan] = []

        def build(plan: CudaPlan, compiler: object, number: int) -> Launcher:
            made.append(plan)
            if tiles(plan)[0] != planned:
                raise ToolchainError("ptxas died")
            return cuda_stub.launcher(plan, number)

        graph = network()
        target = resolve("sm_90", "fp16", gpu=device.open_device(0).properties)
        _, planned = cuda.product_of(graph, graph.nodes[0], target) or pytest.fail("no product")
        monkeypatch.setattr(cuda, "build", build)
        entry = cuda.measure(graph, graph.nodes[0], target, None, 0)  # type: ignore[arg-type]
        assert (entry["choice"], entry["measured"], len(made)) == ({}, 1, 2)

    def test_what_a_file_may_not_say(self, tmp_path: Path) -> None:
        file, graph = tmp_path / "t.json", network()
        target = resolve("sm_90", "fp16", gpu=device.open_device(0).properties)
        key = key_of(graph, graph.nodes[0])
        for broken in ({"pixels": 64}, fields_of(Tile(72, 64, (2, 2), 4))):
            TuningFile(file).add(cuda.device(target), key, {"choice": broken})
            with pytest.raises(TuningError, match="delete it from"):
                tuning.tuned_choices(graph, file, **self.OPTIONS)

    def test_it_is_for_the_gpu_that_is_there(self, tmp_path: Path) -> None:
        with pytest.raises(TargetError, match=r"has sm_90, and the code is for sm_80; leave tune out"):
            tuning.tuned_choices(network(), tmp_path / "t.json", architectures="sm_80", **self.OPTIONS)


def test_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(DeviceError) as caught:
        tuning.tuned_choices(network(), tmp_path / "t.json", target="cuda")
    assert caught.value.exit_code == 4


def test_fields_and_back() -> None:
    tile = Tile(64, 32, (2, 1), 3, 6)
    assert tile_of(json.loads(json.dumps(fields_of(tile)))) == tile
    assert TileChoices.of({"b": tile}).find("a") is None
    good = fields_of(tile)
    for wrong in (
        {}, {**good, "pixels": 0}, {**good, "stages": True}, {**good, "splits": 1 << 20}, {**good, "warps": [3, 1]},
        {**good, "warps": 2}, {**good, "more": 1},
    ):  # fmt: skip
        with pytest.raises(PlanError):
            tile_of(wrong)


@pytest.mark.parametrize(("precision", "count"), [("fp16", 4), ("fp32", 2)])
def test_tiles_that_tuning_may_choose_are_right(precision: str, count: int) -> None:
    """A sample; `make verify-cuda` runs all of them."""
    assert not cuda_tiles.check(cuda_tiles.sampled(resolve("sm_80", precision), count), precision)
