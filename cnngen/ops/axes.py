"""Ops that cut tensors of any rank along their axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops.base import POINTWISE, Everything, Field, Types, Weights, Window
from cnngen.ops.shape import Movement


def normal_axis(axis: int, tensor: TensorType, what: str) -> int:
    """`axis` counted from the first one; negative ones count from the last. Raises `ShapeError` where there is none."""
    rank = len(tensor.shape)
    if not -rank <= axis < rank:
        raise ShapeError(
            f"{what} has axis {axis}, the tensor {tensor or 'without axes'} has {rank} axes",
            remedy=f"axes are 0, the batch, to {rank - 1}, or negative from the last" if rank else None,
        )
    return axis % rank


@dataclass(frozen=True)
class Cut:
    """`count` elements along `axis`, from `start` on, `step` apart; a negative step goes backwards."""

    axis: int
    start: int
    step: int
    count: int


@dataclass(frozen=True)
class Slice(Movement):
    """Part of a tensor: `cuts` along some of its axes, the others whole. Axes and starts count from the front."""

    cuts: tuple[Cut, ...]

    @staticmethod
    def of(tensor: TensorType, axis: int, start: int | None, stop: int | None, step: int = 1) -> Cut:
        """What ``start:stop:step`` means along `axis`, clamped as in Python and ONNX. Raises `ShapeError` if empty."""
        axis = normal_axis(axis, tensor, "slice")
        if step == 0:
            raise ShapeError(f"the step along axis {axis} is 0", remedy="use 1, or -1 to go backwards")
        size = tensor.shape[axis]
        indices = range(size)[start:stop:step]
        if not indices:
            raise ShapeError(
                f"nothing of axis {axis}, which has {size} elements, is from {start} to {stop} in steps of {step}",
                remedy="choose start and end so that one element at least is left",
            )
        return Cut(axis, indices.start, step, len(indices))

    def infer(self, inputs: Types) -> TensorType:
        shape = list(inputs[0].shape)
        if len({cut.axis for cut in self.cuts}) < len(self.cuts):
            raise ShapeError("slice has an axis twice", remedy="cut each axis once")
        for cut in self.cuts:
            if not 0 <= cut.axis < len(shape):
                raise ShapeError(f"slice has axis {cut.axis}, {inputs[0]} has {len(shape)} axes")
            last = cut.start + cut.step * (cut.count - 1)
            if cut.count < 1 or min(cut.start, last) < 0 or max(cut.start, last) >= shape[cut.axis]:
                raise ShapeError(
                    f"slice takes elements {cut.start} to {last} of axis {cut.axis}, which has {shape[cut.axis]}",
                    remedy="stay within the tensor",
                )
            shape[cut.axis] = cut.count
        return TensorType(tuple(shape))

    def keeps_batch(self, inputs: Types, constant: Sequence[bool]) -> bool:
        return all(cut.axis for cut in self.cuts)

    def channels(self, tensor: TensorType) -> tuple[int, int] | None:
        """First and number of the channels, where it takes neighbouring channels of an image or vector and no less."""
        if len(self.cuts) != 1 or len(tensor.shape) not in (2, 4):
            return None
        (cut,) = self.cuts
        beside = cut.axis == len(tensor.shape) - 1 and (cut.step == 1 or cut.count == 1)
        return (cut.start, cut.count) if beside else None

    def field(self, inputs: Types) -> Field:
        if len(inputs[0].shape) != 4:
            return Everything() if any(cut.axis for cut in self.cuts) else POINTWISE
        along = {cut.axis: cut for cut in self.cuts}
        rows, columns = along.get(1, Cut(1, 0, 1, 1)), along.get(2, Cut(2, 0, 1, 1))
        if rows.step < 0 or columns.step < 0:
            return Everything()
        return Window(stride=(rows.step, columns.step), padding=(-rows.start, 0, -columns.start, 0))

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        x = inputs[0]
        for cut in self.cuts:
            x = np.take(x, cut.start + cut.step * np.arange(cut.count), axis=cut.axis)
        return x


@dataclass(frozen=True)
class Expand(Movement):
    """The input repeated along axes where it has one element, so that it has `shape`, aligned at the last axis.

    As in NumPy and ONNX a size of 1 in `shape` stands for whatever the input has.
    """

    shape: tuple[int, ...]

    def infer(self, inputs: Types) -> TensorType:
        try:
            return TensorType(np.broadcast_shapes(inputs[0].shape, self.shape))
        except ValueError:
            raise ShapeError(
                f"{inputs[0]} cannot be repeated to {TensorType(self.shape)}",
                remedy="along each axis the sizes are equal, or one of them is 1",
            ) from None

    def keeps_batch(self, inputs: Types, constant: Sequence[bool]) -> bool:
        rank = len(inputs[0].shape)
        return rank > 0 and (len(self.shape) < rank or (len(self.shape) == rank and self.shape[0] == 1))

    def field(self, inputs: Types) -> Field:
        own, output = inputs[0].shape, self.infer(inputs).shape
        if len(own) == len(output) == 4:
            return Window(repeat=(output[1] // own[1], output[2] // own[2]))
        return POINTWISE if own[1:] == output[1:] else Everything()

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        return np.array(np.broadcast_to(inputs[0], np.broadcast_shapes(inputs[0].shape, self.shape)))
