"""Pooling over windows, to a given size, and over the whole image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from cnngen.frontends.torch.handlers.elementwise import affine
from cnngen.frontends.torch.handlers.shape import with_axis, without
from cnngen.frontends.torch.lowering import IMAGE, Lowering, Tensor, UnsupportedError, handles, pair
from cnngen.ir import Array
from cnngen.ops import Conv2D, GlobalPool2D, Pool2D, Upsample

Reduction = Literal["max", "avg"]


@handles("max_pool2d.default")
def max_pool2d(
    g: Lowering,
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    return _pool(g, x, "max", kernel_size, stride, padding, ceil_mode, dilation=pair(dilation))


@handles("max_pool2d_with_indices.default")
def max_pool2d_with_indices(
    g: Lowering,
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> list[Tensor | None]:
    return [_pool(g, x, "max", kernel_size, stride, padding, ceil_mode, dilation=pair(dilation)), None]


@handles("avg_pool2d.default")
def avg_pool2d(
    g: Lowering,
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    if divisor_override is None:
        return _pool(g, x, "avg", kernel_size, stride, padding, ceil_mode, count_include_pad=count_include_pad)
    if ceil_mode:
        raise UnsupportedError("has a divisor of its own with ceil_mode")
    height, width = pair(kernel_size)
    # With padding counted, every window has as many elements.
    mean = _pool(g, x, "avg", kernel_size, stride, padding, False, count_include_pad=True)
    return affine(g, mean, scale=height * width / divisor_override)


def _pool(
    g: Lowering,
    x: Tensor,
    reduction: Reduction,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    *,
    dilation: tuple[int, int] = (1, 1),
    count_include_pad: bool = False,
) -> Tensor:
    kernel, (top, left) = pair(kernel_size), pair(padding)
    op = Pool2D(
        reduction=reduction,
        kernel=kernel,
        stride=pair(stride) if stride else kernel,
        padding=(top, top, left, left),
        dilation=dilation,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )
    return g.add(op, (g.image(x),), IMAGE)


@handles("max_pool1d.default")
def max_pool1d(
    g: Lowering,
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    row, steps = with_axis(g, x, 2), stride or kernel_size
    y = max_pool2d(g, row, (1, kernel_size[0]), (1, steps[0]), (0, padding[0]), (1, dilation[0]), ceil_mode)
    return without(g, y, [2])


@handles("avg_pool1d.default")
def avg_pool1d(
    g: Lowering,
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
) -> Tensor:
    row, steps = with_axis(g, x, 2), stride or kernel_size
    kernel = (1, kernel_size[0])
    y = avg_pool2d(g, row, kernel, (1, steps[0]), (0, padding[0]), ceil_mode, count_include_pad, None)
    return without(g, y, [2])


@handles("adaptive_avg_pool1d.default")
def adaptive_avg_pool1d(g: Lowering, x: Tensor, output_size: Sequence[int]) -> Tensor:
    return without(g, _adaptive(g, with_axis(g, x, 2), "avg", (1, output_size[0])), [2])


@handles("adaptive_avg_pool2d.default", "_adaptive_avg_pool2d.default")
def adaptive_avg_pool2d(g: Lowering, x: Tensor, output_size: Sequence[int]) -> Tensor:
    return _adaptive(g, x, "avg", output_size)


@handles("adaptive_max_pool2d.default")
def adaptive_max_pool2d(g: Lowering, x: Tensor, output_size: Sequence[int]) -> list[Tensor | None]:
    return [_adaptive(g, x, "max", output_size), None]


def _adaptive(g: Lowering, x: Tensor, reduction: Reduction, output_size: Sequence[int]) -> Tensor:
    """Output i of n covers elements floor(i size / n) to ceil((i + 1) size / n), along either axis."""
    sizes = x.shape[2:]
    outputs = pair([size if given is None else given for given, size in zip(output_size, sizes, strict=True)])
    if outputs == (1, 1):
        return g.add(GlobalPool2D(reduction), (g.image(x),), IMAGE)
    if outputs == sizes:
        return x
    if all(output % size == 0 for output, size in zip(outputs, sizes, strict=True)):  # every window is one element
        return g.add(Upsample((outputs[0] // sizes[0], outputs[1] // sizes[1])), (g.image(x),), IMAGE)
    windows = [_windows(size, count) for size, count in zip(sizes, outputs, strict=True)]
    regular = [_regular(along) for along in windows]
    if regular[0] and regular[1]:
        (kh, sh), (kw, sw) = regular[0], regular[1]
        return g.add(Pool2D(reduction, (kh, kw), (sh, sw)), (g.image(x),), IMAGE)
    if reduction == "max":
        raise UnsupportedError(
            f"takes maxima of {sizes} elements to {outputs}, in windows of different sizes",
            remedy="choose a size that divides that of the input",
        )
    for axis, along in ((2, windows[0]), (3, windows[1])):
        x = _averages(g, x, axis, along)
    return x


def _windows(size: int, outputs: int) -> list[tuple[int, int]]:
    return [(i * size // outputs, -(-(i + 1) * size // outputs)) for i in range(outputs)]


def _regular(windows: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Length and step of windows that are alike and equally far apart; None of others."""
    lengths = {end - start for start, end in windows}
    steps = {after[0] - before[0] for before, after in pairwise(windows)} or {1}
    return (lengths.pop(), steps.pop()) if len(lengths) == len(steps) == 1 and 0 not in steps else None


def _averages(g: Lowering, x: Tensor, axis: int, windows: Sequence[tuple[int, int]]) -> Tensor:
    """Means over any windows along one axis: with that axis in the place of the channels, a 1x1 convolution."""
    if len(windows) == x.shape[axis]:
        return x
    matrix: Array = np.zeros((1, 1, x.shape[axis], len(windows)), np.float32)
    for output, (start, end) in enumerate(windows):
        matrix[0, 0, start:end, output] = 1 / (end - start)
    order = (0, 1, 5 - axis, axis)
    op = Conv2D(len(windows), (1, 1), use_bias=False)
    return g.add(op, (g.arranged(x, order),), order, {"weight": matrix})


@handles("mean.dim", "mean.default", without_effect=("dtype",))
def mean(g: Lowering, x: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    return _reduced(g, x, "avg", dim, keepdim)


@handles("amax.default")
def amax(g: Lowering, x: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    return _reduced(g, x, "max", dim, keepdim)


@handles("sum.dim_IntList")
def total(g: Lowering, x: Tensor, dim: Sequence[int] | None, keepdim: bool) -> Tensor:
    dims = [x.axis(one) for one in dim] if dim else range(x.rank)
    return affine(g, _reduced(g, x, "avg", dim, keepdim), scale=math.prod(x.shape[axis] for axis in dims))


def _reduced(g: Lowering, x: Tensor, reduction: Reduction, dim: Sequence[int] | None, keepdim: bool) -> Tensor:
    """A mean or maximum over one or two axes: pooling, with these two as height and width."""
    dims = sorted({x.axis(one) for one in dim} if dim else range(x.rank))
    if x.rank != 4 or 0 in dims or len(dims) > 2:
        raise UnsupportedError(f"reduces the axes {dims} of {x.rank}")
    if len(dims) == 1:
        other = 3 if dims == [2] else 2
        order = (0, *sorted((dims[0], other)), next(axis for axis in (3, 2, 1) if axis not in (dims[0], other)))
        kernel = tuple(x.shape[axis] if axis in dims else 1 for axis in order[1:3])
        y = g.add(Pool2D(reduction, (kernel[0], kernel[1]), (1, 1)), (g.arranged(x, order),), order)
    else:
        order = (0, *dims, next(axis for axis in (1, 2, 3) if axis not in dims))
        y = g.add(GlobalPool2D(reduction), (g.arranged(x, order),), order)
    return y if keepdim else without(g, y, dims)
