"""The NumPy meaning of every op against ONNX Runtime, and of convolution against plain loops and SciPy.

The same cases are held against PyTorch in float64 in tests/torch/test_reference_ops_torch.py.
"""

from __future__ import annotations

from itertools import product
from typing import get_args

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from scipy import signal, special

from cnngen.ir import Array, Node
from cnngen.ops import (
    FUNCTIONS,
    LRN,
    Activate,
    Activation,
    Conv2D,
    Op,
    Softmax,
)
from cnngen.reference import evaluate
from tests.differential.onnx_twin import OnnxTwin
from tests.op_cases import CASES, Case, build, build_graph, types


def test_every_op_and_every_activation_has_a_case() -> None:
    assert {type(case.op) for case in CASES.values()} == set(get_args(Op))
    tried = {case.op.activation.function for case in CASES.values() if isinstance(case.op, Activate)}
    assert tried == set(FUNCTIONS)


@pytest.mark.parametrize("name", CASES)
def test_shape_rule_and_dtype(name: str) -> None:
    case = CASES[name]
    node, inputs = build(case)
    output = evaluate(node, inputs)
    assert output.dtype == np.float64
    assert output.shape == case.op.infer(types(case)).shape


# --------------------------------------------------------------------------- convolution, plain loops


def plain_loops(op: Conv2D, x: Array, kernel: Array, bias: Array) -> Array:
    """``H[i,j,o] = u[o] + sum_{a,b,c} K[a,b,c,o] X[i s + a d - p, j s + b d - p, c]``, zero outside X.

    With groups, c runs over the input channels of o's group.
    """
    batch, height, width, _ = x.shape
    (kh, kw, depth, filters), (top, bottom, left, right) = kernel.shape, op.padding
    rows = (height + top + bottom - op.dilation[0] * (kh - 1) - 1) // op.stride[0] + 1
    columns = (width + left + right - op.dilation[1] * (kw - 1) - 1) // op.stride[1] + 1
    h = np.zeros((batch, rows, columns, filters))
    for n, i, j, o in product(range(batch), range(rows), range(columns), range(filters)):
        first = o // (filters // op.groups) * depth
        total = bias[o]
        for a, b, c in product(range(kh), range(kw), range(depth)):
            y = i * op.stride[0] + a * op.dilation[0] - top
            z = j * op.stride[1] + b * op.dilation[1] - left
            if 0 <= y < height and 0 <= z < width:
                total += kernel[a, b, c, o] * x[n, y, z, first + c]
        h[n, i, j, o] = total
    return h


PLAIN = [name for name, case in CASES.items() if isinstance(case.op, Conv2D) and not case.op.residual]


@pytest.mark.parametrize("name", PLAIN)
def test_convolution_is_the_plain_loops(name: str) -> None:
    node, (x,) = build(CASES[name])
    assert isinstance(node.op, Conv2D)
    weights = {role: np.asarray(array, np.float64) for role, array in node.weights.items()}
    bias = weights.get("bias", np.zeros(node.op.filters))
    expected = plain_loops(node.op, np.asarray(x[:1], np.float64), weights["weight"], bias)
    if node.op.activation:
        expected = np.maximum(expected, 0)
    np.testing.assert_allclose(evaluate(node, [x[:1]]), expected, rtol=1e-12, atol=1e-12)


def test_convolution_of_integers_is_the_plain_loops_exactly() -> None:
    rng = np.random.default_rng(3)
    op = Conv2D(4, (3, 2), (2, 1), (1, 0, 1, 1), groups=2)
    x, kernel = rng.integers(-9, 10, (1, 6, 5, 4)), rng.integers(-9, 10, (3, 2, 2, 4))
    bias = rng.integers(-9, 10, 4)
    node = Node("y", op, ("x",), {"weight": np.float32(kernel), "bias": np.float32(bias)})
    np.testing.assert_array_equal(evaluate(node, [np.float32(x)]), plain_loops(op, x, kernel, bias))


@pytest.mark.parametrize("name", ["conv_1x1", "conv_no_bias", "conv_whole_image"])
def test_convolution_is_scipys_correlation(name: str) -> None:
    node, (x,) = build(CASES[name])
    weight = np.asarray(node.weights["weight"], np.float64)
    expected = np.stack(
        [
            np.stack(
                [signal.correlate(image, weight[..., o], mode="valid")[..., 0] for o in range(weight.shape[3])], -1
            )
            for image in np.asarray(x, np.float64)
        ]
    )
    expected = expected + node.weights.get("bias", 0)
    np.testing.assert_allclose(evaluate(node, [x]), expected, rtol=1e-10, atol=1e-10)


# --------------------------------------------------------------------------------- SciPy, in float64


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (Activation("sigmoid"), special.expit),
        (Activation("silu"), lambda x: x * special.expit(x)),
        (Activation("tanh"), np.tanh),
        (Activation("gelu"), lambda x: x * special.ndtr(x)),
        (Activation("gelu_tanh"), lambda x: x * special.expit(np.sqrt(8 / np.pi) * (x + 0.044715 * x**3))),
        (Activation("elu", 0.75), lambda x: np.maximum(x, 0) + 0.75 * special.expm1(np.minimum(x, 0))),
        (Activation("softplus"), lambda x: -special.log_expit(-x)),
        (Activation("mish"), lambda x: x * np.tanh(-special.log_expit(-x))),
    ],
    ids=lambda value: str(value) if isinstance(value, Activation) else "",
)
def test_curved_activations_over_their_whole_range(activation: Activation, expected) -> None:
    x = np.concatenate([np.linspace(-40, 40, 801), [-800, 800, 0.0, -0.0, 1e-30, -1e-30]])
    # A rounded x^2 / 2 up to 800 in an exponent moves the result by 800 roundings; below 1e-300 are denormals.
    np.testing.assert_allclose(activation.evaluate(x), expected(x), rtol=1600 * 2**-53, atol=1e-300)


@pytest.mark.parametrize("scale", [1, 100, 1e4])
def test_softmax_is_scipys_even_for_large_numbers(scale: float) -> None:
    x = scale * np.random.default_rng(0).standard_normal((5, 7))
    np.testing.assert_allclose(Softmax().evaluate([x], {}), special.softmax(x, axis=-1), rtol=1e-12)


# -------------------------------------------------------------------------------------- ONNX Runtime


def by_onnx_runtime(case: Case) -> Array:
    """The case in ONNX's own terms, in the layout of cnngen."""
    graph, inputs = build_graph(case)
    feed = {tensor.name: x for tensor, x in zip(graph.inputs, inputs, strict=True)}
    return OnnxTwin(graph)(feed)["y"]


@pytest.mark.parametrize("name", CASES)
def test_op_agrees_with_onnx_runtime(name: str) -> None:
    case = CASES[name]
    node, inputs = build(case)
    actual, expected = evaluate(node, inputs), by_onnx_runtime(case)
    assert actual.shape == expected.shape
    # ONNX Runtime computes in float32: a hundred roundings at the scale of the largest value.
    largest = np.abs(actual[np.isfinite(actual)]).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=6e-6 * largest)


def test_even_lrn_is_onnx_s_own_definition() -> None:
    """ONNX Runtime refuses even sizes, which ONNX defines: its reference implementation is asked."""
    node, (x,) = build(CASES["lrn_even"])
    op = node.op
    assert isinstance(op, LRN)
    images = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    lrn = helper.make_node("LRN", ["x"], ["y"], size=op.size, alpha=op.alpha, beta=op.beta, bias=op.bias)
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, images.shape) for name in "xy"]
    graph = helper.make_graph([lrn], "lrn", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": images})
    np.testing.assert_allclose(evaluate(node, [x]).transpose(0, 3, 1, 2), expected, rtol=1e-5)


WRONG = {
    "conv_asymmetric_padding": Case(Conv2D(3, (3, 4), (2, 1), (1, 0, 2, 1)), ((2, 9, 8, 4),)),
    "avg_pool_padding": CASES["avg_pool_padding_counted"],
    "lrn_even": Case(LRN(5, 0.5, 0.75, 2.0), ((7, 3, 2, 7),)),
    "flatten_chw": CASES["flatten_hwc"],
}
"""Ops that differ from the case of this name in one parameter only."""


@pytest.mark.parametrize(("name", "wrong"), WRONG.items())
def test_the_comparison_notices_one_wrong_parameter(name: str, wrong: Case) -> None:
    case = CASES[name]
    node, inputs = build(case)
    expected = by_onnx_runtime(case)
    other = evaluate(Node("y", wrong.op, node.inputs, node.weights), inputs)
    assert other.shape != expected.shape or np.abs(other - expected).max() > 1e-3 * np.abs(expected).max()
