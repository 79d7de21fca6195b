"""Resizing of images by any factor, as ONNX Resize defines it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops.base import Bound, Cost, Op, Table, Types, Weights, require_rank
from cnngen.ops.interpolate import UpsampleBilinear
from cnngen.ops.resampling import AxisTable, Resampling, axis_table
from cnngen.ops.shape import Identity, Upsample

NEAREST = Resampling()
"""What ONNX Resize does where nothing else is said."""


@dataclass(frozen=True)
class Resize(Op):
    """An image of `size` (height, width), each pixel a weighted sum of some of the input's.

    The weights are a product of one for the row and one for the column (`table`). `scale` is what `how` computes with;
    it is near size over the input's size, and exactly that if it is None. `region` (top, left, bottom, right, as parts
    of the image) is what the coordinates `tf_crop_and_resize` show; what lies outside of the image there is
    `extrapolation_value`. As ONNX Resize over height and width.
    """

    size: tuple[int, int]
    how: Resampling = NEAREST
    scale: tuple[float, float] | None = None
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    extrapolation_value: float = 0.0

    def infer(self, inputs: Types) -> TensorType:
        require_rank(inputs, 4, self.kind)
        batch, height, width, channels = inputs[0].shape
        for axis, size in enumerate((height, width)):
            if self.scale is not None and abs(size * self.scale[axis] - self.size[axis]) >= 1:
                raise ShapeError(
                    f"a scale of {self.scale[axis]:g} makes {size * self.scale[axis]:g} pixels of {size}, "
                    f"not {self.size[axis]}",
                    remedy="leave the scale or the size away",
                )
            self.table(axis, size)
        return TensorType((batch, *self.size, channels))

    def table(self, axis: int, size: int) -> AxisTable:
        """What the outputs along `axis` (0: height) are made of, for an input of `size` there."""
        scale = self.size[axis] / size if self.scale is None else self.scale[axis]
        region = (self.region[axis], self.region[axis + 2])
        return axis_table(self.how, size, self.size[axis], scale, region)

    def tables(self, x: tuple[int, ...]) -> tuple[AxisTable, AxisTable]:
        """The tables of both axes for an input of this shape."""
        return self.table(0, x[1]), self.table(1, x[2])

    def field(self, inputs: Types) -> Table:
        rows, columns = self.tables(inputs[0].shape)
        return Table((rows.reads, columns.reads))

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        rows, columns = self.tables(inputs[0].shape)
        products = (0 if rows.copies else rows.taps) * columns.taps + (0 if columns.copies else columns.taps)
        return Cost(other=2 * products * output.elements)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        return self._resampled(inputs[0], magnitude=False)

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        value = self.evaluate(inputs, weights)
        # Of each term: its weight, the product, and the sums behind it, along either axis.
        roundings = sum(table.taps + 1 for table in self.tables(inputs[0].shape) if not table.copies)
        if not roundings:
            return Bound.exact(value)
        return Bound.of_sum(value, self._resampled(np.abs(inputs[0]), magnitude=True), roundings)

    def _resampled(self, x: Array, *, magnitude: bool) -> Array:
        """The sums; with `magnitude` those of the absolute weights."""
        tables = self.tables(x.shape)
        for axis, table in enumerate(tables):
            indices, factors = np.array(table.indices), np.array(table.weights)
            if magnitude:
                factors = np.abs(factors)
            column = (-1, 1, 1) if axis == 0 else (-1, 1)
            parts = [np.take(x, indices[:, tap], axis=1 + axis) for tap in range(table.taps)]
            if table.copies:
                (x,) = parts
                continue
            x = factors[:, 0].reshape(column) * parts[0]
            for tap in range(1, table.taps):
                x = x + factors[:, tap].reshape(column) * parts[tap]
        (top, bottom), (left, right) = (table.inside for table in tables)
        if any(table.extrapolates for table in tables):
            whole = np.full(x.shape, np.float32(self.extrapolation_value), x.dtype)
            whole[:, top:bottom, left:right] = x[:, top:bottom, left:right]
            x = whole
        return np.asarray(x)


def resized(op: Resize, x: TensorType) -> Resize | Upsample | UpsampleBilinear | Identity:
    """The simplest op that does what `op` does to an input of type `x`: whole factors have kernels of their own."""
    op.infer([x])
    tables = op.tables(x.shape)
    scale = (op.size[0] // x.shape[1], op.size[1] // x.shape[2])
    if any(table.extrapolates for table in tables):
        return op
    if all(table.copies for table in tables):
        if all(
            (index,) == (number,) for table in tables for number, (index,) in enumerate(table.indices)
        ) and scale == (1, 1):
            return Identity()
        if min(scale) >= 1 and all(
            index == number // factor
            for table, factor in zip(tables, scale, strict=True)
            for number, (index,) in enumerate(table.indices)
        ):
            return Upsample(scale)
        return op
    centred = op.how.coordinates in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")
    whole = op.size == (scale[0] * x.shape[1], scale[1] * x.shape[2]) and min(scale) >= 1
    exact = op.scale is None or op.scale == scale
    if op.how.mode == "linear" and centred and whole and exact and not op.how.exclude_outside:
        return UpsampleBilinear(scale)
    return op
