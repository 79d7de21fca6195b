"""Padding as a layer of its own: a constant, the mirrored image, or its repeated border."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops.base import Types, Weights, Window, require_rank
from cnngen.ops.conv2d import MAX_EXTENT
from cnngen.ops.shape import Movement

PadMode = Literal["constant", "reflect", "edge"]


@dataclass(frozen=True)
class Pad(Movement):
    """`padding` (top, bottom, left, right) rows and columns more.

    They hold `value` (mode `constant`), the image mirrored at its border rows, which do not occur twice
    (`reflect`), or the border rows (`edge`); as `numpy.pad` and ONNX Pad.
    """

    padding: tuple[int, int, int, int]
    mode: PadMode = "constant"
    value: float = 0.0

    def infer(self, inputs: Types) -> TensorType:
        require_rank(inputs, 4, "pad")
        batch, height, width, channels = inputs[0].shape
        top, bottom, left, right = self.padding
        for name, size, most in (("height", height, max(top, bottom)), ("width", width, max(left, right))):
            if self.mode == "reflect" and most >= size:
                raise ShapeError(
                    f"reflect padding {most} needs a {name} of at least {most + 1}, not {size}",
                    remedy=f"use padding of at most {size - 1}, or mode: edge",
                )
            if size + most > MAX_EXTENT:
                problem = f"the padded {name} exceeds {MAX_EXTENT:,}"
                raise ShapeError(problem, remedy="use less padding")
        return TensorType((batch, height + top + bottom, width + left + right, channels))

    def field(self, inputs: Types) -> Window:
        return Window(padding=self.padding, border="nothing" if self.mode == "constant" else self.mode)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        top, bottom, left, right = self.padding
        sides = ((0, 0), (top, bottom), (left, right), (0, 0))
        if self.mode == "constant":
            return np.pad(inputs[0], sides, constant_values=np.float32(self.value))
        return np.pad(inputs[0], sides, mode=self.mode)
