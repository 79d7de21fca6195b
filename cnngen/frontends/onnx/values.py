"""What a name in an ONNX graph stands for while it is converted: an array that is known, or a computed tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from cnngen.ir import Array

Form = Literal["plain", "last"]
"""How a tensor lies in the graph: its axes as in ONNX, or with the channels, ONNX's axis 1, moved to the end.

With channels last a tensor of rank 3, (batch, channels, length), is an image of height 1.
"""
Shape = tuple[int, ...]
FLOAT32: np.dtype[np.generic] = np.dtype(np.float32)


@dataclass(eq=False)
class Tensor:
    """A tensor that the network computes: `shape` is ONNX's, `forms` names it in the graph in each form it has.

    `dtype` is what ONNX calls its type; all computing is in float32. `array` is the value of one that is constant,
    which is put into the graph in the form that is asked for.
    """

    shape: Shape
    forms: dict[Form, str] = field(default_factory=dict)
    dtype: np.dtype[np.generic] = FLOAT32
    array: Array | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)


Value = Tensor | Array


def last_shape(shape: Shape) -> Shape:
    """The shape in channels-last form of a tensor that has `shape` in ONNX."""
    if len(shape) == 3:
        return (shape[0], 1, shape[2], shape[1])
    if len(shape) > 3:
        return (shape[0], *shape[2:], shape[1])
    return shape


def position(axis: int, rank: int, form: Form) -> int:
    """Where ONNX's `axis` of a tensor of `rank` axes is in `form`."""
    if form == "plain" or rank < 3 or axis == 0:
        return axis
    if axis == 1:
        return max(rank, 4) - 1
    return axis - (rank > 3)


def last_array(array: Array) -> Array:
    """A constant of any rank from 0 in channels-last form, as `last_shape`."""
    if array.ndim < 3:
        return array
    moved = np.moveaxis(array, 1, -1)
    return moved[:, None] if array.ndim == 3 else moved
