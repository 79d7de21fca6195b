"""How Keras and PyTorch store weights, and the way from there to the layout of the ops.

The ops have convolution kernels, transposed ones too, as (kh, kw, in / groups, filters) and dense ones as
(in, units). Both frameworks store a transposed kernel as that of the convolution whose adjoint it is:
input and output channels change places, and torch divides the output channels by the groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnngen.ir import Array
from cnngen.ops import Conv2D, Conv2DTranspose, Dense, LayerNorm, Op, PRelu

Format = Literal["keras", "torch"]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """A shape that a file may store one array in, and how that becomes the op's own."""

    shape: Shape
    convert: Callable[[Array], Array]


def layouts(op: Op, role: str, shape: Shape, source: Format) -> list[Layout]:
    """The layouts that `source` may store the array `role` of `op` in; `shape` is the op's own.

    The first is the usual one. Keras stores a depthwise kernel as (kh, kw, in, multiplier), which
    is accepted beside the grouped (kh, kw, 1, in * multiplier), and the slopes of a PReLU with
    `shared_axes=[1, 2]` as (1, 1, channels). A PyTorch PReLU of one parameter has the shape (1,).
    """
    same = Layout(shape, lambda array: array)
    if isinstance(op, PRelu):
        shared = Layout((1,), lambda array: np.broadcast_to(array, shape))
        return [same, shared if source == "torch" else Layout((1, 1, *shape), lambda array: array.reshape(shape))]
    if isinstance(op, LayerNorm) and len(shape) == 3 and source == "torch":
        return [Layout((shape[2], *shape[:2]), lambda array: array.transpose(1, 2, 0))]
    if role != "weight" or not isinstance(op, Conv2D | Conv2DTranspose | Dense):
        return [same]
    if isinstance(op, Dense):
        return [same] if source == "keras" else [Layout(shape[::-1], np.transpose)]
    kh, kw, channels, filters = shape
    if isinstance(op, Conv2DTranspose):
        return [_transposed(op.groups, shape, source)]
    if source == "torch":
        return [Layout((filters, channels, kh, kw), lambda array: array.transpose(2, 3, 1, 0))]
    if op.groups > 1 and channels == 1:
        depthwise = Layout((kh, kw, op.groups, filters // op.groups), lambda array: array.reshape(shape))
        return [depthwise, same]
    return [same]


def _transposed(groups: int, shape: Shape, source: Format) -> Layout:
    """Keras: (kh, kw, filters / groups, in); torch: (in, filters / groups, kh, kw)."""
    kh, kw, inputs, filters = shape
    outputs = filters // groups
    stored = (inputs * groups, outputs, kh, kw) if source == "torch" else (kh, kw, outputs, inputs * groups)

    def convert(array: Array) -> Array:
        array = array if source == "torch" else array.transpose(3, 2, 0, 1)
        grouped = array.reshape(groups, inputs, outputs, kh, kw)
        return grouped.transpose(3, 4, 1, 0, 2).reshape(shape)

    return Layout(stored, convert)


def stored(op: Op, role: str, array: Array, target: Format) -> Array:
    """`array`, in the op's own layout, as `target` stores it: what the first of `layouts` turns back."""
    if role != "weight" or not isinstance(op, Conv2D | Conv2DTranspose | Dense):
        return array
    if isinstance(op, Dense):
        return array if target == "keras" else array.T
    if isinstance(op, Conv2DTranspose):
        kh, kw, inputs, filters = array.shape
        grouped = array.reshape(kh, kw, inputs, op.groups, filters // op.groups)
        torch = grouped.transpose(3, 2, 4, 0, 1).reshape(op.groups * inputs, filters // op.groups, kh, kw)
        return torch if target == "torch" else torch.transpose(2, 3, 1, 0)
    if target == "torch":
        return array.transpose(3, 2, 0, 1)
    return array


def other(source: Format) -> Format:
    """The other format."""
    return "torch" if source == "keras" else "keras"
