"""Weights of dense layers in 16 bits: exact on integers on every ISA, and end to end with what the storage costs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import cnngen
from cnngen import pipeline
from cnngen.arithmetic import ROUNDING, Arithmetic, round_to_bf16
from cnngen.backends.cpu.kernels import ConvKernel
from cnngen.backends.cpu.pack import pack
from cnngen.backends.cpu.plan import Plan
from cnngen.cli import app
from cnngen.errors import TargetError, WeightsError
from cnngen.ir import Graph
from cnngen.ops import Activation, Constant, Dense, MatMul
from cnngen.verify import storage_errors
from cnngen.weight_storage import FORMATS, LEAST_WEIGHTS
from tests.graphs import Builder
from tests.native import RUNNABLE, native, planned

NARROW = [storage for storage in FORMATS if storage != "fp32"]


def dense_layers(batch: int) -> Graph:
    """Widths with tails on every ISA, one layer below the limit, and one whose weights are an odd number."""
    net = Builder({"x": (batch, 513)}, name=f"dense{batch}")
    first = net.add(Dense(515, activation=Activation("relu")), "x", name="first")
    small = net.add(Dense(7), first, name="small")
    odd = net.add(Dense(513, use_bias=False), "x", name="odd")
    return net.graph(small, odd, net.add(Dense(1024), odd, name="wide"))


def kernels(plan: Plan) -> dict[str, ConvKernel]:
    found = {step.node: step.calls[-1].kernel for step in plan.steps}
    return {name: kernel for name, kernel in found.items() if isinstance(kernel, ConvKernel)}


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("storage", NARROW)
def test_layers_equal_the_reference_with_rounded_weights(isa: str, storage: str) -> None:
    for batch, threads in ((1, 2), (3, 1)):
        graph = dense_layers(batch)
        with native(graph, isa, threads, weight_storage=storage) as net:
            report = cnngen.verify(net)
            assert report.ok, report.summary()
            assert {layer.name: layer.exactness for layer in report.layers if layer.kind == "dense"} == dict.fromkeys(
                ("first", "small", "odd", "wide"), "exact"
            )
            assert {name: net.arithmetic(name).weights for name in ("first", "small", "odd", "wide")} == {
                "first": storage, "small": "fp32", "odd": storage, "wide": storage,
            }  # fmt: skip


@pytest.mark.parametrize("storage", NARROW)
def test_results_do_not_depend_on_isa_batch_or_threads(storage: str) -> None:
    x = np.random.default_rng(0).standard_normal((3, 513), np.float32)
    found = set()
    for isa in ("avx2", "avx512"):
        for batch, threads in ((1, 1), (1, 2), (3, 1)):
            with native(
                dense_layers(batch), isa if isa in RUNNABLE else f"{isa}-emulated", threads, weight_storage=storage
            ) as net:
                found.add(b"".join(y.tobytes() for y in net(x)))
    assert len(found) == 1


def test_only_large_dense_layers_are_narrowed() -> None:
    found = {
        name: kernel.storage
        for name, kernel in kernels(planned(dense_layers(1), "avx2", weight_storage="bf16")).items()
    }
    assert found == {"first": "bf16", "small": "fp32", "odd": "bf16", "wide": "bf16"}
    assert 513 * 515 >= LEAST_WEIGHTS > 515 * 7
    assert {kernel.storage for kernel in kernels(planned(dense_layers(1), "avx2")).values()} == {"fp32"}


def test_weights_take_half_the_room() -> None:
    net = Builder({"x": (1, 1024)}, name="room")
    graph = net.graph(net.add(Dense(1024), "x"))
    wide, narrow = (pack(planned(graph, "avx2", weight_storage=storage)) for storage in ("fp32", "fp16"))
    # 1024 outputs are 42 blocks of 3 vectors of 8 and one of 2: no padding but to whole lines.
    assert narrow.nbytes - 4 * 1024 == pytest.approx((wide.nbytes - 4 * 1024) / 2, abs=256)


def test_a_wrong_bit_of_a_weight_is_seen() -> None:
    graph = dense_layers(1)
    with native(graph, weight_storage="bf16") as net:
        right = net.pack(graph)
        first = net.plan.steps[net.plan.steps_of("first")[0]].calls[-1]
        wrong = right.copy()
        wrong[first.params[0] : first.params[0] + 1].view(np.uint16)[0] ^= 1 << 7
        xs = [np.ones((1, 513), np.float32)]
        assert not np.array_equal(net.run_layer("first", xs, right), net.run_layer("first", xs, wrong))


def test_rounding_to_bfloat16_is_to_nearest_and_ties_are_even() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal(10000).astype(np.float32), np.float32([0.0, -0.0, 1e-40, 3.3e38, np.inf])])
    rounded = round_to_bf16(x)
    assert not np.any(rounded.view(np.uint32) & 0xFFFF)
    steps = (x.view(np.uint32) & 0xFFFF0000).astype(np.uint32)
    with np.errstate(over="ignore", invalid="ignore"):
        around = [
            steps.view(np.float32).astype(np.float64),
            (steps + np.uint32(0x10000)).view(np.float32).astype(np.float64),
        ]
        nearest = np.minimum(*(np.abs(y - x) for y in around))
        finite = np.isfinite(rounded)
        assert np.array_equal(np.abs(rounded[finite].astype(np.float64) - x[finite]), nearest[finite])
    ties = np.uint32([0x3F808000, 0x3F818000, 0xBF808000]).view(np.float32)
    assert round_to_bf16(ties).view(np.uint32).tolist() == [0x3F800000, 0x3F820000, 0xBF800000]
    assert np.isnan(round_to_bf16(np.float32([np.nan]))).all()
    # A NaN whose payload is in the lower half only must not become an infinity.
    assert np.isnan(round_to_bf16(np.uint32([0x7F800001, 0xFFFFFFFF]).view(np.float32))).all()


@pytest.mark.parametrize(("storage", "weight"), [("fp16", 7e4), ("bf16", 3.4e38)])
def test_weights_beyond_the_format_are_refused(storage: str, weight: float) -> None:
    net = Builder({"x": (1, 512)}, name="large")
    graph = net.graph(net.add(Dense(512), "x", name="large"))
    values = np.zeros((512, 512), np.float32)
    values[100, 7] = weight
    node = graph.node("large")
    loud = Graph(
        graph.name,
        graph.inputs,
        (node.__class__(node.name, node.op, node.inputs, {**node.weights, "weight": values}),),
        graph.outputs,
        graph.types,
    )
    with pytest.raises(
        WeightsError, match=rf"large: a weight of magnitude .* is beyond {storage}; use weight_storage="
    ):
        pack(planned(loud, "avx2", weight_storage=storage))
    # What is infinite anyway stays so.
    values[100, 7] = np.inf
    pack(planned(loud, "avx2", weight_storage=storage))


def test_what_the_storage_costs_is_told() -> None:
    graph = dense_layers(1)
    x = np.random.default_rng(0).standard_normal((1, 513), np.float32)
    exact = cnngen.reference(graph, x, keep=True)
    with native(graph, weight_storage="bf16") as net:
        report = cnngen.verify(net, x=x)
    for output in report.outputs:
        assert output.storage is not None
        assert 1e-4 < output.storage < 2.0**-8
        # All other errors are those of float32.
        assert output.error == pytest.approx(output.storage, rel=1e-2)
        assert f"of which weights in 16 bits make {output.storage:.2e}" in report.summary()
    assert "dense weights in bf16" in report.summary()
    assert report.to_dict()["weight_storage"] == "bf16"
    rounded = storage_errors(graph, {"x": x}, "fp16", {name: exact[name] for name in graph.outputs})
    assert all(rounded[output.name] < output.storage / 4 for output in report.outputs), "11 bits, not 8"
    with native(graph) as net:
        assert [output.storage for output in cnngen.verify(net, x=x).outputs] == [None] * 3


def test_a_product_with_a_constant_matrix_is_a_dense_layer() -> None:
    net = Builder({"x": (1, 512)}, name="product")
    matrix = net.add(Constant((512, 513)), name="matrix")
    graph = net.graph(net.add(MatMul(), "x", matrix, name="y"))
    with cnngen.compile(graph, weight_storage="bf16", threads=1) as net:
        assert net.arithmetic("y") == Arithmetic(weights="bf16")
        report = cnngen.verify(net)
    assert report.ok, report.summary()
    storage = report.outputs[0].storage
    assert storage is not None
    assert report.outputs[0].error == pytest.approx(storage, rel=1e-2)


def test_the_option_and_where_it_is_refused() -> None:
    graph = dense_layers(1)
    with pytest.raises(TargetError, match="unknown weight storage 'int8'; use one of fp32, bf16, fp16"):
        cnngen.compile(graph, weight_storage="int8")
    with pytest.raises(TargetError, match="is for CPUs, and the target is cuda-emulated"):
        cnngen.compile(graph, weight_storage="bf16", target="cuda-emulated")
    assert set(FORMATS) <= set(ROUNDING)


def test_the_command_line_and_the_cache_tell_storages_apart(tmp_path: Path) -> None:
    spec = tmp_path / "wide.yaml"
    spec.write_text(
        "cnngen: 1\nname: wide\ninput: {shape: [512]}\nweights: random\nlayers:\n  - dense: {name: y, units: 600}\n"
    )
    x = np.random.default_rng(0).standard_normal((1, 512), np.float32)
    results = {}
    for _ in range(2):  # the second time from the cache
        for storage in FORMATS:
            with cnngen.compile(spec, weight_storage=storage, threads=1) as net:
                assert net.weight_storage == storage
                results.setdefault(storage, set()).add(net(x).tobytes())
                assert ("bf16" in repr(net)) == (storage == "bf16")
    assert all(len(found) == 1 for found in results.values())
    assert len(set.union(*results.values())) == 3
    runner = CliRunner()
    shown = runner.invoke(app, ["inspect", str(spec), "--plan", "--weight-storage", "fp16", "--json"])
    data = json.loads(shown.stdout)
    assert data["weight_storage"] == "fp16"
    assert data["layers"][0]["algorithm"] == "direct, fp16 weights"
    assert (
        data["predicted_us"]
        < json.loads(runner.invoke(app, ["inspect", str(spec), "--plan", "--json"]).stdout)["predicted_us"]
    )
    for command in (["verify"], ["bench", "--rounds", "1"], ["compile", "-o", str(tmp_path / "out")]):
        name, *options = command
        done = runner.invoke(app, [name, str(spec), "--weight-storage", "bf16", *options])
        assert done.exit_code == 0, done.output
        assert "dense weights in bf16" in done.output
    assert pipeline.check_options("cpu", "fast", "fp32", weight_storage="bf16") == ("cpu", 0)
