"""Padding and cropping as a layer of its own: a constant, the mirrored image, its repeated border, or itself again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops.base import Field, Table, Types, Weights, Window, require_rank
from cnngen.ops.conv2d import MAX_EXTENT
from cnngen.ops.shape import Movement

PadMode = Literal["constant", "reflect", "edge", "wrap"]
MAX_WRAPPED = 2**16
"""Rows or columns of an image that repeats: where each comes from is a table."""


@dataclass(frozen=True)
class Pad(Movement):
    """`padding` (top, bottom, left, right) rows and columns more, and `channels` (first, last) more of them.

    They hold `value` (mode `constant`), the image mirrored at its border rows, which do not occur twice
    (`reflect`), the border rows (`edge`), or the image again (`wrap`); as `numpy.pad` and ONNX Pad. A negative number
    crops, before anything is added. Channels are added in mode `constant` only.
    """

    padding: tuple[int, int, int, int]
    mode: PadMode = "constant"
    value: float = 0.0
    channels: tuple[int, int] = (0, 0)

    @property
    def kind(self) -> str:
        sides = (*self.padding, *self.channels)
        return "crop" if min(sides) < 0 and max(sides) == 0 else "pad"

    @property
    def crops(self) -> tuple[int, int, int, int]:
        """What is cut off at the top, bottom, left and right."""
        top, bottom, left, right = (max(-side, 0) for side in self.padding)
        return top, bottom, left, right

    @property
    def borders(self) -> tuple[int, int, int, int]:
        """What is added at the top, bottom, left and right."""
        top, bottom, left, right = (max(side, 0) for side in self.padding)
        return top, bottom, left, right

    def infer(self, inputs: Types) -> TensorType:
        require_rank(inputs, 4, self.kind)
        batch, height, width, channels = inputs[0].shape
        sizes = []
        sides = (("height", height, self.padding[:2]), ("width", width, self.padding[2:]))
        for name, size, (begin, end) in (*sides, ("number of channels", channels, self.channels)):
            inner, most = size + min(begin, 0) + min(end, 0), max(begin, end)
            if inner < 1:
                raise ShapeError(
                    f"cropping {size - inner} leaves nothing of the {name} {size}",
                    remedy=f"crop {size - 1} at most",
                )
            if self.mode == "reflect" and most >= inner and name != "number of channels":
                raise ShapeError(
                    f"reflect padding {most} needs a {name} of at least {most + 1}, not {inner}",
                    remedy=f"use padding of at most {inner - 1}, or mode: edge",
                )
            if inner + most > MAX_EXTENT or (self.mode == "wrap" and inner + most > MAX_WRAPPED):
                most = MAX_WRAPPED if self.mode == "wrap" else MAX_EXTENT
                raise ShapeError(f"the padded {name} exceeds {most:,}", remedy="use less padding")
            sizes.append(size + begin + end)
        if self.mode != "constant" and max(self.channels) > 0:
            raise ShapeError(
                f"mode {self.mode} does not add channels",
                remedy="add channels with mode: constant, in a pad of its own",
            )
        return TensorType((batch, *sizes))

    def field(self, inputs: Types) -> Field:
        if self.mode == "wrap":
            _, height, width, _ = inputs[0].shape
            return Table((self._wrapped(0, height), self._wrapped(1, width)))
        return Window(padding=self.padding, border="nothing" if self.mode == "constant" else self.mode)

    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        begins = (0, *self.padding[::2], self.channels[0])
        ends = (0, *self.padding[1::2], self.channels[1])
        inner = tuple(
            slice(max(-begin, 0), size + min(end, 0))
            for size, begin, end in zip(inputs[0].shape, begins, ends, strict=True)
        )
        sides = [(max(begin, 0), max(end, 0)) for begin, end in zip(begins, ends, strict=True)]
        if self.mode == "constant":
            return np.pad(inputs[0][inner], sides, constant_values=np.float32(self.value))
        return np.pad(inputs[0][inner], sides, mode=self.mode)

    def _wrapped(self, axis: int, size: int) -> tuple[tuple[int, ...], ...]:
        """The one element that each output of mode `wrap` reads."""
        first, last = self.crops[2 * axis : 2 * axis + 2]
        inner, (begin, end) = size - first - last, self.borders[2 * axis : 2 * axis + 2]
        return tuple((first + index % inner,) for index in range(-begin, inner + end))
