"""Upsampling by interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnngen.ir import Array, TensorType
from cnngen.ops.base import Bound, Cost, Op, Types, Weights, Window, require_rank

ROUNDINGS = 6
"""Of each term: two coefficients, and a product and a sum along either axis."""


@dataclass(frozen=True)
class UpsampleBilinear(Op):
    """`scale` (height, width) times as many pixels, each interpolated between four of the input.

    Output i lies at ``(i + 1/2) / scale - 1/2`` of the input; beyond the border the border counts. That
    is ONNX's Resize (linear, half_pixel), PyTorch's bilinear with align_corners=False, and Keras'.
    """

    scale: tuple[int, int]

    @property
    def kind(self) -> str:
        return "upsample_bilinear"

    def infer(self, inputs: Types) -> TensorType:
        require_rank(inputs, 4, "upsample")
        batch, height, width, channels = inputs[0].shape
        return TensorType((batch, height * self.scale[0], width * self.scale[1], channels))

    def field(self, inputs: Types) -> Window:
        # Element i reads floor and ceil of (2 i + 1 - scale) / (2 scale), which are one where that is whole.
        (sh, sw) = self.scale
        return Window((2, 2), (2, 2), (2 * sh - 1, 2 * sw - 1), (sh - 1, 0, sw - 1, 0), (2 * sh, 2 * sw))

    def positions(self, axis: int) -> tuple[tuple[int, float], ...]:
        """For each output of an input pixel: the lower neighbour (0: itself, -1) and the upper one's share."""
        scale = self.scale[axis]
        return tuple((p // (2 * scale), p % (2 * scale) / (2 * scale)) for p in range(1 - scale, scale, 2))

    def cost(self, inputs: Types, output: TensorType) -> Cost:
        return Cost(other=6 * output.elements)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        x = inputs[0]
        for axis in (0, 1):
            x = self._along(x, axis)
        return x

    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        magnitude = self.evaluate([np.abs(inputs[0])], weights)
        return Bound.of_sum(self.evaluate(inputs, weights), magnitude, ROUNDINGS)

    def _along(self, x: Array, axis: int) -> Array:
        size, scale = x.shape[1 + axis], self.scale[axis]
        pixels = np.repeat(np.arange(size), scale)
        lower, share = (np.tile(np.array(column), size) for column in zip(*self.positions(axis), strict=True))
        low = pixels + lower
        high = low + (share > 0)
        share = share.reshape((-1, 1, 1) if axis == 0 else (-1, 1))
        below, above = (np.take(x, np.clip(at, 0, size - 1), axis=1 + axis) for at in (low, high))
        return np.asarray((1 - share) * below + share * above)
