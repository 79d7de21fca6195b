"""The NumPy meaning of every op against ONNX Runtime, and of convolution against plain loops and SciPy.

The same cases are held against PyTorch in float64 in tests/torch/test_reference_ops_torch.py.
"""

from __future__ import annotations

from itertools import product
from typing import assert_never, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from scipy import signal, special

from cnngen.ir import Array, Node
from cnngen.ops import (
    FUNCTIONS,
    LRN,
    Activate,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Flatten,
    GlobalPool2D,
    Identity,
    Op,
    Pool2D,
    Softmax,
    Transpose,
    Upsample,
)
from cnngen.reference import evaluate
from tests.op_cases import CASES, Case, build, types

TO_CHW, TO_HWC = [0, 3, 1, 2], [0, 2, 3, 1]


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
    ],
    ids=str,
)
def test_curved_activations_over_their_whole_range(activation: Activation, expected) -> None:
    x = np.concatenate([np.linspace(-40, 40, 801), [-800, 800, 0.0, -0.0, 1e-30, -1e-30]])
    np.testing.assert_allclose(activation.evaluate(x), expected(x), rtol=1e-13)


@pytest.mark.parametrize("scale", [1, 100, 1e4])
def test_softmax_is_scipys_even_for_large_numbers(scale: float) -> None:
    x = scale * np.random.default_rng(0).standard_normal((5, 7))
    np.testing.assert_allclose(Softmax().evaluate([x], {}), special.softmax(x, axis=-1), rtol=1e-12)


# -------------------------------------------------------------------------------------- ONNX Runtime


class OnnxModel:
    """Collects ONNX nodes for one op; tensors between them are named by number."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, array: Array) -> str:
        self.constants.append(
            numpy_helper.from_array(np.ascontiguousarray(array, np.float32), f"w{len(self.constants)}")
        )
        return self.constants[-1].name

    def apply(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def run(self, output: str, rank: int, inputs: list[Array]) -> Array:
        """The tensor `output`, which has this rank; ONNX Runtime infers its sizes."""
        names = [f"x{i}" for i in range(len(inputs))]
        graph = helper.make_graph(
            self.nodes,
            "case",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape)
                for name, x in zip(names, inputs, strict=True)
            ],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None] * rank)],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
        onnx.checker.check_model(model)
        feed = dict(zip(names, inputs, strict=True))
        if any(node.op_type == "LRN" and helper.get_node_attr_value(node, "size") % 2 == 0 for node in self.nodes):
            # ONNX Runtime refuses even sizes, which ONNX defines: ask its own reference.
            return np.asarray(ReferenceEvaluator(model).run(None, feed)[0])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, feed)[0])


def onnx_model(node: Node, rank: int) -> tuple[OnnxModel, str]:
    """The op in ONNX's own terms: channels first, behind and in front of transposes."""
    model, op = OnnxModel(), node.op
    weights = dict(node.weights)
    names = [f"x{i}" for i in range(len(node.inputs))]

    def chw(name: str) -> str:
        return model.apply("Transpose", name, perm=TO_CHW) if rank == 4 else name

    def hwc(name: str) -> str:
        return model.apply("Transpose", name, perm=TO_HWC) if rank == 4 else name

    def activated(name: str, activation: Activation | None) -> str:
        return onnx_activation(model, name, activation) if activation else name

    match op:
        case Conv2D():
            kernel = model.constant(weights["weight"].transpose(3, 2, 0, 1))
            bias = [model.constant(weights["bias"])] if op.use_bias else []
            y = model.apply("Conv", chw(names[0]), kernel, *bias, group=op.groups, **onnx_window(op))
            y = hwc(y)
            y = model.apply("Add", y, names[1]) if op.residual else y
            return model, activated(y, op.activation)
        case Pool2D(reduction="max"):
            return model, hwc(model.apply("MaxPool", chw(names[0]), ceil_mode=int(op.ceil_mode), **onnx_window(op)))
        case Pool2D():
            counted = int(op.count_include_pad)
            y = model.apply(
                "AveragePool", chw(names[0]), ceil_mode=int(op.ceil_mode), count_include_pad=counted, **onnx_window(op)
            )
            return model, hwc(y)
        case GlobalPool2D():
            kind = "GlobalMaxPool" if op.reduction == "max" else "GlobalAveragePool"
            return model, hwc(model.apply(kind, chw(names[0])))
        case Dense():
            y = model.apply("MatMul", names[0], model.constant(weights["weight"]))
            y = model.apply("Add", y, model.constant(weights["bias"])) if op.use_bias else y
            return model, activated(y, op.activation)
        case Activate():
            return model, activated(names[0], op.activation)
        case BatchNorm():
            roles = [model.constant(weights[role]) for role in ("gamma", "beta", "mean", "variance")]
            return model, hwc(model.apply("BatchNormalization", chw(names[0]), *roles, epsilon=op.epsilon))
        case LRN():
            y = model.apply("LRN", chw(names[0]), size=op.size, alpha=op.alpha, beta=op.beta, bias=op.bias)
            return model, hwc(y)
        case Add():
            return model, activated(model.apply("Sum", *names), op.activation)
        case Concat():
            return model, hwc(model.apply("Concat", *map(chw, names), axis=1))
        case Flatten():
            return model, model.apply("Flatten", chw(names[0]) if op.order == "chw" else names[0])
        case Transpose():
            return model, model.apply("Transpose", names[0], perm=list(op.axes))
        case Upsample():
            scales = model.constant(np.array([1, 1, *op.scale]))
            modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            return model, hwc(model.apply("Resize", chw(names[0]), "", scales, mode="nearest", **modes))
        case Identity():
            return model, model.apply("Identity", names[0])
        case Softmax():
            return model, model.apply("Softmax", names[0], axis=-1)
        case _:
            assert_never(op)


def onnx_window(op: Conv2D | Pool2D) -> dict[str, list[int]]:
    top, bottom, left, right = op.padding
    return {
        "kernel_shape": list(op.kernel),
        "strides": list(op.stride),
        "dilations": list(op.dilation),
        "pads": [top, left, bottom, right],
    }


def onnx_activation(model: OnnxModel, x: str, activation: Activation) -> str:
    alpha, beta = activation.alpha, activation.beta
    match activation.function:
        case "relu":
            return model.apply("Relu", x)
        case "relu6":
            return model.apply("Clip", x, model.constant(np.float32(0)), model.constant(np.float32(6)))
        case "clip":
            return model.apply("Clip", x, model.constant(np.float32(alpha)), model.constant(np.float32(beta)))
        case "leaky_relu":
            return model.apply("LeakyRelu", x, alpha=alpha)
        case "sigmoid":
            return model.apply("Sigmoid", x)
        case "tanh":
            return model.apply("Tanh", x)
        case "hard_sigmoid":
            return model.apply("HardSigmoid", x, alpha=alpha, beta=beta)
        case "hard_swish":
            return model.apply("HardSwish", x)
        case "silu":
            return model.apply("Mul", x, model.apply("Sigmoid", x))
        case other:
            raise AssertionError(f"no ONNX form of {other} is written down here")


@pytest.mark.parametrize("name", CASES)
def test_op_agrees_with_onnx_runtime(name: str) -> None:
    case = CASES[name]
    node, inputs = build(case)
    model, output = onnx_model(node, len(case.shapes[0]))
    actual = evaluate(node, inputs)
    expected = model.run(output, actual.ndim, inputs)
    assert actual.shape == expected.shape
    # ONNX Runtime computes in float32: a hundred roundings at the scale of the largest value.
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=6e-6 * np.abs(actual).max())


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
    model, output = onnx_model(node, len(case.shapes[0]))
    expected = model.run(output, len(case.op.infer(types(case)).shape), inputs)
    other = evaluate(Node("y", wrong.op, node.inputs, node.weights), inputs)
    assert other.shape != expected.shape or np.abs(other - expected).max() > 1e-3 * np.abs(expected).max()
