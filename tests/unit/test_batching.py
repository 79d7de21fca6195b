"""Batches: when images are computed together and when one after the other, and that both give the same."""

from __future__ import annotations

import ctypes
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import cnngen
from cnngen import batching, pipeline, tuning
from cnngen.backends.cpu.choices import Choice
from cnngen.backends.cpu.target import ISAS, Target
from cnngen.cli import app
from cnngen.ir import Graph
from cnngen.ops import Add, Conv2D, Dense, Flatten, GlobalPool2D
from cnngen.tuning import cpu, whole
from cnngen.tuning.file import TuningFile
from cnngen.tuning.trials import key_of
from tests.graphs import Builder

AVX2 = Target(ISAS["avx2"])
SAME = (1, 1, 1, 1)


def wide_images(batch: int, size: int = 96) -> Graph:
    """Large tensors and few weights, two inputs and two outputs."""
    net = Builder({"x": (batch, size, size, 24), "r": (batch, size, size, 24)}, name="wide", seed=batch)
    one = net.add(Conv2D(24, (1, 1)), "x")
    two = net.add(Conv2D(24, (3, 3), padding=SAME, groups=24), one)
    both = net.add(Add(), two, "r")
    return net.graph(both, net.add(GlobalPool2D("avg"), both))


def heavy_dense(batch: int) -> Graph:
    net = Builder({"x": (batch, 4, 4, 64)}, name="heavy")
    net.add(Flatten(), "x")
    net.add(Dense(2048))
    return net.graph(net.add(Dense(2048)))


def test_the_model_decides_by_what_a_run_reads() -> None:
    assert batching.compiled_graph(wide_images(16, 224), AVX2)[1] == 16
    graph, repeats = batching.compiled_graph(heavy_dense(16), AVX2)
    assert (repeats, graph.inputs[0].type.shape[0]) == (1, 16)
    assert batching.compiled_graph(wide_images(1), AVX2)[1] == 1


def test_shipped_networks_at_batch_16() -> None:
    """AlexNet's dense layers need all images at once; MobileNetV2 waits for memory if it gets them."""
    found = {}
    for name in ("alexnet", "mobilenet_v2"):
        graph = pipeline.load_graph(Path("specs") / f"{name}.yaml" if Path("specs").is_dir() else name, batch=16)
        found[name] = batching.compiled_graph(graph, Target(ISAS["avx512"]))[1]
    assert found == {"alexnet": 1, "mobilenet_v2": 16}


@pytest.mark.parametrize("threads", [1, 2])
def test_in_turn_is_right_and_equals_one_image_at_a_time(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "LEAST_GAIN", -1e9)  # whatever the model thinks
    graph = wide_images(3, size=9)
    with cnngen.compile(graph, threads=threads) as net:
        assert (net.plan.repeats, net.batch) == (3, 3)
        assert net.input_shapes == ((3, 9, 9, 24), (3, 9, 9, 24))
        assert net.output_shapes == ((3, 9, 9, 24), (3, 1, 1, 24))
        report = cnngen.verify(net)
        assert report.ok, report.summary()
        assert [output.images for output in report.outputs] == [3, 3]
        rng = np.random.default_rng(0)
        xs = [rng.standard_normal((3, 9, 9, 24), np.float32) for _ in range(2)]
        whole_batch = net(*xs)
        out = [np.empty(shape, np.float32) for shape in net.output_shapes]
        net.run(*xs, out=out)
        for y, given in zip(whole_batch, out, strict=True):
            assert np.array_equal(y, given)
        # Five images: a native call of three, and one that is filled up.
        five = net(*(np.concatenate([x, x[:2]]) for x in xs))
        for y, more in zip(whole_batch, five, strict=True):
            assert np.array_equal(more, np.concatenate([y, y[:2]]))
        assert len(net.profile(xs, rounds=2)) == len(net.plan.steps)
        assert next(iter(net.trace(*xs).values())).shape[0] == 1
    with cnngen.compile(batching.with_batch_of_one(graph), threads=threads) as single:
        for image in range(3):
            for y, alone in zip(whole_batch, single(*(x[image] for x in xs)), strict=True):
                assert np.array_equal(y[image], alone)


def test_a_wrong_step_from_image_to_image_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "LEAST_GAIN", -1e9)
    graph = wide_images(2, size=5)
    with cnngen.compile(graph, threads=1, cache=False) as net:
        plan = net.plan
    tree = pipeline.sources(plan)
    name = f"{tree.name}.c"
    assert " * 600" in tree.files[name]
    broken = replace(tree, files={**tree.files, name: tree.files[name].replace("image * 600", "image * 599", 1)})
    path = pipeline.build(plan, broken, pipeline.find_compiler(), use_cache=False)
    interface = pipeline.Interface.of(pipeline.Stages(graph, plan))
    with cnngen.Network(interface, pipeline.load(path, interface), pipeline.Stages(graph, plan)) as net:
        report = cnngen.verify(net)
    assert not report.ok
    assert all(layer.status == "pass" for layer in report.layers), "the layers of one image are right"


def test_the_sources_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(batching, "LEAST_GAIN", -1e9)
    graph = wide_images(2, size=5)
    with cnngen.compile(graph, threads=1, build_dir=tmp_path) as net:
        assert "2 images one after the other" in (tmp_path / "plan.txt").read_text()
        assert "x: 1200 floats" in (tmp_path / "wide.h").read_text().replace("input0", "x")
        x = np.random.default_rng(0).standard_normal((2, 5, 5, 24), np.float32)
        expected = net(x, x)
    # From C: one call for the whole batch.
    library = ctypes.CDLL(str(next(tmp_path.glob("*.so"))))
    arena = np.empty(library.wide_arena_size() // 4 + 16, np.float32)
    start = -arena.ctypes.data % 64 // 4
    results = [np.empty_like(y) for y in expected]
    pointer = ctypes.POINTER(ctypes.c_float)
    library.wide_run(*(a.ctypes.data_as(pointer) for a in (x, x, *results, arena[start:])))
    for y, found in zip(expected, results, strict=True):
        assert np.array_equal(y, found)


def test_tuning_measures_the_layers_that_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "LEAST_GAIN", -1e9)
    monkeypatch.setattr(whole, "compare", lambda *_, **__: {"faster": True})
    net = Builder((2, 8, 8, 8), name="tuned")
    net.add(Conv2D(8, (3, 3), padding=SAME))
    graph, options = net.graph(), {"isa": "sse4.1", "threads": 1}
    one = batching.with_batch_of_one(graph)
    assert one is not None
    device = cpu.device(pipeline.cpu_target_for(graph, **options))
    key = key_of(one, one.nodes[0])
    TuningFile(tmp_path / "t.json").add(device, key, {"choice": Choice("winograd", tile=(2, 2), block=3).as_json()})
    assert list(tuning.tuned_choices(graph, tmp_path / "t.json", **options).choices) == [key]
    with cnngen.compile(graph, tune=tmp_path / "t.json", **options) as tuned:
        assert tuned.plan.repeats == 2
        assert tuned.arithmetic(one.nodes[0].name).tile == (2, 2)


def test_the_command_line_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "LEAST_GAIN", -1e9)
    runner = CliRunner()
    shown = runner.invoke(app, ["inspect", "lenet", "--plan", "--batch", "4"])
    assert "4 images one after the other" in shown.output
    data = json.loads(runner.invoke(app, ["inspect", "lenet", "--plan", "--batch", "4", "--json"]).stdout)
    assert data["images_in_turn"] == 4
    bench = json.loads(
        runner.invoke(app, ["bench", "lenet", "--batch", "4", "--threads", "1", "--rounds", "3", "--json"]).stdout
    )
    assert bench["batch"] == 4
    assert 0.1 < sum(layer["us"] for layer in bench["layers"]) / (1e3 * bench["median_ms"]) < 10
