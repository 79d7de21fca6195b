"""Ops that move elements and compute nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops.base import Bound, Cost, Everything, Field, Op, Types, Weights, Window, require_rank


class Movement(Op):
    """Base of the ops whose every output element is a copy of one input element."""

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        return Cost()

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        return Bound.exact(self.evaluate(inputs, weights))


@dataclass(frozen=True)
class Identity(Movement):
    """The input itself: dropout at inference."""

    def infer(self, inputs: Types) -> TensorType:
        return inputs[0]

    def keeps_batch(self, inputs: Types, constant: Sequence[bool]) -> bool:
        return bool(inputs[0].shape)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        return inputs[0]


@dataclass(frozen=True)
class Flatten(Movement):
    """All axes but the batch in one.

    `order` says how the elements of an image are numbered: `hwc` as they lie in memory, `chw` as a
    network in channels-first layout numbers them.
    """

    order: Literal["hwc", "chw"] = "hwc"

    def infer(self, inputs: Types) -> TensorType:
        if not inputs[0].shape:
            raise ShapeError("flatten keeps the batch, and a scalar has none", remedy="reshape it")
        batch, *rest = inputs[0].shape
        return TensorType((batch, math.prod(rest)))

    def keeps_batch(self, inputs: Types, constant: Sequence[bool]) -> bool:
        return True

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        x = inputs[0]
        if self.order == "chw" and x.ndim == 4:
            x = x.transpose(0, 3, 1, 2)
        return x.reshape(len(x), math.prod(x.shape[1:]))  # -1 has no meaning where the batch is empty


@dataclass(frozen=True)
class Reshape(Movement):
    """The same elements as a tensor of another shape.

    `shape` is that of one image, behind the batch; with `whole` it is that of the whole tensor. `order` numbers the
    elements of images (rank 4) on both sides, as for `Flatten`; other tensors are numbered as they lie.
    """

    shape: tuple[int, ...]
    order: Literal["hwc", "chw"] = "hwc"
    whole: bool = False

    @staticmethod
    def to(shape: tuple[int, ...], tensor: TensorType) -> Reshape:
        """The reshape of `tensor` to the whole shape `shape`, which keeps the batch where that is possible."""
        if shape and tensor.shape[:1] == shape[:1]:
            return Reshape(shape[1:])
        return Reshape(shape, whole=True)

    def infer(self, inputs: Types) -> TensorType:
        if self.whole and self.order == "chw":
            raise ShapeError("a reshape across images has no order of channels", remedy="transpose before and after it")
        kept, rest = self._split(inputs[0])
        if math.prod(rest) != math.prod(self.shape):
            raise ShapeError(
                f"the shape {_sizes(self.shape)} has {math.prod(self.shape)} elements, "
                f"the input {_sizes(rest)} has {math.prod(rest)}",
                remedy="write -1 for one of the sizes, or choose sizes of that product",
            )
        return TensorType((*kept, *self.shape))

    def keeps_batch(self, inputs: Types, constant: Sequence[bool]) -> bool:
        return not self.whole

    def field(self, inputs: Types) -> Field:
        return Everything()

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        x = inputs[0]
        if self.order == "hwc":
            return x.reshape(self.shape if self.whole else (len(x), *self.shape))
        if x.ndim == 4:
            x = x.transpose(0, 3, 1, 2)
        if len(self.shape) != 3:
            return x.reshape(len(x), *self.shape)
        height, width, channels = self.shape
        return x.reshape(len(x), channels, height, width).transpose(0, 2, 3, 1)

    def _split(self, tensor: TensorType) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The sizes that stay as they are, and those that change."""
        if self.whole:
            return (), tensor.shape
        if not tensor.shape:
            raise ShapeError(
                "a reshape of images keeps the batch, and a scalar has none", remedy="reshape it as a whole"
            )
        return tensor.shape[:1], tensor.shape[1:]


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "of a scalar"


@dataclass(frozen=True)
class Transpose(Movement):
    """The axes in the order `axes`: axis i of the output is axis ``axes[i]`` of the input."""

    axes: tuple[int, ...]

    def infer(self, inputs: Types) -> TensorType:
        if sorted(self.axes) != list(range(len(inputs[0].shape))):
            raise ShapeError(f"axes {list(self.axes)} are no order of the {len(inputs[0].shape)} axes of {inputs[0]}")
        return TensorType(tuple(inputs[0].shape[axis] for axis in self.axes))

    def keeps_batch(self, inputs: Types, constant: Sequence[bool]) -> bool:
        return self.axes[:1] == (0,)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        return inputs[0].transpose(self.axes)


@dataclass(frozen=True)
class Upsample(Movement):
    """Every pixel as a block of `scale` (height, width) equal ones: ``y[i, j] = x[i // sh, j // sw]``.

    Nearest-neighbour interpolation at whole factors, where all frameworks agree: ONNX's Resize (mode
    nearest, asymmetric coordinates, floor), PyTorch's Upsample, Keras' UpSampling2D.
    """

    scale: tuple[int, int]

    def infer(self, inputs: Types) -> TensorType:
        require_rank(inputs, 4, "upsample")
        batch, height, width, channels = inputs[0].shape
        return TensorType((batch, height * self.scale[0], width * self.scale[1], channels))

    def field(self, inputs: Types) -> Window:
        return Window(repeat=self.scale)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        return inputs[0].repeat(self.scale[0], axis=1).repeat(self.scale[1], axis=2)


def _remedy(first: tuple[int, ...], second: tuple[int, ...]) -> str:
    """What to do about tensors that cannot be joined along the channels."""
    if len(first) == len(second) and all(abs(a - b) <= 1 for a, b in zip(first[:-1], second[:-1], strict=True)):
        return (
            "upsampling does not give back the row that a stride left out: "
            "choose an input whose size can be divided as often as it is halved, or match the padding of the branches"
        )
    return "match stride and padding of the branches"


@dataclass(frozen=True)
class Concat(Movement):
    """The inputs one behind the other along `axis`: -1, the channels, or another one counted from the front."""

    axis: int = -1

    @staticmethod
    def along(axis: int, tensor: TensorType) -> Concat:
        """The concatenation along `axis` of tensors like this one; negative axes count from the last."""
        rank = len(tensor.shape)
        return Concat(-1 if axis in (-1, rank - 1) else axis % rank if -rank <= axis < rank else axis)

    def infer(self, inputs: Types) -> TensorType:
        first = inputs[0].shape
        axis = len(first) - 1 if self.axis == -1 else self.axis
        if not 0 <= axis < len(first):
            raise ShapeError(f"concat has axis {self.axis}, the tensor {inputs[0]} has {len(first)} axes")
        for tensor in inputs[1:]:
            if len(tensor.shape) != len(first) or any(
                a != b for i, (a, b) in enumerate(zip(tensor.shape, first, strict=True)) if i != axis
            ):
                along = "channels" if self.axis == -1 else f"axis {axis}"
                raise ShapeError(
                    f"concat joins {along} of tensors that agree in all else, not {' and '.join(map(str, inputs))}",
                    remedy=_remedy(first, tensor.shape),
                )
        return TensorType((*first[:axis], sum(tensor.shape[axis] for tensor in inputs), *first[axis + 1 :]))

    def keeps_batch(self, inputs: Types, constant: Sequence[bool]) -> bool:
        return not any(constant) and self.axis != 0 and len(inputs[0].shape) > 1

    def of_channels(self, tensor: TensorType) -> bool:
        """Whether it joins the channels of images or vectors such as `tensor`: its inputs can then be slices of it."""
        return self.axis == -1 and len(tensor.shape) in (2, 4)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        return np.concatenate(list(inputs), axis=self.axis)
