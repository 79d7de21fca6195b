"""The NumPy meaning of every op against PyTorch, in float64: agreement to the last few bits.

Run in an environment with PyTorch: ``make test-torch``.
"""

from __future__ import annotations

import functools
from typing import Any, assert_never

import numpy as np
import pytest

from cnngen.ir import Node
from cnngen.ops import (
    LRN,
    Activate,
    Activation,
    Add,
    ArgReduce,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Constant,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthToSpace,
    Div,
    Expand,
    Flatten,
    GlobalPool2D,
    GroupNorm,
    Identity,
    InstanceNorm,
    LayerNorm,
    LogSoftmax,
    MatMul,
    Maximum,
    Minimum,
    Mul,
    Pad,
    Pool2D,
    Power,
    PRelu,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    SpaceToDepth,
    Sub,
    Transpose,
    Upsample,
    UpsampleBilinear,
)
from cnngen.reference import evaluate
from tests.differential.onnx_twin import transposed_kernel
from tests.op_cases import CASES, build

torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch installs it")
functional = torch.nn.functional

pytestmark = pytest.mark.torch

Tensor = Any

ELSEWHERE = {
    "lrn_even": "PyTorch puts the extra channel of an even size below, ONNX above",
    "instance_norm_pixel": "PyTorch refuses a single pixel, whose deviation is always zero",
    "lp_pool_dilation": "PyTorch's sums over windows have no dilation",
    "avg_pool_dilation": "PyTorch's average pooling has no dilation",
    "avg_pool_ceil_counted": "PyTorch has no asymmetric padding to count",
    "pad_wrap_twice": "PyTorch repeats an image once only",
    **dict.fromkeys(
        (
            "resize_nearest",
            "resize_nearest_ceil",
            "resize_nearest_floor_corners",
            "resize_linear_asymmetric",
            "resize_linear_symmetric",
            "resize_region",
            "resize_region_beyond",
            "resize_region_flipped",
        ),
        "PyTorch has no such coordinates or rounding",
    ),
    "resize_linear_to_one": "PyTorch's single pixel is at the centre, whatever ONNX calls pytorch_half_pixel",
    "resize_cubic_outside": "PyTorch's bicubic interpolation repeats the border",
    "resize_linear_antialias": "PyTorch leaves out what is beyond the border where it antialiases",
    "resize_cubic_antialias": "PyTorch leaves out what is beyond the border where it antialiases",
}
"""Cases that PyTorch defines otherwise or not at all; ONNX Runtime is asked about them."""


INTERPOLATIONS = {
    ("nearest", "asymmetric", "floor"): "nearest",
    ("nearest", "half_pixel", "round_prefer_ceil"): "nearest-exact",
    ("linear", "half_pixel", "round_prefer_floor"): "bilinear",
    ("linear", "align_corners", "round_prefer_floor"): "bilinear",
    ("cubic", "half_pixel", "round_prefer_floor"): "bicubic",
    ("cubic", "align_corners", "round_prefer_floor"): "bicubic",
}
"""PyTorch's names for modes, coordinates and roundings of `resize`."""


def torch_result(node: Node, inputs: list[Tensor]) -> Tensor:
    """The op by PyTorch, on channels-first copies where it wants them; the result as cnngen lays it out."""
    op, x = node.op, inputs[0] if inputs else None
    w = {role: torch.from_numpy(np.asarray(array, np.float64)) for role, array in node.weights.items()}
    match op:
        case Conv2D():
            y = functional.conv2d(
                functional.pad(chw(x), sides(op.padding)),
                w["weight"].permute(3, 2, 0, 1),
                w.get("bias"),
                op.stride,
                0,
                op.dilation,
                op.groups,
            )
            y = hwc(y)
            return activated(y + inputs[1] if op.residual else y, op.activation)
        case Conv2DTranspose():
            kernel = torch.from_numpy(transposed_kernel(w["weight"].numpy(), op.groups))
            y = functional.conv_transpose2d(
                chw(x), kernel, w.get("bias"), op.stride, 0, op.output_padding, op.groups, op.dilation
            )
            top, bottom, left, right = op.padding  # PyTorch crops alike on both sides only
            y = hwc(y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right])
            return activated(y + inputs[1] if op.residual else y, op.activation)
        case Pool2D():
            return hwc(pooled(op, chw(x)))
        case GlobalPool2D(reduction="lp"):
            return (x.abs() ** op.order).sum((1, 2), keepdim=True) ** (1 / op.order)
        case GlobalPool2D():
            pool = functional.adaptive_max_pool2d if op.reduction == "max" else functional.adaptive_avg_pool2d
            return hwc(pool(chw(x), 1))
        case Dense():
            return activated(functional.linear(x, w["weight"].T, w.get("bias")), op.activation)
        case Activate():
            return activated(x, op.activation)
        case BatchNorm():
            args = (w["mean"], w["variance"], w["gamma"], w["beta"])
            return activated(hwc(functional.batch_norm(chw(x), *args, eps=op.epsilon)), op.activation)
        case InstanceNorm():
            y = functional.instance_norm(chw(x), weight=w.get("gamma"), bias=w.get("beta"), eps=op.epsilon)
            return activated(hwc(y), op.activation)
        case GroupNorm():
            y = functional.group_norm(chw(x), op.groups, w.get("gamma"), w.get("beta"), op.epsilon)
            return activated(hwc(y), op.activation)
        case LayerNorm():
            y = functional.layer_norm(x, op.affine_shape(x.shape), w.get("gamma"), w.get("beta"), op.epsilon)
            return activated(y, op.activation)
        case LRN():
            return hwc(functional.local_response_norm(chw(x), op.size, op.alpha, op.beta, op.bias))
        case Add():
            return activated(sum(inputs[1:], x), op.activation)
        case Sub():
            return activated(x - inputs[1], op.activation)
        case Mul():
            return activated(functools.reduce(torch.mul, inputs), op.activation)
        case Div():
            return activated(x / inputs[1], op.activation)
        case Power():
            return activated(torch.pow(x, inputs[1]), op.activation)
        case Maximum():
            return activated(functools.reduce(torch.maximum, inputs), op.activation)
        case Minimum():
            return activated(functools.reduce(torch.minimum, inputs), op.activation)
        case PRelu():
            return hwc(functional.prelu(chw(x), w["alpha"]))
        case Concat():
            return torch.cat(inputs, dim=op.axis)
        case Flatten():
            return torch.flatten(chw(x) if op.order == "chw" and x.ndim == 4 else x, 1)
        case Transpose():
            return x.permute(op.axes)
        case Upsample():
            return hwc(functional.interpolate(chw(x), scale_factor=op.scale, mode="nearest"))
        case UpsampleBilinear():
            return hwc(functional.interpolate(chw(x), scale_factor=op.scale, mode="bilinear", align_corners=False))
        case Resize():
            return hwc(interpolated(op, chw(x)))
        case DepthToSpace():
            y = chw(x)
            if op.mode == "DCR":  # PixelShuffle has the block's pixels last
                y = y.unflatten(1, (op.block**2, -1)).transpose(1, 2).flatten(1, 2)
            return hwc(functional.pixel_shuffle(y, op.block))
        case SpaceToDepth():
            y = functional.pixel_unshuffle(chw(x), op.block)
            if op.mode == "DCR":  # PixelUnshuffle has the block's pixels last
                y = y.unflatten(1, (-1, op.block**2)).transpose(1, 2).flatten(1, 2)
            return hwc(y)
        case ChannelShuffle():
            return hwc(functional.channel_shuffle(chw(x), op.groups))
        case Pad():
            mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}[op.mode]
            if op.mode == "constant":
                value = float(np.float32(op.value))
                return hwc(functional.pad(chw(x), (*sides(op.padding), *op.channels), value=value))
            return hwc(functional.pad(chw(cropped(op, x)), sides(op.borders), mode=mode))
        case Reshape() if op.whole or len(op.shape) != 3:
            source = chw(x) if op.order == "chw" and x.ndim == 4 else x
            y = source.reshape(op.shape if op.whole else (len(x), *op.shape))
            return hwc(y) if op.order == "chw" and y.ndim == 4 else y
        case Reshape():
            height, width, channels = op.shape
            if op.order == "hwc":
                return x.reshape(-1, height, width, channels)
            return hwc((chw(x) if x.ndim == 4 else x).reshape(-1, channels, height, width))
        case Slice():
            for cut in op.cuts:
                chosen = torch.arange(cut.count) * cut.step + cut.start
                x = torch.index_select(x, cut.axis, chosen)
            return x
        case Expand():
            return x.expand(torch.broadcast_shapes(x.shape, op.shape))
        case Constant():
            return torch.from_numpy(np.asarray(node.weights["value"], np.float64))
        case Reduce():
            return reduced(op, x)
        case ArgReduce():
            function = torch.argmax if op.function == "max" else torch.argmin
            y = function(x.flip(op.axis) if op.select_last else x, dim=op.axis, keepdim=op.keep_dims)
            return (x.shape[op.axis] - 1 - y if op.select_last else y).double()
        case MatMul():
            return torch.matmul(*inputs)
        case Identity():
            return functional.dropout(x, training=False)
        case Softmax():
            return functional.softmax(x, dim=-1)
        case LogSoftmax():
            return functional.log_softmax(x, dim=-1)
        case _:
            assert_never(op)


def reduced(op: Reduce, x: Tensor) -> Tensor:
    """A reduction over any axes."""
    over = {"dim": op.axes, "keepdim": op.keep_dims}
    match op.function:
        case "mean" | "sum":
            return getattr(torch, op.function)(x, **over)
        case "max" | "min":
            return getattr(torch, f"a{op.function}")(x, **over)
        case "l1" | "l2":
            return torch.linalg.vector_norm(x, int(op.function[1]), **over)
        case "sum_square":
            return torch.sum(torch.square(x), **over)
        case "log_sum":
            return torch.log(torch.sum(x, **over))
        case "log_sum_exp":
            return torch.logsumexp(x, **over)
        case "prod":
            for axis in sorted(op.axes, reverse=True):
                x = torch.prod(x, axis, keepdim=op.keep_dims)
            return x
        case _:
            assert_never(op.function)


def cropped(op: Pad, x: Tensor) -> Tensor:
    """The image less what negative padding cuts off."""
    top, bottom, left, right = op.crops
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


def interpolated(op: Resize, x: Tensor) -> Tensor:
    """PyTorch's interpolation with what it calls this mode, these coordinates and this rounding."""
    mode = INTERPOLATIONS[op.how.mode, op.how.coordinates, op.how.rounding]
    corners = op.how.coordinates == "align_corners" if "nearest" not in mode else None
    size = {"size": op.size} if op.scale is None else {"scale_factor": op.scale}
    return functional.interpolate(x, mode=mode, align_corners=corners, antialias=op.how.antialias, **size)


def pooled(op: Pool2D, x: Tensor) -> Tensor:
    """PyTorch's pooling; padding that it refuses (asymmetric, or above half the kernel) goes around the image first."""
    if op.reduction == "lp":  # torch.nn.LPPool2d takes no padding, and loses the sign of odd powers
        powers = functional.pad(x.abs() ** op.order, sides(op.padding))
        sums = functional.avg_pool2d(powers, op.kernel, op.stride, ceil_mode=op.ceil_mode, divisor_override=1)
        return sums ** (1 / op.order)
    top, bottom, left, right = op.padding
    if (top, left) == (bottom, right) and top <= op.kernel[0] // 2 and left <= op.kernel[1] // 2:
        args = (x, op.kernel, op.stride, (top, left))
        if op.reduction == "max":
            return functional.max_pool2d(*args, op.dilation, op.ceil_mode)
        return functional.avg_pool2d(*args, op.ceil_mode, op.count_include_pad)
    if op.reduction == "max":
        padded = functional.pad(x, sides(op.padding), value=-torch.inf)
        return functional.max_pool2d(padded, op.kernel, op.stride, 0, op.dilation)
    # The mean over the padded image, over the share of the window that lies inside.
    total, inside = (
        functional.avg_pool2d(functional.pad(t, sides(op.padding)), op.kernel, op.stride)
        for t in (x, torch.ones_like(x))
    )
    return total / inside


def activated(x: Tensor, activation: Activation | None) -> Tensor:
    if activation is None:
        return x
    alpha, beta = activation.alpha, activation.beta
    match activation.function:
        case "relu":
            return functional.relu(x)
        case "relu6":
            return functional.relu6(x)
        case "clip":
            return torch.clamp(x, alpha, beta)
        case "leaky_relu":
            return functional.leaky_relu(x, alpha)
        case "sigmoid":
            return torch.sigmoid(x)
        case "tanh":
            return torch.tanh(x)
        case "hard_sigmoid":
            return functional.hardtanh(alpha * x + beta, 0, 1)
        case "hard_swish":
            return functional.hardswish(x)
        case "silu":
            return functional.silu(x)
        case "elu":
            return functional.elu(x, alpha)
        case "selu":
            return functional.selu(x)
        case "gelu":
            return functional.gelu(x)
        case "gelu_tanh":
            return functional.gelu(x, approximate="tanh")
        case "mish":
            return functional.mish(x)
        case "softplus":
            return functional.softplus(x, threshold=1000)  # above which it returns x
        case "celu":
            return functional.celu(x, alpha)
        case "softsign":
            return functional.softsign(x)
        case "thresholded_relu":
            return functional.threshold(x, alpha, 0)
        case "swish":
            return x * torch.sigmoid(alpha * x)
        case "pow":
            return torch.pow(x, alpha)
        case elementary:
            return getattr(torch, elementary)(x)


def chw(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)


def hwc(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


def sides(padding: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Padding in the order of `torch.nn.functional.pad`: last axis first."""
    top, bottom, left, right = padding
    return left, right, top, bottom


@pytest.mark.parametrize("name", [name for name in CASES if name not in ELSEWHERE])
def test_op_agrees_with_pytorch(name: str) -> None:
    node, inputs = build(CASES[name])
    expected = torch_result(node, [torch.from_numpy(np.asarray(x, np.float64)) for x in inputs]).numpy()
    actual = evaluate(node, inputs)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13)


def test_even_lrn_differs_from_pytorch_by_its_side_only() -> None:
    """The same sums with the channels the other way round."""
    node, (x,) = build(CASES["lrn_even"])
    mirrored = torch_result(node, [torch.from_numpy(np.asarray(x[..., ::-1], np.float64))]).numpy()[..., ::-1]
    np.testing.assert_allclose(evaluate(node, [x]), mirrored, rtol=1e-12, atol=1e-13)
