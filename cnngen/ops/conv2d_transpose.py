"""Transposed two-dimensional convolution: the adjoint of a convolution, used to enlarge images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops.activation import Activation, activated
from cnngen.ops.base import Bound, Cost, Op, Types, Weights, Window, parameters, require_rank
from cnngen.ops.conv2d import MAX_EXTENT, grouped_product

MAX_PHASES = 4096
"""A kernel is called for each."""


@dataclass(frozen=True)
class Phase:
    """The outputs ``first + q stride`` of a transposed convolution along one axis, for q below `count`.

    They are a plain convolution of stride 1: output q reads input ``q - begin + m dilation`` with tap
    ``taps[m]`` of the kernel. Where there are no taps, nothing arrives.
    """

    first: int
    count: int
    taps: range
    dilation: int
    begin: int


@dataclass(frozen=True)
class Conv2DTranspose(Op):
    """``y[i s + a d - top, j s + b d - left, o] += weight[a,b,c,o] x[i,j,c]``, plus bias, then the epilogue.

    What lands outside the output is dropped: `padding` (top, bottom, left, right) crops the result, and
    `output_padding` adds rows and columns at its end. Output size: ``(n - 1) s - begin - end + d (k - 1)
    + output_padding + 1``, as ONNX ConvTranspose and PyTorch ConvTranspose2d. With `groups`, output
    channel o reads only input channels of its own group. Weights: `weight` (kh, kw, in/groups, filters)
    and, with `use_bias`, `bias` (filters). Epilogue: with `residual`, a second input of the output's shape
    is added; then `activation` is applied.
    """

    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    output_padding: tuple[int, int] = (0, 0)
    use_bias: bool = True
    activation: Activation | None = None
    residual: bool = False

    @property
    def kind(self) -> str:
        return "conv2d_transpose"

    def depthwise(self, inputs: Types) -> bool:
        """Whether every group has a single input channel (and there are several groups)."""
        return self.groups > 1 and self.groups == inputs[0].shape[3]

    def weight_shapes(self, inputs: Types) -> dict[str, tuple[int, ...]]:
        require_rank(inputs, 4, self.kind)
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
        sizes = []
        for axis, name in ((0, "height"), (1, "width")):
            most = max(self.stride[axis], self.dilation[axis])
            if self.output_padding[axis] >= most:
                raise ShapeError(
                    f"output_padding {self.output_padding[axis]} of the {name} is not below stride and dilation",
                    remedy=f"use at most {most - 1}, or a larger stride",
                )
            crop = self.padding[2 * axis] + self.padding[2 * axis + 1]
            size = self._uncropped(inputs[0].shape[1 + axis], axis) - crop
            if size < 1:
                raise ShapeError(
                    f"padding {crop} crops the whole output {name} of {size + crop}",
                    remedy=f"use padding of at most {size + crop - 1} on both sides together",
                )
            sizes.append(size)
        self._verify_extent(inputs[0])
        output = TensorType((inputs[0].shape[0], *sizes, self.filters))
        if self.residual and inputs[1] != output:
            raise ShapeError(f"the residual {inputs[1]} does not have the output's shape {output}")
        return output

    def field(self, inputs: Types) -> Window:
        # A convolution of stride 1, its kernel turned round, over the input with zeros put between its elements.
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        top, bottom, left, right = self.padding
        reach = (dh * (kh - 1), dw * (kw - 1))
        padding = (reach[0] - top, reach[0] - bottom, reach[1] - left, reach[1] - right)
        return Window(self.kernel, (1, 1), self.dilation, padding, repeat=self.stride, zeros_between=True)

    def phases(self, axis: int, size: int) -> tuple[Phase, ...]:
        """The phases of an output of `size` elements along `axis` (0: height); each element is in one of them."""
        stride, dilation, begin = self.stride[axis], self.dilation[axis], self.padding[2 * axis]
        step = stride // math.gcd(stride, dilation)
        phases = []
        for first in range(min(stride, size)):
            count = -(-(size - first) // stride)
            position = first + begin  # where the outputs of the phase lie before cropping, modulo the stride
            tap = next(
                (a for a in range(min(step, self.kernel[axis])) if (position - a * dilation) % stride == 0), None
            )
            if tap is None:
                phases.append(Phase(first, count, range(0), 1, 0))
                continue
            taps = range(tap, self.kernel[axis], step)
            reads = (position - taps[-1] * dilation) // stride
            phases.append(Phase(first, count, taps[::-1], step * dilation // stride, -reads))
        return tuple(phases)

    def taps(self, inputs: Types) -> int:
        """Most products that are summed for one element of the output."""
        output = self.infer(inputs)
        most = [max(len(phase.taps) for phase in self.phases(axis, output.shape[1 + axis])) for axis in (0, 1)]
        return most[0] * most[1] * (inputs[0].shape[3] // self.groups)

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        shapes = self.weight_shapes(inputs)
        kh, kw, _, filters = shapes["weight"]
        other = output.elements * (self.use_bias + self.residual)
        other += output.elements * self.activation.rule.operations if self.activation else 0
        macs = inputs[0].elements * kh * kw * (filters // self.groups)
        return Cost(macs=macs, other=other, params=parameters(shapes))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        y = self._linear(inputs, weights)
        return self.activation.evaluate(y) if self.activation else y

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        absolute = {role: np.abs(array) for role, array in weights.items()}
        linear = Bound.of_sum(
            self._linear(inputs, weights),
            self._linear([np.abs(x) for x in inputs], absolute),
            self.taps([TensorType(x.shape) for x in inputs]) + self.use_bias + self.residual,
        )
        return activated(linear, self.activation)

    def _verify_extent(self, x: TensorType) -> None:
        """Raise `ShapeError` where 32 bits do not hold the positions of output or padded input, or phases are many."""
        batch, height, width, channels = x.shape
        outputs = [self._uncropped(height, 0), self._uncropped(width, 1)]
        inputs = [
            size + 2 * (extent // stride + 1)
            for size, extent, stride in zip((height, width), outputs, self.stride, strict=True)
        ]
        if max(*outputs, *inputs) > MAX_EXTENT:
            problem = f"the output, before cropping, has {max(outputs):,} rows or columns, more than {MAX_EXTENT:,}"
            raise ShapeError(problem, remedy="use a smaller stride or less dilation")
        elements = batch * max(math.prod(outputs) * self.filters, math.prod(inputs) * channels)
        if elements > 2**31 - 1:
            problem = f"the output before cropping, or the padded input, has {elements:,} elements, more than 2^31 - 1"
            raise ShapeError(problem, remedy="use a smaller stride, less dilation or fewer filters")
        phases = min(self.stride[0], outputs[0]) * min(self.stride[1], outputs[1])
        if phases > MAX_PHASES:
            problem = f"the stride {self.stride[0]}x{self.stride[1]} makes {phases:,} phases, more than {MAX_PHASES:,}"
            raise ShapeError(problem, remedy="use a smaller stride, or an upsample layer")

    def _uncropped(self, size: int, axis: int) -> int:
        """Size of the output before `padding` is cut off."""
        reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return (size - 1) * self.stride[axis] + reach + self.output_padding[axis]

    def _linear(self, inputs: Sequence[Array], weights: Weights) -> Array:
        y = scatter(inputs[0], weights["weight"], self)
        if self.use_bias:
            y = y + weights["bias"]
        return y + inputs[1] if self.residual else y


def scatter(x: Array, weight: Array, op: Conv2DTranspose) -> Array:
    """The sum in `Conv2DTranspose`'s docstring: for each tap a matrix product, added where it lands."""
    (kh, kw), (sh, sw), (dh, dw) = op.kernel, op.stride, op.dilation
    batch, height, width, channels = x.shape
    full = np.zeros(
        (batch, op._uncropped(height, 0), op._uncropped(width, 1), op.groups, op.filters // op.groups), x.dtype
    )
    pixels = x.reshape(batch, height, width, op.groups, channels // op.groups)
    for a in range(kh):
        for b in range(kw):
            kernel = weight[a, b].reshape(channels // op.groups, op.groups, op.filters // op.groups)
            rows = slice(a * dh, a * dh + sh * (height - 1) + 1, sh)
            columns = slice(b * dw, b * dw + sw * (width - 1) + 1, sw)
            full[:, rows, columns] += grouped_product(pixels, kernel)
    top, bottom, left, right = op.padding
    kept = full[:, top : full.shape[1] - bottom, left : full.shape[2] - right]
    return kept.reshape(*kept.shape[:3], op.filters)


def same_cropping(kernel: int, stride: int, dilation: int, lower: bool = False) -> tuple[int, int, int]:
    """Begin and end padding and output_padding for an output of ``size * stride``, whatever the size is.

    As Keras and ONNX's SAME_UPPER: an odd element is cropped at the end, with `lower` at the
    beginning. A kernel below the stride reaches too little: the output is then filled up at its end.
    """
    total = dilation * (kernel - 1) + 1 - stride
    if total < 0:
        return 0, 0, -total
    small, large = total // 2, total - total // 2
    return (large, small, 0) if lower else (small, large, 0)
