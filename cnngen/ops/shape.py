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
        batch, *rest = inputs[0].shape
        return TensorType((batch, math.prod(rest)))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        x = inputs[0]
        if self.order == "chw" and x.ndim == 4:
            x = x.transpose(0, 3, 1, 2)
        return x.reshape(len(x), math.prod(x.shape[1:]))  # -1 has no meaning where the batch is empty


@dataclass(frozen=True)
class Reshape(Movement):
    """An image of `shape` (height, width, channels) of the elements of an image or vector.

    `order` numbers the elements on both sides, as for `Flatten`.
    """

    shape: tuple[int, int, int]
    order: Literal["hwc", "chw"] = "hwc"

    def infer(self, inputs: Types) -> TensorType:
        batch, *rest = inputs[0].shape
        if math.prod(rest) != math.prod(self.shape):
            raise ShapeError(
                f"the shape {'x'.join(map(str, self.shape))} has {math.prod(self.shape)} elements, "
                f"the input {'x'.join(map(str, rest))} has {math.prod(rest)}",
                remedy="write -1 for one of the sizes, or choose sizes of that product",
            )
        return TensorType((batch, *self.shape))

    def field(self, inputs: Types) -> Field:
        return Everything()

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        x, (height, width, channels) = inputs[0], self.shape
        if self.order == "hwc":
            return x.reshape(len(x), height, width, channels)
        if x.ndim == 4:
            x = x.transpose(0, 3, 1, 2)
        return x.reshape(len(x), channels, height, width).transpose(0, 2, 3, 1)


@dataclass(frozen=True)
class Transpose(Movement):
    """The axes in the order `axes`, the batch first; used where a network's own layout is channels-first."""

    axes: tuple[int, ...]

    def infer(self, inputs: Types) -> TensorType:
        if sorted(self.axes) != list(range(len(inputs[0].shape))):
            raise ShapeError(f"axes {list(self.axes)} are no order of the {len(inputs[0].shape)} axes of {inputs[0]}")
        if self.axes[0] != 0:
            raise ShapeError(f"axes {list(self.axes)} move the batch", remedy="keep axis 0 first")
        return TensorType(tuple(inputs[0].shape[axis] for axis in self.axes))

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
    """The inputs one behind the other along the channels (last axis)."""

    def infer(self, inputs: Types) -> TensorType:
        first = inputs[0].shape
        for tensor in inputs[1:]:
            if tensor.shape[:-1] != first[:-1]:
                raise ShapeError(
                    f"concat joins channels of tensors that agree in all else, not {' and '.join(map(str, inputs))}",
                    remedy=_remedy(first, tensor.shape),
                )
        return TensorType((*first[:-1], sum(tensor.shape[-1] for tensor in inputs)))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        return np.concatenate(list(inputs), axis=-1)
