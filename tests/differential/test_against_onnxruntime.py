"""Reference and native code against ONNX Runtime, which shares no line with either.

Every branch of `networks` is one op on the network's inputs: the reference's error bound of that op
holds for ONNX Runtime too, and tells a different meaning (padding, rounding of sizes, order of
weights) from a different order of summation. The native code is held by `verify`: within the bound on
floats, bit for bit on integers.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

import cnngen
from cnngen import ops
from cnngen.backends.cpu.target import host_isas
from cnngen.ir import Array, Graph, Node
from cnngen.ops import Activate, Bound, Op, Resize, UpsampleBilinear
from cnngen.reference import bound
from cnngen.report.verify_report import Comparison
from cnngen.verify import rounding_limits
from tests.differential.networks import ELEMENTARY, FUNCTIONS, NETWORKS
from tests.differential.onnx_twin import OnnxTwin
from tests.graphs import EXAMPLES, Builder, feed

LIBRARY_ROUNDINGS = 8
"""Its exp, pow and tanh may be a few roundings worse than ours, for which the bounds were derived."""

CANCELLING = ("elu", "celu", "selu", "gelu", "gelu_tanh", "mish")
CANCELLED = 4
"""Its exp(x) - 1, and x times 1 + erf(x) or 1 + tanh(x), cancel below zero: so many roundings of 1 or x; not ours."""

POSITION_ROUNDINGS = 3
"""It computes where a pixel lies, (i + 1/2) / scale - 1/2, in float32: so many roundings; ours is exact."""

WEIGHT_SLOPES = 5
"""Sum of the slopes of all four weights of cubic interpolation, at most: 2 * 1.35 + 2 * 0.75; of linear ones 2."""

ROUNDING_ON_INTEGERS = {
    *("softmax", "log_softmax", "power", "reduce_log_sum", "reduce_log_sum_exp"),  # exponentials and logarithms
    *("batch_norm", "instance_norm", "group_norm", "layer_norm", "lrn", "reduce_l2"),  # roots
    *("avg_pool", "global_avg_pool", "reduce_mean"),  # quotients
    *("upsample_bilinear", "resize"),  # fractions as weights
}
"""The kinds of op of which `verify` may say that they are exact on no integers."""

TARGETS = [
    ("scalar", 1),
    *((isa, threads) for isa in host_isas()[-1:] for threads in (1, 2)),
    *((isa, 1) for isa in host_isas()[1:-1]),
    *([] if "avx512" in host_isas() else [("avx512-emulated", 1)]),
]
"""Every ISA of this machine, the best one with two threads too; AVX-512 emulated where it is missing."""


def test_every_op_and_every_activation_is_in_a_network() -> None:
    nodes = [node for build in NETWORKS.values() for node in build().nodes]
    assert {type(node.op) for node in nodes} == set(get_args(Op))
    assert {node.op.activation for node in nodes if isinstance(node.op, Activate)} == {*FUNCTIONS, *ELEMENTARY}
    assert {activation.function for activation in (*FUNCTIONS, *ELEMENTARY)} == set(ops.FUNCTIONS)


@pytest.mark.parametrize("name", NETWORKS)
def test_reference_agrees_with_onnxruntime_on_every_op(name: str) -> None:
    graph = NETWORKS[name]()
    xs = feed(graph)
    expected = OnnxTwin(graph)(xs)
    wrong = {}
    for output in graph.outputs:
        node = graph.node(output)
        if not all(tensor in xs for tensor in node.inputs):
            continue  # several ops: held by the tests of whole networks
        found = bound(node, [xs[tensor] for tensor in node.inputs])
        slack = _witness_roundings(node, xs, found.value)
        comparison = Comparison.of(expected[output], Bound(found.value, found.limit + slack, found.alarm + slack))
        if comparison.mismatches:
            wrong[output] = f"{comparison.first}; {comparison.where}"
    assert not wrong


@pytest.mark.parametrize("name", [*EXAMPLES, "vectors_and_pointwise"])
def test_reference_agrees_with_onnxruntime_on_whole_networks(name: str) -> None:
    """Errors add up along a network: the limit is the one that `verify` measures for it."""
    graph = (EXAMPLES | NETWORKS)[name]()
    xs = feed(graph)
    _assert_within_limits(graph, xs, OnnxTwin(graph)(xs))


@pytest.mark.parametrize(("isa", "threads"), TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_native_code_agrees_on_every_op(name: str, isa: str, threads: int) -> None:
    graph = NETWORKS[name]()
    xs = feed(graph)
    with cnngen.compile(graph, isa=isa, threads=threads) as net:
        report = cnngen.verify(net, x=xs)
        native = net(*xs.values())
    assert report.ok, report.summary()
    assert not [layer.name for layer in report.layers if layer.status == "warn"], report.summary()
    _assert_close_to_each_other(graph, xs, dict(zip(graph.outputs, native, strict=True)), OnnxTwin(graph)(xs))


@pytest.mark.parametrize("name", EXAMPLES)
def test_native_code_agrees_on_whole_networks(name: str) -> None:
    """Fused epilogues, nested concatenations, shared memory: behind all passes, with two threads."""
    graph = EXAMPLES[name]()
    xs = feed(graph)
    with cnngen.compile(graph, isa=host_isas()[-1], threads=2) as net:
        report = cnngen.verify(net, x=xs)
        results = net(*xs.values())
    assert report.ok, report.summary()
    native = dict(zip(graph.outputs, results if isinstance(results, list | tuple) else [results], strict=True))
    _assert_close_to_each_other(graph, xs, native, OnnxTwin(graph)(xs))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_sum_product_pool_and_copy_was_checked_bit_for_bit(name: str) -> None:
    """What `verify` holds by a bound only is what rounds on integers, and nothing else.

    Reproducible numbers: Winograd's algorithm, which fast ones allow, divides, and is exact on no convolution.
    """
    graph = NETWORKS[name]()
    with cnngen.compile(graph, isa="scalar", threads=1, numerics="reproducible") as net:
        held = {layer.name: layer for layer in cnngen.verify(net).layers}
    inexact = {layer.kind for layer in held.values() if layer.exactness == "bound"}
    assert inexact <= ROUNDING_ON_INTEGERS
    rounded = {
        layer.name.split("_alone")[0].split("_fused")[0] for layer in held.values() if layer.exactness == "activation"
    }
    assert rounded <= set(ops.FUNCTIONS) - {"relu", "relu6", "clip", "abs", "neg", "floor", "ceil", "round", "sign"}


@pytest.mark.parametrize("name", ["conv_kernels", "vectors_and_pointwise"])
def test_two_threads_give_the_bits_of_one(name: str) -> None:
    graph = NETWORKS[name]()
    xs = feed(graph)
    results = []
    for threads in (1, 2):
        with cnngen.compile(graph, threads=threads) as net:
            results.append(net(*xs.values()))
    for one, two in zip(*results, strict=True):
        assert np.array_equal(one, two)


SPECIAL = (0.0, -0.0, 3.0, -3.0, 6.0, 88.0, -88.0, 104.0, -104.0, 1e-40, -1e-40, 1e30, -1e30, np.nan, np.inf, -np.inf)


@pytest.mark.parametrize("isa", [*host_isas(), "avx512-emulated"])
def test_activations_over_their_whole_range(isa: str) -> None:
    """Within the bound everywhere: next to their corners and zeros, where they saturate, and for NaN and infinities."""
    sweep = [np.linspace(-12, 12, 6000), np.linspace(-3.001, -2.999, 1000), np.linspace(-1e-3, 1e-3, 1000), SPECIAL]
    x = np.concatenate(sweep).astype(np.float32)[None, :, None, None]
    net = Builder(x.shape, name="ranges")
    functions = enumerate((*FUNCTIONS, *ELEMENTARY))
    names = [net.add(Activate(function), "x", name=f"{function}_{number}") for number, function in functions]
    with cnngen.compile(net.graph(*names), isa=isa, threads=1) as native:
        report = cnngen.verify(native, x=x)
    assert not [layer.name for layer in report.layers if layer.status != "pass"], report.summary()


def _assert_within_limits(graph: Graph, xs: dict[str, Array], actual: dict[str, Array]) -> None:
    """Shape and value of every output against the reference, with the limit that `verify` uses."""
    for output, (value, _, limit) in rounding_limits(graph, xs).items():
        assert actual[output].shape == value.shape, output
        assert _distance(actual[output], value) <= limit * _norm(value), output


def _assert_close_to_each_other(
    graph: Graph, xs: dict[str, Array], native: dict[str, Array], witness: dict[str, Array]
) -> None:
    """From the caller's arrays to the caller's arrays: order, layout and shape of every output."""
    for output, (value, _, limit) in rounding_limits(graph, xs).items():
        assert native[output].shape == witness[output].shape, output
        node = graph.node(output)
        # Where ours makes no error at all, as in the cubic of one pixel, the limit has no room for the witness's.
        own = _norm(_witness_roundings(node, xs, value)) if set(node.inputs) <= set(xs) else 0.0
        assert _distance(native[output], witness[output]) <= 2 * limit * _norm(value) + own, output


def _witness_roundings(node: Node, xs: dict[str, Array], value: Array) -> Array:
    """What ONNX Runtime rounds in a node that reads network inputs, beyond the node's bound; by element of `value`."""
    slack = LIBRARY_ROUNDINGS * 2.0**-24 * np.abs(value)
    if isinstance(node.op, Activate) and node.op.activation.function in CANCELLING:
        slack = slack + CANCELLED * 2.0**-24 * np.maximum(np.abs(xs[node.inputs[0]]), 1)
    if isinstance(node.op, Resize):
        # Weights along an axis move so far by an error of the position, and multiply pixels of this magnitude.
        x = xs[node.inputs[0]]
        moved = WEIGHT_SLOPES * max(*x.shape[1:3], *node.op.size) * np.abs(x).max()
        slack = slack + 2 * POSITION_ROUNDINGS * 2.0**-24 * moved
    if isinstance(node.op, UpsampleBilinear):
        x = xs[node.inputs[0]]
        # Along both axes a share is off by the error of the position, and multiplies a difference of two pixels.
        slack = slack + 2 * POSITION_ROUNDINGS * 2.0**-24 * max(x.shape[1:3]) * 2 * np.abs(x).max()
    return slack


def _distance(a: Array, b: Array) -> float:
    """L2 norm of the difference; none where both are NaN (the logarithm of -1), NaN where one of them is."""
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):  # an infinity minus an infinity
        return float(np.linalg.norm(np.where(same, 0.0, np.asarray(a, np.float64) - b)))


def _norm(value: Array) -> float:
    """L2 norm of the finite elements."""
    return float(np.linalg.norm(value[np.isfinite(value)]))
