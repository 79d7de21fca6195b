"""Convolutions and fully connected layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cnngen.frontends.torch.handlers.shape import reshaped, with_axis, without
from cnngen.frontends.torch.lowering import (
    IMAGE,
    Lowering,
    Order,
    Tensor,
    UnsupportedError,
    Value,
    array,
    handles,
    is_constant,
    natural,
    pair,
)
from cnngen.frontends.weight_layouts import layouts
from cnngen.ir import Array
from cnngen.ops import Conv2D, Conv2DTranspose, Dense


@handles("conv2d.default", "conv2d.padding")
def conv2d(
    g: Lowering,
    input: Tensor,
    weight: Value,
    bias: Value,
    stride: Sequence[int],
    padding: Sequence[int] | str,
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    kernel = _kernel(weight, bias)
    steps = pair(dilation)
    if isinstance(padding, str):
        # "same" is for stride 1 only; an odd row goes to the end (torch.nn.functional.conv2d).
        totals = [
            step * (size - 1) if padding == "same" else 0 for step, size in zip(steps, kernel.shape[2:], strict=True)
        ]
        (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in totals)
    else:
        top, left = pair(padding)
        bottom, right = top, left
    op = Conv2D(
        filters=kernel.shape[0],
        kernel=(kernel.shape[2], kernel.shape[3]),
        stride=pair(stride),
        padding=(top, bottom, left, right),
        dilation=steps,
        groups=groups,
        use_bias=bias is not None,
    )
    return g.add(op, (g.image(input),), IMAGE, _weights(kernel.transpose(2, 3, 1, 0), bias))


@handles("conv1d.default", "conv1d.padding")
def conv1d(
    g: Lowering,
    input: Tensor,
    weight: Value,
    bias: Value,
    stride: Sequence[int],
    padding: Sequence[int] | str,
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """A 2-D convolution of one row."""
    if not is_constant(weight):
        raise UnsupportedError("has weights that depend on the input")
    pads = padding if isinstance(padding, str) else (0, padding[0])
    row = with_axis(g, input, 2)
    y = conv2d(g, row, weight.unsqueeze(2), bias, (1, stride[0]), pads, (1, dilation[0]), groups)
    return without(g, y, [2])


@handles("conv_transpose2d.input")
def conv_transpose2d(
    g: Lowering,
    input: Tensor,
    weight: Value,
    bias: Value,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
) -> Tensor:
    kernel = _kernel(weight, bias)
    channels, filters, height, width = kernel.shape
    top, left = pair(padding)
    op = Conv2DTranspose(
        filters=filters * groups,
        kernel=(height, width),
        stride=pair(stride),
        padding=(top, top, left, left),
        dilation=pair(dilation),
        groups=groups,
        output_padding=pair(output_padding),
        use_bias=bias is not None,
    )
    own = (height, width, channels // groups, filters * groups)
    return g.add(op, (g.image(input),), IMAGE, _weights(layouts(op, "weight", own, "torch")[0].convert(kernel), bias))


@handles("convolution.default")
def convolution(
    g: Lowering,
    input: Tensor,
    weight: Value,
    bias: Value,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    if transposed:
        return conv_transpose2d(g, input, weight, bias, stride, padding, output_padding, groups, dilation)
    return conv2d(g, input, weight, bias, stride, padding, dilation, groups)


@handles("linear.default")
def linear(g: Lowering, input: Tensor, weight: Value, bias: Value) -> Tensor:
    return _dense(g, input, _matrix(weight, bias).T, bias)


@handles("addmm.default")
def addmm(g: Lowering, x: Value, mat1: Tensor, mat2: Value, beta: float, alpha: float) -> Tensor:
    if (beta, alpha) != (1, 1):
        raise UnsupportedError(f"scales its terms by beta {beta} and alpha {alpha}")
    if not is_constant(x) or x.numel() != mat2.shape[1]:
        raise UnsupportedError("adds something else than a bias")
    return _dense(g, mat1, _matrix(mat2, x), x.reshape(-1))


@handles("mm.default", "matmul.default")
def mm(g: Lowering, x: Value, mat2: Value = None, other: Value = None) -> Tensor:
    factor = other if mat2 is None else mat2
    if not isinstance(x, Tensor) or factor is None or not is_constant(factor) or factor.ndim != 2:
        raise UnsupportedError("multiplies two tensors that the network computes", remedy="use a linear layer")
    return _dense(g, x, _matrix(factor, None), None)


def _dense(g: Lowering, x: Tensor, matrix: Array, bias: Value) -> Tensor:
    """``x matrix + bias`` over the last axis: a dense layer on vectors, a 1x1 convolution on more axes."""
    units = matrix.shape[1]
    order: Order = natural(x.rank)
    if x.rank == 2:
        op = Dense(units, bias is not None)
        return g.add(op, (g.arranged(x, order),), order, _weights(matrix, bias))
    if x.rank == 4:
        convolution = Conv2D(units, (1, 1), use_bias=bias is not None)
        return g.add(convolution, (g.arranged(x, order),), order, _weights(matrix[None, None], bias))
    flat = reshaped(g, x, (x.shape[0], math.prod(x.shape[1:-1]), 1, x.shape[-1]), keep=True)
    y = _dense(g, flat, matrix, bias)
    return reshaped(g, y, (*x.shape[:-1], units), keep=True)


def _kernel(weight: Value, bias: Value) -> Array:
    """The kernel of a convolution as PyTorch has it."""
    if not (is_constant(weight) and is_constant(bias)):
        raise UnsupportedError("has weights that depend on the input")
    if weight.ndim != 4:
        raise UnsupportedError(f"is a {weight.ndim - 2}-D convolution", remedy="use a 2-D one")
    return array(weight)


def _matrix(weight: Value, bias: Value) -> Array:
    if not (is_constant(weight) and is_constant(bias)):
        raise UnsupportedError("has weights that depend on the input")
    return array(weight)


def _weights(weight: Array, bias: Value) -> dict[str, Array]:
    return {"weight": weight} if bias is None else {"weight": weight, "bias": array(bias)}
