"""Layers that work along any axes of tensors of any rank.

Axes are those of the tensors inside: an image is (batch, height, width, channels) whatever the layout of the spec.
"""

from __future__ import annotations

from itertools import accumulate
from typing import ClassVar, Literal

from pydantic import Field, create_model

from cnngen import ops
from cnngen.errors import ShapeError
from cnngen.frontends.axes import AXIS_HELP, Axes, Axis, AxisList, axis_number, axis_numbers
from cnngen.frontends.fields import Count, Ends, Shape, Steps
from cnngen.frontends.layer import Layer, Options
from cnngen.ir import TensorType
from cnngen.ops.base import Types


class Transpose(Layer, kind="transpose"):
    """The axes in another order: axis i of the output is axis `axes[i]` of the input. Becomes `ops.Transpose`."""

    axes: AxisList = Field(description=f"All axes in their new order, each one of {AXIS_HELP}")

    def lower(self, inputs: Types, options: Options) -> ops.Transpose:
        axes = axis_numbers(self.axes, inputs[0], self.kind)
        return ops.Transpose(axes)


class Slice(Layer, kind="slice"):
    """The part of the input between `starts` and `ends` along the `axes`. Becomes `ops.Slice`.

    As in Python and ONNX: the end is not included, negative numbers count from the last element, and what lies beyond
    the tensor is cut off. A negative step goes backwards.
    """

    axes: Axes = Field(description=f"What is cut: {AXIS_HELP}; one or several")
    starts: Ends = Field(description="First element along each of the axes; null for the one where it begins")
    ends: Ends = Field(description="Element behind the last one along each of the axes; null for all that is left")
    steps: Steps | None = Field(None, description="Distance of the elements along each of the axes, by default 1")

    def lower(self, inputs: Types, options: Options) -> ops.Slice:
        axes = axis_numbers(self.axes, inputs[0], self.kind)
        steps = self.steps or (1,) * len(axes)
        if not len(axes) == len(self.starts) == len(self.ends) == len(steps):
            raise ShapeError(
                f"{len(axes)} axes, {len(self.starts)} starts, {len(self.ends)} ends and {len(steps)} steps",
                remedy="give one of each for every axis",
            )
        cuts = [
            ops.Slice.of(inputs[0], axis, start, end, step)
            for axis, start, end, step in zip(axes, self.starts, self.ends, steps, strict=True)
        ]
        return ops.Slice(tuple(cuts))


class Split(Layer, kind="split"):
    """The input in parts along an axis, which other layers read as `<name>.0`, `<name>.1` and so on.

    A layer behind it that names no `inputs` reads the first part. Becomes `ops.Slice`, one for each part.
    """

    axis: Axis = Field(-1, description=f"Axis that is cut: {AXIS_HELP}; by default the last")
    sizes: Shape | None = Field(None, description="Elements of each part, which make up the axis")
    parts: Count | None = Field(None, description="Or the number of parts: equal ones, the last one smaller if need be")

    def lower(self, inputs: Types, options: Options) -> list[ops.Op]:
        (tensor,) = inputs
        axis = axis_number(self.axis, tensor, self.kind)
        size = tensor.shape[axis]
        if (self.sizes is None) == (self.parts is None):
            raise ShapeError("split needs sizes or parts, one of the two", remedy="write parts: 2 for two halves")
        sizes = self.sizes or equal_parts(size, self.parts or 1)
        if sum(sizes) != size:
            raise ShapeError(
                f"the parts have {' + '.join(map(str, sizes))} = {sum(sizes)} elements, axis {axis} has {size}",
                remedy="choose sizes of that sum",
            )
        starts = accumulate(sizes[:-1], initial=0)
        return [ops.Slice((ops.Cut(axis, start, 1, count),)) for start, count in zip(starts, sizes, strict=True)]


def equal_parts(size: int, parts: int) -> tuple[int, ...]:
    """The sizes of so many parts of an axis, as ONNX and PyTorch cut it. Raises `ShapeError` if one is empty."""
    whole = -(-size // parts)
    sizes = tuple(min(whole, size - first) for first in range(0, size, whole))
    if len(sizes) != parts:
        raise ShapeError(f"{size} elements make {len(sizes)} parts of {whole}, not {parts}", remedy="write the sizes")
    return sizes


class Expand(Layer, kind="expand"):
    """The input repeated along axes where it has one element, as arithmetic does by itself. Becomes `ops.Expand`.

    `shape` is aligned at the last axis; 1 stands for the size that the input has.
    """

    shape: Shape = Field(description="Sizes of the output from the last axis on; 1 for that of the input")

    def lower(self, inputs: Types, options: Options) -> ops.Expand:
        return ops.Expand(self.shape)


class Squeeze(Layer, kind="squeeze"):
    """Leaves out axes of size 1: the `axes`, or all but the batch. Becomes `ops.Reshape`."""

    axes: Axes | None = Field(
        None, description=f"What is left out: {AXIS_HELP}; by default all of size 1 but the batch"
    )

    def lower(self, inputs: Types, options: Options) -> ops.Reshape:
        (tensor,) = inputs
        if self.axes is None:
            axes: tuple[int, ...] = tuple(axis for axis, size in enumerate(tensor.shape) if axis and size == 1)
        else:
            axes = axis_numbers(self.axes, tensor, self.kind)
        wide = [axis for axis in axes if tensor.shape[axis] != 1]
        if wide:
            raise ShapeError(
                f"axis {wide[0]} of {tensor} has {tensor.shape[wide[0]]} elements, only one of 1 can be left out",
                remedy="use reshape to join axes, or slice to take one element",
            )
        return ops.Reshape.to(tuple(size for axis, size in enumerate(tensor.shape) if axis not in axes), tensor)


class Unsqueeze(Layer, kind="unsqueeze"):
    """Puts axes of size 1 in, so that they are the `axes` of the output. Becomes `ops.Reshape`."""

    axes: Axes = Field(description="Numbers of the new axes in the output, the batch 0; negative from the last")

    def lower(self, inputs: Types, options: Options) -> ops.Reshape:
        (tensor,) = inputs
        rank = len(tensor.shape) + len(self.axes)
        axes = axis_numbers(self.axes, TensorType((1,) * rank), self.kind)
        sizes = iter(tensor.shape)
        return ops.Reshape.to(tuple(1 if axis in axes else next(sizes) for axis in range(rank)), tensor)


class Constant(Layer, kind="constant"):
    """A tensor that is part of the network, for other layers to read by its name. Becomes `ops.Constant`.

    It has no batch: what reads it aligns it from the last axis, as NumPy does. Weights: `value`.
    """

    arity = 0
    shape: Shape = Field(description="Its sizes, as it lies in the weights file; [] for a single number")

    def lower(self, inputs: Types, options: Options) -> ops.Constant:
        return ops.Constant(self.shape)


class Reduction(Layer):
    """Base of the layers that make one number of all elements along some axes."""

    function: ClassVar[ops.Reduction]
    axes: Axes | None = Field(None, description=f"What is reduced: {AXIS_HELP}; by default all but the batch")
    keep_dims: bool = Field(False, description="Whether the axes stay, with size 1")

    def lower(self, inputs: Types, options: Options) -> ops.Reduce:
        (tensor,) = inputs
        axes = tuple(range(1, len(tensor.shape)))
        if self.axes is not None:
            axes = tuple(sorted(axis_numbers(self.axes, tensor, self.kind)))
        return ops.Reduce(self.function, axes, self.keep_dims)


_MEANINGS: dict[ops.Reduction, str] = {
    "mean": "The mean of all elements along the axes.",
    "sum": "The sum of all elements along the axes.",
    "max": "The largest element along the axes, NaN where one is NaN.",
    "min": "The smallest element along the axes, NaN where one is NaN.",
    "prod": "The product of all elements along the axes.",
    "l1": "The sum of the magnitudes of all elements along the axes.",
    "l2": "The root of the sum of the squares of all elements along the axes.",
    "sum_square": "The sum of the squares of all elements along the axes.",
    "log_sum": "The logarithm of the sum of all elements along the axes.",
    "log_sum_exp": "The logarithm of the sum of the exponentials along the axes, without overflow on the way.",
}
for _function, _meaning in _MEANINGS.items():
    _layer = create_model(
        "Reduce" + _function.title().replace("_", ""),
        __base__=Reduction,
        __module__=__name__,
        __doc__=f"{_meaning} Becomes `ops.Reduce`.",
        __cls_kwargs__={"kind": f"reduce_{_function}"},
    )
    _layer.function = _function


class ArgReduction(Layer):
    """Base of the layers that say where along an axis an element is."""

    function: ClassVar[Literal["max", "min"]]
    axis: Axis = Field(-1, description=f"Axis that is searched: {AXIS_HELP}; by default the last")
    keep_dims: bool = Field(False, description="Whether the axis stays, with size 1")
    select_last: bool = Field(False, description="The last of several equal elements, not the first")

    def lower(self, inputs: Types, options: Options) -> ops.ArgReduce:
        axis = axis_number(self.axis, inputs[0], self.kind)
        return ops.ArgReduce(self.function, axis, self.keep_dims, self.select_last)


class ArgMax(ArgReduction, kind="arg_max"):
    """Where along the axis the largest element is, as a whole number in float32. Becomes `ops.ArgReduce`."""

    function = "max"


class ArgMin(ArgReduction, kind="arg_min"):
    """Where along the axis the smallest element is, as a whole number in float32. Becomes `ops.ArgReduce`."""

    function = "min"


class MatMul(Layer, kind="matmul"):
    """The product of two `inputs` as matrices of their last two axes, the others broadcast. Becomes `ops.MatMul`.

    A tensor of one axis is a row on the left, a column on the right.
    """

    arity = None

    def lower(self, inputs: Types, options: Options) -> ops.MatMul:
        return ops.MatMul()
