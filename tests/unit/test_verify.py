"""`verify` on a network in float32 NumPy: silent on correct arithmetic, precise on planted errors."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

import cnngen
from cnngen.arithmetic import Arithmetic
from cnngen.errors import RunError, Source
from cnngen.ir import Array, TensorType
from cnngen.ops import Activate, Activation, Add, BatchNorm, Bound, Concat, Conv2D, Dense, Flatten, GlobalPool2D, Pool2D
from cnngen.report.verify_report import Comparison
from cnngen.verify import verify
from cnngen.verify_integers import INTEGER_RANGE, _sum_of_products, integer_cases, integer_twin
from tests.fake_network import FakeNetwork
from tests.graphs import EXAMPLES, SAME3, Builder, chain, lenet

CONV = "conv2d_3"


@pytest.mark.parametrize("name", EXAMPLES)
def test_correct_float32_arithmetic_passes(name: str) -> None:
    report = verify(FakeNetwork(EXAMPLES[name]()))
    assert report.ok, report.summary()
    assert bool(report)
    assert len(report.layers) == len(EXAMPLES[name]().nodes)


@pytest.mark.parametrize("order", ["inner first", "part first"])
def test_inputs_that_share_memory_agree_on_integers(order: str) -> None:
    """A concatenation that reads another one and its parts, which lie in it: found by a random network."""
    net = Builder((2, 3, 3, 2))
    a, b = (net.add(Conv2D(count, (1, 1)), "x", name=name) for name, count in (("a", 3), ("b", 5)))
    inner = net.add(Concat(), a, b, name="inner")
    reads = (inner, a, b) if order == "inner first" else (b, inner, a)
    outer = net.add(Concat(), *reads, name="outer")
    with cnngen.compile(net.graph(outer), isa="scalar", threads=1) as compiled:
        assert inner in compiled.graph.placements, "or this test tests nothing"
        report = cnngen.verify(compiled)
    assert report.ok, report.summary()


def test_sums_are_exact_on_integers_and_the_rest_says_why_not() -> None:
    report = verify(FakeNetwork(EXAMPLES["alexnet_head"]()))
    held = {layer.name: (layer.exactness, layer.reason) for layer in report.layers}
    assert held["conv2d_0"][0] == "exact"
    assert held["dense_7"][0] == "exact"
    assert held["max_pool_3"] == ("exact", "copies or compares")
    assert held["lrn_2"] == ("bound", "a power of a sum")
    assert held["tanh_9"] == ("activation", "tanh rounds")
    assert held["softmax_11"][0] == "bound"


@pytest.mark.parametrize(
    ("activation", "exactness"),
    [
        (Activation("relu"), "exact"),
        (Activation("relu6"), "exact"),
        (Activation("clip", -0.5, 0.75), "exact"),
        (Activation("leaky_relu", 0.25), "exact"),
        (Activation("leaky_relu", 0.1), "activation"),
        (Activation("silu"), "activation"),
    ],
)
def test_fused_activations_keep_as_much_exactness_as_they_can(activation: Activation, exactness: str) -> None:
    graph = chain((1, 6, 6, 4), Conv2D(5, (3, 3), padding=SAME3, activation=activation))
    report = verify(FakeNetwork(graph))
    assert report.ok, report.summary()
    assert report.layers[0].exactness == exactness


def test_a_fused_activation_does_not_hide_an_error_of_one_product() -> None:
    """With the sum exact, only the activation's own rounding is allowed: one tap of 288 is found."""
    graph = chain((1, 6, 6, 32), Conv2D(5, (3, 3), activation=Activation("silu")))
    net = FakeNetwork(graph)
    case = integer_cases(graph, 0)["conv2d_0"]
    weight = case.weights["weight"].copy()
    weight[0, 1, 7, 2] += np.float32(2.0**-6)
    broken = replace(graph.node("conv2d_0"), weights={**case.weights, "weight": weight})
    native = net.run_layer("conv2d_0", list(case.inputs), replace(graph, nodes=(broken,)))
    found = Comparison.of(native, case.bound(graph.node("conv2d_0")))
    assert found.mismatches
    assert found.where.endswith("c 2 of 5")


@pytest.mark.parametrize("name", EXAMPLES)
def test_integer_cases_stay_in_the_exact_range(name: str) -> None:
    """The promise behind `exact`: sums of absolute products are below 2^24 units, inputs on the grid."""
    graph = EXAMPLES[name]()
    for node_name, case in integer_cases(graph, 3).items():
        node = graph.node(node_name)
        if not isinstance(node.op, Conv2D | Dense):
            continue
        grid = min(float(np.abs(array[array != 0]).min()) for array in case.weights.values())
        unit = 2.0 ** math.floor(math.log2(grid))
        linear = replace(node.op, activation=None)
        magnitude = linear.evaluate(
            [np.abs(x).astype(np.float64) for x in case.inputs],
            {role: np.abs(array).astype(np.float64) for role, array in case.weights.items()},
        )
        assert magnitude.max() / unit <= INTEGER_RANGE
        for array in case.weights.values():
            assert np.array_equal(array * 2**24, np.round(array * 2**24))


def test_integer_sums_exercise_the_whole_range_of_a_saturating_activation() -> None:
    graph = chain((1, 9, 9, 64), Conv2D(32, (3, 3), activation=Activation("relu6")))
    case = integer_cases(graph, 0)["conv2d_0"]
    value = case.bound(graph.node("conv2d_0")).value
    inside = ((value > 0) & (value < 6)).mean()
    assert 0.3 < inside < 0.7


def test_many_taps_get_smaller_integers() -> None:
    case = integer_cases(chain((1, 2**20), Dense(1)), 0)["dense_0"]
    assert case.exactness == "exact"
    assert np.abs(case.inputs[0]).max() * np.abs(case.weights["weight"]).max() * 2**20 <= INTEGER_RANGE


def test_more_taps_than_exact_integers_fall_back_to_the_bound() -> None:
    node = chain((1, 8), Dense(1)).nodes[0]
    case = _sum_of_products(node, [TensorType((1, 8))], INTEGER_RANGE, np.random.default_rng(0))
    assert case.exactness == "bound"
    assert str(INTEGER_RANGE) in case.reason


def test_a_tensor_that_is_read_twice_has_one_array() -> None:
    net = Builder((1, 4, 4, 3))
    net.add(Conv2D(3, (1, 1), residual=True), "x", "x")
    graph = net.graph()
    case = integer_cases(graph, 0)["conv2d_0"]
    assert case.inputs[0] is case.inputs[1]
    assert verify(FakeNetwork(graph)).ok


def test_twin_has_the_structure_of_the_graph_and_keeps_batch_norms() -> None:
    graph = EXAMPLES["residual"]()
    twin = integer_twin(graph, integer_cases(graph, 0))
    for node, other in zip(graph.nodes, twin.nodes, strict=True):
        assert (node.name, node.op, node.inputs) == (other.name, other.op, other.inputs)
        assert {role: array.shape for role, array in node.weights.items()} == {
            role: array.shape for role, array in other.weights.items()
        }
        if isinstance(node.op, BatchNorm):
            assert np.array_equal(node.weights["variance"], other.weights["variance"])


# --- planted errors --------------------------------------------------------------------------


def last_columns(y: Array) -> Array:
    """A width tail that stores too little."""
    y = y.copy()
    y[:, :, -2:, :] = 0
    return y


def wrong_channel_lane(y: Array) -> Array:
    y = y.copy()
    y[..., 5::8] += np.float32(0.125)
    return y


def one_element(y: Array) -> Array:
    y = y.copy()
    y[0, 3, 4, 1] += np.float32(0.125)
    return y


def to_nan(y: Array) -> Array:
    y = y.copy()
    y[0, 0, 0, 0] = np.nan
    return y


@pytest.mark.parametrize(
    ("damage", "index", "where"),
    [
        (last_columns, (0, 0, 8, 0), "w 8-9 of 10"),
        (wrong_channel_lane, (0, 0, 0, 5), "c 5,13 of 16"),
        (one_element, (0, 3, 4, 1), "n 0, h 3 of 10, w 4 of 10, c 1 of 16"),
        (to_nan, (0, 0, 0, 0), "n 0, h 0 of 10, w 0 of 10, c 0 of 16"),
    ],
)
def test_planted_error_is_caught_and_located(damage, index: tuple[int, ...], where: str) -> None:
    report = verify(FakeNetwork(lenet(), damage={CONV: damage}))
    assert not report.ok
    failed = [layer for layer in report.layers if layer.status == "fail"]
    assert [layer.name for layer in failed] == [CONV], "the layers behind it are checked on what they were given"
    for found in (failed[0].floats, failed[0].integers):
        assert found.first is not None
        assert found.first.index == index
        assert where in found.where
    text = report.summary()
    assert f"FAIL {CONV} on integers" in text
    assert f"at {list(index)}: native" in text
    assert "FAILED: conv2d_3" in text


def test_error_too_small_for_the_bound_is_caught_on_integers() -> None:
    """A relative error of a few roundings hides below gamma_k S, but not where no rounding is allowed."""

    def sloppy(y: Array) -> Array:
        return y * np.float32(1 + 2**-22)

    report = verify(FakeNetwork(lenet(), damage={CONV: sloppy}))
    layer = next(layer for layer in report.layers if layer.name == CONV)
    assert layer.floats.status != "fail"
    assert layer.integers.status == "fail"
    assert not report.ok


def test_error_between_alarm_and_limit_warns() -> None:
    graph = chain((1, 4, 4, 256), Conv2D(3, (3, 3)))

    def biased(y: Array) -> Array:
        """Below 2305 u S and above sqrt(2305) u S for the sums of the network, invisible on exact integers."""
        fractional = y != np.round(y * 4096) / 4096
        return np.where(fractional, y + np.float32(3e-3), y)

    report = verify(FakeNetwork(graph, damage={"conv2d_0": biased}))
    assert report.layers[0].status == "warn"
    assert report.layers[0].floats.worst_limit < 1 < report.layers[0].floats.worst_alarm
    assert "warn conv2d_0" in report.summary()


def test_network_that_was_not_asked_for_fails_end_to_end() -> None:
    """Every layer agrees with the compiled graph, but a pass has dropped an activation."""
    asked = lenet()
    compiled = chain((1, 28, 28, 1), *[node.op for node in asked.nodes if node.name != "relu_4"], name="lenet")
    weights = iter(node.weights for node in asked.nodes if node.name != "relu_4")
    compiled = replace(compiled, nodes=tuple(replace(node, weights=next(weights)) for node in compiled.nodes))
    report = verify(FakeNetwork(compiled, source_graph=asked))
    assert all(layer.status == "pass" for layer in report.layers)
    assert report.outputs[0].status == "fail"
    assert "suspect a pass" in report.summary()


def test_a_wrong_epsilon_is_above_the_end_to_end_limit() -> None:
    """Folding with epsilon 1e-4 in place of 1e-5: the smallest error of a pass that one meets in practice."""
    asked = EXAMPLES["residual"]()
    nodes = tuple(replace(node, op=BatchNorm(1e-4)) if isinstance(node.op, BatchNorm) else node for node in asked.nodes)
    report = verify(FakeNetwork(replace(asked, nodes=nodes), source_graph=asked))
    assert report.outputs[0].status == "fail"


def test_end_to_end_estimate_tracks_the_amplification_of_the_network() -> None:
    """A network that subtracts two near equal numbers amplifies rounding errors; the limit follows."""
    net = Builder((1, 4, 4, 8))
    one = net.add(Conv2D(4, (3, 3), padding=SAME3), "x")
    two = net.add(Conv2D(4, (3, 3), padding=SAME3), "x")
    net.add(Add(), one, two, name="difference")
    graph = net.graph()
    first, second = graph.nodes[0], graph.nodes[1]
    close = {role: -array * np.float32(1 + 2**-12) for role, array in first.weights.items()}
    graph = replace(graph, nodes=(first, replace(second, weights=close), graph.nodes[2]))
    report = verify(FakeNetwork(graph))
    assert report.ok, report.summary()
    assert report.outputs[0].error > 1e-6, "the cancellation is real"
    assert report.outputs[0].limit > 1e-4


# --- inputs, NaN, presentation ---------------------------------------------------------------


def test_same_seed_same_report_other_seed_other_numbers() -> None:
    reports = [replace(verify(FakeNetwork(lenet()), seed=seed), seconds=0.0) for seed in (4, 4, 5)]
    assert reports[0] == reports[1]
    assert reports[0].layers != reports[2].layers


def test_takes_one_image_without_batch_axis_and_more_images_than_the_batch() -> None:
    x = np.random.default_rng(0).standard_normal((3, 28, 28, 1), np.float32)
    assert verify(FakeNetwork(lenet()), x=x[0]).outputs[0].images == 1
    report = verify(FakeNetwork(lenet()), x=x)
    assert report.ok
    assert (report.outputs[0].images, report.outputs[0].top1) == (3, 3)


def test_fewer_images_than_the_compiled_batch() -> None:
    graph = chain((4, 6, 6, 3), Conv2D(2, (3, 3)), GlobalPool2D("avg"), Flatten())
    report = verify(FakeNetwork(graph), x=np.ones((3, 6, 6, 3), np.float32))
    assert report.ok
    assert report.outputs[0].images == 3


def test_input_that_does_not_fit_is_refused() -> None:
    with pytest.raises(RunError, match=r"has shape \(1, 27, 28, 1\), the network takes \(batch, 28, 28, 1\)"):
        verify(FakeNetwork(lenet()), x=np.zeros((1, 27, 28, 1), np.float32))


def test_nan_input_equals_nan_reference() -> None:
    graph = chain(
        (1, 6, 6, 3), Conv2D(2, (3, 3), padding=SAME3), Activate(Activation("relu")), Pool2D("max", (2, 2), (2, 2))
    )
    x = np.zeros((1, 6, 6, 3), np.float32)
    x[0, 2, 2, 1] = np.nan
    assert verify(FakeNetwork(graph), x=x).ok


def test_relu_that_loses_nan_fails() -> None:
    graph = chain((1, 6, 6, 3), Conv2D(2, (1, 1)), Activate(Activation("relu")))
    x = np.zeros((1, 6, 6, 3), np.float32)
    x[0, 2, 2, 1] = np.nan
    report = verify(FakeNetwork(graph, damage={"relu_1": np.nan_to_num}), x=x)
    assert [layer.name for layer in report.layers if layer.status == "fail"] == ["relu_1"]
    assert report.layers[1].floats.first is not None
    assert report.layers[1].floats.first.index == (0, 2, 2, 0)


def of(native: list[float], value: list[float], limit: float = 0.0) -> Comparison:
    reference = np.asarray(value, np.float64)
    bound = Bound(reference, np.full(reference.shape, limit), np.full(reference.shape, limit / 2))
    return Comparison.of(np.asarray(native, np.float32), bound)


def test_comparison_of_special_values() -> None:
    inf, nan = math.inf, math.nan
    assert of([nan, inf, -inf, 0.0], [nan, inf, -inf, -0.0]).status == "pass"
    assert of([nan], [1.0], 9.0).status == "fail"
    assert of([1.0], [nan], 9.0).status == "fail"
    assert of([inf], [-inf]).status == "fail"
    assert of([inf], [1e30], 1e20).status == "fail"
    half = Arithmetic("fp16").of_result(Bound(np.array([65530.0, 60000.0]), np.array([1.0, 1.0]), np.array([1.0, 1.0])))
    assert Comparison.of(np.array([inf, 60000.0]), half).status == "pass", "beyond the float16 range, too"
    assert Comparison.of(np.array([65504.0, inf]), half).mismatches == 1
    assert of([inf], [1e39], 1e20).status == "pass", "beyond the float32 range an infinity is the right answer"
    assert of([inf], [-1e39], 1e20).status == "fail"
    assert of([1.0], [1.5], 1.0).status == "pass"
    assert of([1.0], [1.75], 1.0).status == "warn"
    assert of([1.0], [2.5], 1.0).status == "fail"


def test_comparison_of_shapes() -> None:
    found = Comparison.of(np.zeros((2, 3), np.float32), Bound.exact(np.zeros((3, 2))))
    assert found.status == "fail"
    assert "(2, 3)" in found.where


def test_report_is_json_and_carries_every_number() -> None:
    def infinite(y: Array) -> Array:
        return y + np.float32(np.inf)

    report = verify(FakeNetwork(lenet(), damage={CONV: infinite}))
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["ok"] is False
    layer = next(layer for layer in data["layers"] if layer["name"] == CONV)
    assert layer["status"] == "fail"
    assert layer["floats"]["first"]["native"] == "inf"
    assert layer["floats"]["first"]["index"] == [0, 0, 0, 0]
    assert data["outputs"][0]["top1"] in (0, 1)


def test_summary_names_machine_seed_place_and_layers() -> None:
    graph = lenet()
    nodes = tuple(replace(node, source=Source("lenet.yaml", 9)) for node in graph.nodes)
    report = verify(FakeNetwork(replace(graph, nodes=nodes), damage={CONV: one_element}), seed=11)
    lines = report.summary().splitlines()
    assert lines[0] == "lenet: verify, numpy, 1 thread, batch 1, seed 11"
    assert sum(line.split()[1:2] == [CONV] for line in lines) == 1
    assert any(line.startswith("FAIL lenet.yaml:9: conv2d_3 on integers: 1 of 1600 elements wrong") for line in lines)


def test_rich_rendering_tells_the_same() -> None:
    report = verify(FakeNetwork(lenet(), damage={CONV: one_element}))
    console = Console(record=True, width=160, file=io.StringIO())
    console.print(report)
    text = console.export_text()
    assert "FAILED: conv2d_3" in text
    assert "at [0, 3, 4, 1]" in text
