"""Winograd's minimal filtering along the height: m rows of results from m + r - 1 transformed rows, and what it rounds.

A column of m results of a filter g of r rows is ``A^T [(G g) * (B^T d)]`` for the m + r - 1 inputs d that it sees; * is
the product element by element, summed over the filter's columns and the channels (Winograd, Arithmetic complexity of
computations, 1980; Lavin and Gray, Fast algorithms for convolutional neural networks, 2016, in one dimension). F(4, 5)
needs 8 multiplications for what takes 20. Along the width the sum stays as it is, with any stride and dilation.
"""

from __future__ import annotations

import numpy as np

from cnngen.ir import Array
from cnngen.ops import Bound, Conv2D
from cnngen.ops.activation import activated
from cnngen.ops.base import Weights
from cnngen.winograd import filtering

ROW_TRANSFORMS = {(tile, taps): filtering(tile, taps, 1) for tile, taps in ((4, 3), (2, 5), (4, 5), (2, 7))}
"""By m and r."""


def row_tiles(op: object) -> tuple[int, ...]:
    """The m for which there is an F(m, r) for `op`: a convolution with steps of 1 along the height, without groups."""
    if not isinstance(op, Conv2D) or op.stride[0] != 1 or op.dilation[0] != 1 or op.groups != 1:
        return ()
    return tuple(tile for tile, taps in ROW_TRANSFORMS if taps == op.kernel[0])


def transform_rows(weight: Array, tile: int) -> Array:
    """``G g`` in float64: (r, kw, in, out) to (m + r - 1, kw, in, out)."""
    filters = ROW_TRANSFORMS[tile, len(weight)].filters
    return np.asarray(np.tensordot(filters, np.asarray(weight, np.float64), 1))


def bound(op: Conv2D, inputs: list[Array], weights: Weights, tile: int) -> Bound:
    """The value of the convolution, and how far F(`tile`, r) along the height in float32 may be off.

    As for Winograd's algorithm in two dimensions (`cnngen.winograd.bound`), the magnitude is what the algorithm makes
    of absolute matrices and operands. A term goes through at most as many roundings in a transform of data as the
    longest row of its matrix has factors, through one in the filter, and through those of the sum.
    """
    weight = weights["weight"]
    transform = ROW_TRANSFORMS[tile, len(weight)]
    magnitude = _convolve(op, np.abs(inputs[0]), np.abs(weight), tile)
    if op.use_bias:
        magnitude = magnitude + np.abs(weights["bias"])
    if op.residual:
        magnitude = magnitude + np.abs(inputs[1])
    longest = [int(np.count_nonzero(matrix, axis=1).max()) for matrix in (transform.inputs, transform.outputs)]
    roundings = sum(longest) + 1 + int(np.prod(weight.shape[1:3])) + op.use_bias + op.residual
    return activated(Bound.of_sum(op.linear(inputs, weights), magnitude, roundings), op.activation)


def _convolve(op: Conv2D, x: Array, weight: Array, tile: int) -> Array:
    """The algorithm with absolute matrices on an image (n, h, w, in): (n, oh, ow, out)."""
    transform = ROW_TRANSFORMS[tile, len(weight)]
    inputs, filters, outputs = (np.abs(matrix) for matrix in (transform.inputs, transform.filters, transform.outputs))
    (_, stride), (_, dilation) = op.stride, op.dilation
    top, bottom, left, right = op.padding
    height = x.shape[1] + top + bottom - len(weight) + 1
    width = (x.shape[2] + left + right - dilation * (weight.shape[1] - 1) - 1) // stride + 1
    rows = -(-height // tile)
    room = max(rows * tile + len(weight) - 1 - x.shape[1] - top, 0)
    padded = np.pad(x, [(0, 0), (top, room), (left, right), (0, 0)])
    tiles = np.lib.stride_tricks.sliding_window_view(padded, transform.size, axis=1)[:, : rows * tile : tile]
    data = np.einsum("ai,nywci->nyawc", inputs, tiles, optimize=True)  # (n, rows, points, w, in)
    taps = np.tensordot(filters, weight, 1)
    products = np.zeros((*data.shape[:3], width, weight.shape[3]))
    for column in range(weight.shape[1]):
        begin = column * dilation
        products += data[:, :, :, begin : begin + stride * (width - 1) + 1 : stride] @ taps[:, column]
    results = np.einsum("pa,nyawo->nypwo", outputs, products, optimize=True)
    return np.asarray(results.reshape(len(x), rows * tile, width, -1)[:, :height])
