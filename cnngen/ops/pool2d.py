"""Pooling over windows and over the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops.base import (
    SMALLEST_NORMAL,
    UNIT_ROUNDOFF,
    Bound,
    Cost,
    Everything,
    Field,
    Op,
    Types,
    Weights,
    Window,
    require_rank,
)
from cnngen.ops.conv2d import window_output
from cnngen.ops.elementary import power_roundings

PoolReduction = Literal["max", "avg", "lp"]


def lp_norm(x: Array, order: int, axes: tuple[int, ...], *, keepdims: bool = False) -> Array:
    """``(sum |x|^order)^(1/order)`` over `axes`."""
    with np.errstate(over="ignore"):
        return np.asarray((np.abs(x) ** order).sum(axis=axes, keepdims=keepdims) ** (1 / order))


def lp_bound(value: Array, order: int, taps: int) -> Bound:
    """The bound of the norm of so many elements.

    A power has order - 1 roundings, the sum of what is never negative taps - 1: relative errors, of which
    the root leaves a part in `order`, and adds its own, and that of the rounded exponent 1 / order times the
    logarithm. What squares and higher powers lose as denormals is at most taps 2^-149 before the root.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        total = value**order
        size = np.where((total == 0) | ~np.isfinite(total), 0.0, np.abs(np.log(total)) / order)
    root = {1: 0.0, 2: 1.0}.get(order, power_roundings(total, 1 / order) + size + 1)
    lost = (taps * 2 * SMALLEST_NORMAL * UNIT_ROUNDOFF) ** (1 / order) if order > 1 else 0.0
    terms = taps + order - 2
    limit, alarm = (
        (roundings / order + root) * UNIT_ROUNDOFF * (1 + 1e-3) * value + lost
        for roundings in (terms, min(float(terms), np.sqrt(max(terms, 0)) + 2))
    )
    return Bound(value, np.asarray(limit), np.asarray(alarm))


@dataclass(frozen=True)
class Pool2D(Op):
    """Maximum, average or Lp norm over a sliding window; `padding` is (top, bottom, left, right).

    Padding never wins a maximum, and a window of padding only is refused. An average divides by the
    number of elements inside the image, or, with `count_include_pad`, inside the padded image.
    The norm is ``(sum |x|^order)^(1/order)``, to which padding adds nothing. `ceil_mode` as in ONNX.
    """

    reduction: PoolReduction
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    ceil_mode: bool = False
    count_include_pad: bool = False
    order: int = 2

    @property
    def kind(self) -> str:
        return f"{self.reduction}_pool"

    def infer(self, inputs: Types) -> TensorType:
        require_rank(inputs, 4, self.kind)
        for axis, name in ((0, "height"), (1, "width")):
            reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
            if max(self.padding[2 * axis], self.padding[2 * axis + 1]) >= reach:
                raise ShapeError(
                    f"{name} padding {max(self.padding[2 * axis : 2 * axis + 2])} reaches the window size {reach}: "
                    "a window would see padding only",
                    remedy=f"use padding of at most {reach - 1}",
                )
        height, width = window_output(inputs[0], self.field(inputs), self.ceil_mode)
        for axis, (name, positions) in enumerate((("height", height), ("width", width))):
            self._verify_windows(axis, name, inputs[0].shape[1 + axis], positions)
        return TensorType((inputs[0].shape[0], height, width, inputs[0].shape[3]))

    def field(self, inputs: Types) -> Window:
        return Window(self.kernel, self.stride, self.dilation, self.padding)

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        return Cost(other=output.elements * self.kernel[0] * self.kernel[1])

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        output = self.infer([TensorType(inputs[0].shape)])
        if self.reduction == "max":
            return np.asarray(self._windows(inputs[0], -np.inf, output).max(axis=(-2, -1)))
        if self.reduction == "lp":
            return lp_norm(self._windows(inputs[0], 0.0, output), self.order, (-2, -1))
        total = self._windows(inputs[0], 0.0, output).sum(axis=(-2, -1))
        return np.asarray(total / self.window_counts(output, inputs[0].shape))

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        value = self.evaluate(inputs, weights)
        if self.reduction == "max":
            return Bound.exact(value)
        if self.reduction == "lp":
            return lp_bound(value, self.order, self.kernel[0] * self.kernel[1])
        return Bound.of_sum(value, self.evaluate([np.abs(inputs[0])], weights), self.kernel[0] * self.kernel[1] + 2)

    def _verify_windows(self, axis: int, name: str, size: int, positions: int) -> None:
        """Raise `ShapeError` where a window sees only padding, since its elements step over the image.

        A window that begins in the image sees it; one that begins ``-start`` before it meets the image
        at ``start mod dilation`` first, if at all.
        """
        stride, dilation, begin = self.stride[axis], self.dilation[axis], self.padding[2 * axis]
        before = min(positions, -(-begin // stride), dilation)  # after so many steps the remainders repeat
        for index in range(before if dilation > size else 0):
            if (index * stride - begin) % dilation >= size:
                raise ShapeError(
                    f"window {index} along the {name} sees padding only: its elements, {dilation} apart, step over the "
                    f"{size} of the input",
                    remedy=f"use a dilation of at most {size}, or less padding",
                )

    def _windows(self, x: Array, fill: float, output: TensorType) -> Array:
        """View of shape (n, oh, ow, c, kh, kw): every window, what lies outside the image is `fill`."""
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        _, oh, ow, _ = output.shape
        top, _, left, _ = self.padding
        bottom = max((oh - 1) * sh + dh * (kh - 1) + 1 - x.shape[1] - top, 0)
        right = max((ow - 1) * sw + dw * (kw - 1) + 1 - x.shape[2] - left, 0)
        padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
        reach = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
        return windows[:, : (oh - 1) * sh + 1 : sh, : (ow - 1) * sw + 1 : sw, :, ::dh, ::dw]

    def window_counts(self, output: TensorType, shape: tuple[int, ...]) -> Array:
        """Divisor of the average for each output pixel, of shape (1, oh, ow, 1)."""
        counts = []
        for axis in (0, 1):
            begin, end = self.padding[2 * axis], self.padding[2 * axis + 1]
            low, high = (
                (0, begin + shape[1 + axis] + end) if self.count_include_pad else (begin, begin + shape[1 + axis])
            )
            starts = np.arange(output.shape[1 + axis]) * self.stride[axis]
            taps = starts[:, None] + self.dilation[axis] * np.arange(self.kernel[axis])
            counts.append(((taps >= low) & (taps < high)).sum(axis=1))
        return np.asarray(counts[0][:, None] * counts[1][None, :], np.float64)[None, :, :, None]


@dataclass(frozen=True)
class GlobalPool2D(Op):
    """Maximum, average or Lp norm over height and width; the output is (batch, 1, 1, channels)."""

    reduction: PoolReduction
    order: int = 2

    @property
    def kind(self) -> str:
        return f"global_{self.reduction}_pool"

    def infer(self, inputs: Types) -> TensorType:
        require_rank(inputs, 4, self.kind)
        return TensorType((inputs[0].shape[0], 1, 1, inputs[0].shape[3]))

    def field(self, inputs: Types) -> Field:
        return Everything()

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        return Cost(other=inputs[0].elements)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        if self.reduction == "lp":
            return lp_norm(inputs[0], self.order, (1, 2), keepdims=True)
        reduce = np.max if self.reduction == "max" else np.mean
        return np.asarray(reduce(inputs[0], axis=(1, 2), keepdims=True))

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        value = self.evaluate(inputs, weights)
        if self.reduction == "max":
            return Bound.exact(value)
        pixels = inputs[0].shape[1] * inputs[0].shape[2]
        if self.reduction == "lp":
            return lp_bound(value, self.order, pixels)
        return Bound.of_sum(value, self.evaluate([np.abs(inputs[0])], weights), pixels + 2)
