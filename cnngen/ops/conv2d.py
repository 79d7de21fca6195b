"""Two-dimensional convolution (cross-correlation, as in all deep-learning frameworks)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops.activation import Activation, activated
from cnngen.ops.base import Bound, Cost, Field, Op, Types, Weights, Window, parameters, require_rank


@dataclass(frozen=True)
class Conv2D(Op):
    """``y[i,j,o] = bias[o] + sum_{a,b,c} weight[a,b,c,o] x[i s + a d, j s + b d, c]``, then the epilogue.

    The input is zero-padded by `padding` (top, bottom, left, right). With `groups` g, output channel
    o reads only input channels of its own group. Weights: `weight` (kh, kw, in/groups, filters) and,
    with `use_bias`, `bias` (filters). Epilogue: with `residual`, a second input of the output's
    shape is added; then `activation` is applied. Then come the maxima of `pool` (height, width) windows that do not
    overlap: a plan for a CPU fuses them (`cnngen.backends.cpu.fuse_pools`), where windows are whole and nothing is
    dilated.
    """

    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    use_bias: bool = True
    activation: Activation | None = None
    residual: bool = False
    pool: tuple[int, int] = (1, 1)

    @property
    def unpooled(self) -> Conv2D:
        """The convolution without its pooling."""
        return self if self.pool == (1, 1) else replace(self, pool=(1, 1))

    def depthwise(self, inputs: Types) -> bool:
        """Whether every group has a single input channel (and there are several groups)."""
        return self.groups > 1 and self.groups == inputs[0].shape[3]

    def weight_shapes(self, inputs: Types) -> dict[str, tuple[int, ...]]:
        require_rank(inputs, 4, "conv2d")
        channels = inputs[0].shape[3]
        if channels % self.groups or self.filters % self.groups:
            raise ShapeError(
                f"groups {self.groups} does not divide {channels} input channels and {self.filters} filters",
                remedy="choose groups that divide both",
            )
        shapes: dict[str, tuple[int, ...]] = {"weight": (*self.kernel, channels // self.groups, self.filters)}
        if self.use_bias:
            shapes["bias"] = (self.filters,)
        return shapes

    def infer(self, inputs: Types) -> TensorType:
        self.weight_shapes(inputs)
        height, width = window_output(inputs[0], Window(self.kernel, self.stride, self.dilation, self.padding))
        output = TensorType((inputs[0].shape[0], height, width, self.filters))
        if self.residual and inputs[1] != output:
            raise ShapeError(f"the residual {inputs[1]} does not have the output's shape {output}")
        if self.pool == (1, 1):
            return output
        if height % self.pool[0] or width % self.pool[1] or self.dilation != (1, 1):
            raise ShapeError(f"windows of {self.pool[0]}x{self.pool[1]} do not divide {output}, or taps are dilated")
        return TensorType((inputs[0].shape[0], height // self.pool[0], width // self.pool[1], self.filters))

    def field(self, inputs: Types) -> Window:
        if self.pool == (1, 1):
            return Window(self.kernel, self.stride, self.dilation, self.padding)
        (kh, kw), (sh, sw), (ph, pw) = self.kernel, self.stride, self.pool
        return Window((kh + (ph - 1) * sh, kw + (pw - 1) * sw), (sh * ph, sw * pw), (1, 1), self.padding)

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        shapes = self.weight_shapes(inputs)
        taps = int(np.prod(shapes["weight"][:3]))
        elements = output.elements * self.pool[0] * self.pool[1]
        other = elements * (self.use_bias + self.residual + (self.pool != (1, 1)))
        other += elements * self.activation.rule.operations if self.activation else 0
        return Cost(macs=taps * elements, other=other, params=parameters(shapes))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        y = self.linear(inputs, weights)
        return self.pooled(self.activation.evaluate(y) if self.activation else y)

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        absolute = {role: np.abs(array) for role, array in weights.items()}
        taps = int(np.prod(weights["weight"].shape[:3]))
        linear = Bound.of_sum(
            self.linear(inputs, weights),
            self.linear([np.abs(x) for x in inputs], absolute),
            taps + self.use_bias + self.residual,
        )
        return self.pooled_bound(activated(linear, self.activation))

    def pooled(self, y: Array) -> Array:
        """The maxima of the windows of `pool`."""
        if self.pool == (1, 1):
            return y
        n, h, w, c = y.shape
        ph, pw = self.pool
        return np.asarray(y.reshape(n, h // ph, ph, w // pw, pw, c).max(axis=(2, 4)))

    def pooled_bound(self, bound: Bound) -> Bound:
        """The bound of the maxima: one is off by no more than that of its window which is off most."""
        return Bound(self.pooled(bound.value), self.pooled(bound.limit), self.pooled(bound.alarm), bound.largest)

    def linear(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """The result in front of the activation and the pooling."""
        y = convolve(inputs[0], weights["weight"], self)
        if self.use_bias:
            y = y + weights["bias"]
        return y + inputs[1] if self.residual else y


def convolve(x: Array, weight: Array, op: Conv2D) -> Array:
    """The sum in `Conv2D`'s docstring: one matrix product over the channels for each kernel tap."""
    top, bottom, left, right = op.padding
    (kh, kw), (sh, sw), (dh, dw) = op.kernel, op.stride, op.dilation
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    height = (padded.shape[1] - dh * (kh - 1) - 1) // sh + 1
    width = (padded.shape[2] - dw * (kw - 1) - 1) // sw + 1
    batch, channels = x.shape[0], x.shape[3]
    y = np.zeros((batch, height, width, op.groups, op.filters // op.groups), x.dtype)
    for a in range(kh):
        for b in range(kw):
            rows = slice(a * dh, a * dh + sh * (height - 1) + 1, sh)
            columns = slice(b * dw, b * dw + sw * (width - 1) + 1, sw)
            taps = padded[:, rows, columns].reshape(batch, height, width, op.groups, channels // op.groups)
            kernel = weight[a, b].reshape(channels // op.groups, op.groups, op.filters // op.groups)
            y += grouped_product(taps, kernel)
    return y.reshape(batch, height, width, op.filters)


def grouped_product(x: Array, w: Array) -> Array:
    """(n, h, w, group, in) times (in, group, out): a matrix product for each group."""
    if x.shape[3] == 1:
        return np.asarray(x[:, :, :, 0] @ w[:, 0])[:, :, :, None]
    if x.shape[4] == 1:
        return np.asarray(x * w[0])
    return np.asarray(np.einsum("nhwgi,igo->nhwgo", x, w, optimize=True))


MAX_EXTENT = 2**30
"""Of a padded input: kernels compute positions in it, up to twice as far, in 32 bits."""


def window_output(tensor: TensorType, window: Window, ceil_mode: bool = False) -> tuple[int, int]:
    """Output height and width of a sliding window: ``floor((w + p - d (k - 1) - 1) / s) + 1``.

    With `ceil_mode` the division rounds up, and a window that would start in the end padding is
    dropped, as in ONNX. Raises `ShapeError` where the window does not fit.
    """
    sizes = []
    for axis, name in ((0, "height"), (1, "width")):
        begin, end = window.padding[2 * axis], window.padding[2 * axis + 1]
        size, stride = tensor.shape[1 + axis], window.stride[axis]
        reach = window.dilation[axis] * (window.kernel[axis] - 1) + 1
        room = size + begin + end - reach
        if room < 0:
            raise ShapeError(
                f"kernel {window.kernel[axis]} (reach {reach}) exceeds the padded input {name} {size + begin + end}",
                remedy=f"use a smaller kernel or at least {-room} more padding",
            )
        count = (-(-room // stride) if ceil_mode else room // stride) + 1
        if ceil_mode and (count - 1) * stride >= size + begin:
            count -= 1
        sizes.append(count)
        if size + begin + end > MAX_EXTENT:
            problem = f"the padded input {name} {size + begin + end:,} exceeds {MAX_EXTENT:,}"
            raise ShapeError(problem, remedy="use less padding")
    top, bottom, left, right = window.padding
    batch, height, width, channels = tensor.shape
    elements = batch * (height + top + bottom) * (width + left + right) * channels
    if elements > 2**31 - 1:
        raise ShapeError(f"the padded input has {elements:,} elements, more than 2^31 - 1", remedy="use less padding")
    return sizes[0], sizes[1]


def same_padding(size: int, kernel: int, stride: int, dilation: int, lower: bool = False) -> tuple[int, int]:
    """Begin and end padding for an output of ``ceil(size / stride)``; the odd one goes to the end.

    With `lower` the odd one goes to the beginning (ONNX SAME_LOWER).
    """
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


__all__ = ["Conv2D", "Field", "convolve", "same_padding", "window_output"]
